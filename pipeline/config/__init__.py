"""The pipeline's config: models, loading, messages."""
