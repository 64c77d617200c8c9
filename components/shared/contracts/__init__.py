"""The tables and files in which steps meet."""
