"""The command line, `deep-retrieval`."""
