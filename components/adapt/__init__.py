"""adapt: from tables to model-ready ones, with everything that was learned about the features."""
