"""select_model: of several trained models, the best on the validation part."""
