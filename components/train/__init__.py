"""train: two towers from the encoded tables, with Keras and KerasRS on JAX."""
