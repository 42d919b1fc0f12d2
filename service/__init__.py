"""The `tunebench` command, the HTTP service with its page and client, the Ray jobs, and the database."""
