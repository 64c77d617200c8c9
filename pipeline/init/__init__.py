"""`deep-retrieval init`: looks at the user's files, and writes a config that runs on them."""
