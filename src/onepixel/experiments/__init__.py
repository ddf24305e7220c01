"""One module for each table and figure of the papers."""
