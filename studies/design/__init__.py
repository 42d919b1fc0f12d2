"""The design of a study: its file, arms, search spaces, searchers."""
