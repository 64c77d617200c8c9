"""Pipelines and their versions on a KFP API server."""
