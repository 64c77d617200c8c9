"""publish: add a version of the model for serving, and make it the latest one."""
