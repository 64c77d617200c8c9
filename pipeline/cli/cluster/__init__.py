"""The cluster commands of `deep-retrieval`."""
