"""resolve: the values that are only known when a run starts."""
