"""What a study's trials say: curves, estimates, tests, the comparison."""
