"""The registry: published versions and the history of the latest one."""
