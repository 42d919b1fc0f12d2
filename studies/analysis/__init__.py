"""The analysis of a study's trials: curves, estimates, tests, the comparison."""
