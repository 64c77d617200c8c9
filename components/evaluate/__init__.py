"""evaluate: measures the export beside baselines and the published model."""
