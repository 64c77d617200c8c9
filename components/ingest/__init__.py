"""ingest: from a log of interactions to typed, validated, split tables."""
