"""Starts, finds and follows runs on a cluster, and reads their logs."""
