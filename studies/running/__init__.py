"""A study on a Ray cluster: trial after trial, on every worker."""
