"""One training: its loop, its state, its checkpoints, its start, its scores."""
