"""The ways in and the database: the `tunebench` command and the SQL store."""
