"""encode_for_published: the test part as the published model takes it."""
