"""The database schema, one file in `versions/` for each revision; `service.database.engine.upgrade` applies them."""
