"""The command line: `onepixel audit / signature / population / detector / experiment`."""
