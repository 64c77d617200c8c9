import shutil
from pathlib import Path

import numpy as np
import pytest

from components.shared.contracts.tables import CANDIDATE_INDEX, LABEL, read_table
from components.train.config import TrainSettings
from components.train.data import EncodedData, RowBatches
from components.train.training_rows import TrainingRows


def _epoch(batches: RowBatches, epoch: int = 0) -> np.ndarray:
    batches.begin_epoch(epoch)
    return np.concatenate([batches[step][0] for step in range(len(batches))])


def test_the_same_seed_gives_the_same_order_in_every_epoch() -> None:
    first, second = RowBatches(50, 8, seed=3), RowBatches(50, 8, seed=3)

    for epoch in range(3):
        assert _epoch(first, epoch).tolist() == _epoch(second, epoch).tolist()


def test_different_seeds_give_different_orders() -> None:
    assert _epoch(RowBatches(50, 8, seed=3)).tolist() != _epoch(RowBatches(50, 8, seed=4)).tolist()


def test_every_epoch_has_its_own_order() -> None:
    batches = RowBatches(48, 8, seed=3)

    epochs = [_epoch(batches, epoch) for epoch in range(3)]

    assert len({tuple(rows.tolist()) for rows in epochs}) == 3
    for rows in epochs:
        assert sorted(rows.tolist()) == list(range(48))


def test_all_batches_have_one_size_and_no_row_twice() -> None:
    batches = RowBatches(50, 8, seed=3)

    sizes = [len(batches[step][0]) for step in range(len(batches))]

    assert sizes == [8] * 6
    rows = _epoch(batches)
    assert len(set(rows.tolist())) == 48
    assert rows.dtype == np.int32


def test_each_epoch_leaves_out_different_rows() -> None:
    batches = RowBatches(50, 8, seed=3)

    left_over = [set(range(50)) - set(_epoch(batches, epoch).tolist()) for epoch in range(5)]

    assert all(len(rows) == 2 for rows in left_over)
    assert len({tuple(sorted(rows)) for rows in left_over}) > 1


def test_a_batch_size_above_the_number_of_rows_gives_one_batch() -> None:
    batches = RowBatches(5, 100, seed=3)

    assert len(batches) == 1
    assert sorted(batches[0][0].tolist()) == list(range(5))


def test_the_model_takes_features_item_and_label_of_the_training_rows(
    sample_encoded: Path,
) -> None:
    data = EncodedData.read(str(sample_encoded))
    train = read_table(sample_encoded / "interactions" / "train")

    columns = TrainingRows.read(data, TrainSettings(loss="mse")).columns

    assert set(columns) == {f.name for f in data.spec.query} | {CANDIDATE_INDEX, LABEL}
    for name, values in columns.items():
        assert values.tolist() == train[name].to_pylist()
    assert data.candidate_count == 80
    assert data.candidates["movie_title"].shape == (80, 8)


def test_the_test_part_is_not_read(sample_encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_encoded, tmp_path / "encoded")
    shutil.rmtree(tmp_path / "encoded" / "interactions" / "test")

    data = EncodedData.read(str(tmp_path / "encoded"))

    assert data.train.num_rows > data.validation.num_rows > 0


def test_a_missing_part_is_named(sample_encoded: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_encoded, tmp_path / "encoded")
    shutil.rmtree(tmp_path / "encoded" / "interactions" / "validation")

    with pytest.raises(ValueError, match="validation contains no table"):
        EncodedData.read(str(tmp_path / "encoded"))
