import re
from pathlib import Path

import pytest

from components.shared.contracts.training import Training
from components.shared.runtime.errors import InputError
from components.train.job import train


@pytest.mark.parametrize(("gpus", "asked"), [(1, "1 GPU,"), (4, "4 GPUs,")])
def test_missing_gpus_are_refused_before_anything_is_read(
    tmp_path: Path, gpus: int, asked: str
) -> None:
    with pytest.raises(InputError) as refused:
        train(
            encoded=str(tmp_path / "not there"),
            config={"no": "such setting"},
            layer_sizes=[],
            seed=1,
            model=str(tmp_path / "model"),
            checkpoints=str(tmp_path / "checkpoints"),
            gpus=gpus,
        )

    message = str(refused.value)
    assert message.startswith(f"train requested {asked}")
    assert re.search(r"JAX \S+ sees none \(backend cpu\)", message)
    assert "--gpu" in message
    assert "set train_accelerator_count to ''" in message
    assert list(tmp_path.iterdir()) == []


def test_without_requested_gpus_train_uses_any_device(sample_model: Path) -> None:
    assert Training.read(sample_model).device.startswith("cpu")
