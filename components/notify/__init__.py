"""notify: reports how a run ended."""
