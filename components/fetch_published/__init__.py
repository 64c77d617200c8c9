"""fetch_published: a published version to compare with or to start training from."""
