"""What a study is: its file, methods, search spaces, searchers."""
