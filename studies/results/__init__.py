"""What people read: figures, tables, summary, report, exports."""
