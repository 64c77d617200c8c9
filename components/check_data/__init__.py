"""check_data: whether a run's data is like the data of the published model."""
