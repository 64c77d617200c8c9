"""Files on a disk, S3 or Google Cloud Storage, and the names and credentials that lead there."""
