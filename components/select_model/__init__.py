"""select_model: the best of several trained models on the validation split."""
