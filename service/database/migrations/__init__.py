"""The database schema, one revision a file in `versions/`; `service.database.engine.upgrade` applies them."""
