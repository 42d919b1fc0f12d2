"""The page: templates, style sheet, scripts."""
