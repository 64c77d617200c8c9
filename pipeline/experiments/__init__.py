"""Trains and measures outside of runs: comparisons and hyperparameter search."""
