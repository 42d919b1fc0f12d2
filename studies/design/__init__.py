"""What a study is: its file, arms, search spaces, searchers."""
