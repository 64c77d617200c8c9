"""What runs around a step's work: errors, logging, timing, retries, Keras's backend, files."""
