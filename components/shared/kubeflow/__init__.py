"""Reads runs of Kubeflow Pipelines, as its API shows them: nodes, steps, errors in logs."""
