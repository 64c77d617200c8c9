"""The model's own domain: towers, query sets, exact top-k, metrics."""
