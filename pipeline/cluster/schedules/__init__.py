"""Schedules on a cluster: KFP's recurring runs, kept by name."""
