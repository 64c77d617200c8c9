"""Files on disk, S3 and Google Cloud Storage; checks of names and credentials."""
