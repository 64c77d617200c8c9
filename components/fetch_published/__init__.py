"""fetch_published: the model that is published now, to begin from and to compare with."""
