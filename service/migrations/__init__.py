"""The database schema, one revision a file in `versions/`; `service.database.upgrade` applies them."""
