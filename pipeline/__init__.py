"""The Kubeflow pipeline: its definition, its config, and the ways to run it."""
