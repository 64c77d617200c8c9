import re
from pathlib import Path

import pytest
from conftest import TRAIN

from components.shared.runtime.errors import InputError
from components.shared.runtime.files import read_json
from components.train.job import train


@pytest.mark.parametrize(("gpus", "asked"), [(1, "1 GPU,"), (4, "4 GPUs,")])
def test_a_machine_without_the_gpus_is_refused_before_anything_is_read(
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
    assert message.startswith(f"train asked for {asked}")
    assert re.search(r"JAX \S+ sees none \(backend cpu\)", message)
    assert "--gpu" in message
    assert "set train_accelerator_count to ''" in message
    assert list(tmp_path.iterdir()) == []


def test_no_gpus_asked_for_means_training_on_what_there_is(
    sample_encoded: Path, tmp_path: Path
) -> None:
    train(
        encoded=str(sample_encoded),
        config={**TRAIN, "epochs": 1},
        layer_sizes=[8],
        seed=1,
        model=str(tmp_path / "model"),
        gpus=0,
    )

    assert read_json(tmp_path / "model" / "training.json")["device"].startswith("cpu")
