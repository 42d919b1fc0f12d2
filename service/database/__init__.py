"""The database, the only state: all SQL is here."""
