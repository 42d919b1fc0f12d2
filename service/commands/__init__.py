"""The commands, a group a file."""
