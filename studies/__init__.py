"""What is compared and how: study files, searchers, the Ray Tune experiment, curves, statistics, figures."""
