"""The steps of the pipeline, one folder each.

A folder's `component.py` is the step's Kubeflow interface; the rest is the
work, a plain library on plain paths that imports no kfp. Steps meet in the
tables and files that `components.shared.contracts`
describe, and nowhere else.
"""
