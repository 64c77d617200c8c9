"""notify: says how a run ended."""
