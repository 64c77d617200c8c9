"""Profiles of tables: what is in each column, computed by mergeable summaries."""
