"""export: what goes to serving, and what evaluate measures."""
