"""One module for each table and figure of the papers; each has a `run` that writes below a folder."""
