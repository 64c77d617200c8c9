"""A thin layer over kfp's client: submit runs, watch them, keep schedules."""
