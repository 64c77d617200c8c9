"""A `training.json` for tests that train nothing."""

from typing import Any

from components.shared.contracts.training import Training


def made_training(**values: Any) -> Training:
    """Return a training with these values, and made-up ones for the rest."""
    made: dict[str, Any] = {
        "layer_sizes": "8",
        "monitor": "mrr_at_5_raw",
        "validation": 0.5,
        "best_epoch": 1,
        "epochs": 3,
        "fit_seconds": 1.0,
        "samples_per_second": 1000,
        "device": "cpu: cpu",
        "seed": 1,
        "config": {},
    }
    return Training(**{**made, **values})
