"""export: the SavedModel and the embeddings, which serving uses and evaluate measures."""
