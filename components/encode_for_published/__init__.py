"""encode_for_published: the test split, encoded for the published model."""
