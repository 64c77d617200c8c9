"""What the tests of export share: a plain server, raw queries for it, and the reference in JAX."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.shared.contracts.feature_spec import FeatureSpec, RawInput
from components.shared.contracts.tables import CANDIDATE_ID, EMBEDDING, TITLE, read_table
from components.shared.retrieval.embedding import embed
from components.shared.retrieval.query_set import QuerySet
from components.shared.retrieval.seen_items import SeenItems
from components.shared.retrieval.top_k import retrieve
from components.shared.runtime.arrow import to_numpy


class PlainServer:
    """A fresh process that has TensorFlow and none of the project's modules."""

    def __init__(self, process: "subprocess.Popen[str]", errors: Path):
        self._process = process
        self._errors = errors

    def ask(self, export: Path, inputs: dict[str, Any], k: int, **more: Any) -> dict[str, Any]:
        """Calls a signature; fails with the server's error."""
        request = {"model": str(export / "saved_model"), "inputs": inputs, "k": k, **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._errors.read_text()[-3000:]
        answer: dict[str, Any] = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer


@contextmanager
def plain_server(folder: Path) -> Iterator[PlainServer]:
    """Starts the process; it ends when its input does."""
    script = Path(__file__).with_name("plain_serving.py")
    errors = folder / "errors.txt"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-P", str(script)],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if "KERAS" not in name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        yield PlainServer(process, errors)


def raw_inputs(items: list[RawInput], rows: pa.Table) -> dict[str, Any]:
    """Raw rows as a client of the SavedModel sends them."""
    inputs = {}
    for item in items:
        values = rows[item.name].to_pylist()
        if item.width > 1:
            padding: list[Any] = [0.0 if item.dtype == "float32" else ""] * item.width
            values = [[*row, *padding][: item.width] for row in values]
        inputs[item.name] = [item.dtype, values]
    return inputs


@dataclass(frozen=True)
class Reference:
    """The queries of the test split: raw for the SavedModel, and ranked by the project in JAX.

    Args:
        export: The export.
        spec: The features.
        tower: The export's query tower.
        queries: The queries of the test split.
        raw: Their raw features that are columns of the tables.
        seen: What training and validation have of their users.
    """

    export: Path
    spec: FeatureSpec
    tower: Any
    queries: QuerySet
    raw: dict[str, Any]
    seen: SeenItems

    @classmethod
    def read(cls, tables: Path, encoded: Path, export: Path) -> "Reference":
        """Reads the test split; its raw and its encoded rows are in one order."""
        import keras

        spec = FeatureSpec.read(encoded)
        test = read_table(encoded / "interactions" / "test")
        known = [read_table(encoded / "interactions" / part) for part in ("train", "validation")]
        candidates = read_table(encoded / "candidates")
        features = {feature.name: to_numpy(candidates[feature.name]) for feature in spec.candidate}
        queries = QuerySet.of(test, spec.query).with_profiles(spec, features, *known)
        _, first = np.unique(queries.row_query, return_index=True)
        raw = read_table(tables / "interactions" / "test").take(pa.array(first))
        return cls(
            export,
            spec,
            keras.models.load_model(export / "query_tower.keras"),
            queries,
            raw_inputs([item for item in spec.query_inputs if not item.is_profile], raw),
            SeenItems.of(queries, *known),
        )

    @cached_property
    def _catalogue(self) -> pa.Table:
        return read_table(self.export / "candidates")

    @cached_property
    def ids(self) -> list[Any]:
        """The candidates' ids."""
        return self._catalogue[CANDIDATE_ID].to_pylist()

    @cached_property
    def vectors(self) -> np.ndarray:
        """The candidates' embeddings."""
        return to_numpy(self._catalogue[EMBEDDING])

    @cached_property
    def score_of(self) -> list[dict[Any, float]]:
        """For each query the score of each candidate."""
        return self._scores(embed(self.tower, self.queries.features))

    def _scores(self, queries: np.ndarray) -> list[dict[Any, float]]:
        indices, scores = retrieve(queries, self.vectors, len(self.vectors))
        return [
            dict(zip((self.ids[i] for i in row), values.tolist(), strict=True))
            for row, values in zip(indices, scores, strict=True)
        ]

    def seen_ids(self) -> list[list[Any]]:
        """The items of each query's user."""
        return [
            [self.ids[item] for item in self.seen.of_query(query)]
            for query in range(len(self.seen.user))
        ]

    def exclude(self, ids: list[list[Any]]) -> list[Any]:
        """Ids to leave out as a request has them: padded to one width."""
        dtype = self.spec.candidate_id_dtype
        width = max(map(len, ids))
        blank: Any = "" if dtype == "string" else -1
        padded = [[*row, *[blank] * (width - len(row))] for row in ids]
        return [dtype, list(itertools.chain(*padded)), [len(ids), width]]

    def assert_same(self, answer: dict[str, Any], k: int, seen: SeenItems | None = None) -> None:
        """Compares an answer to all queries with `components.shared.retrieval.top_k.retrieve`."""
        queries = embed(self.tower, self.queries.features)
        self._assert_same(answer, queries, k, seen)

    def assert_same_vector(self, answer: dict[str, Any], encoded: dict[str, int], k: int) -> None:
        """Compares an answer to one query that is given encoded; for a cross every index goes."""
        crosses = [feature for feature in self.spec.query if feature.type == "cross"]
        assert len(crosses) == 1
        assert crosses[0].cardinality
        all_crosses = np.arange(crosses[0].cardinality, dtype=np.int32)
        features = {n: np.full(len(all_crosses), v, np.int32) for n, v in encoded.items()}
        queries = embed(self.tower, {**features, crosses[0].name: all_crosses})
        best = [
            int(i)
            for i in range(len(queries))
            if np.allclose(
                retrieve(queries[i : i + 1], self.vectors, k)[1], answer["scores"], atol=1e-5
            )
        ]
        assert len(best) == 1
        self._assert_same(answer, queries[best], k, None)

    def _assert_same(
        self, answer: dict[str, Any], queries: np.ndarray, k: int, seen: SeenItems | None
    ) -> None:
        indices, scores = retrieve(queries, self.vectors, k, seen)
        titles = dict(zip(self.ids, self._catalogue[TITLE].to_pylist(), strict=True))
        assert len(answer["ids"]) == len(queries)
        for query, score_of in enumerate(self._scores(queries)):
            found = indices[query] >= 0
            assert_same_ranking(
                answer["ids"][query],
                answer["scores"][query],
                [self.ids[index] for index in indices[query][found]],
                scores[query][found],
                score_of,
            )
            assert answer["titles"][query] == [titles.get(i, "") for i in answer["ids"][query]]


def assert_same_ranking(
    ids: list[Any],
    scores: list[float],
    expected_ids: list[Any],
    expected_scores: Any,
    score_of: dict[Any, float],
) -> None:
    """The same items in the same order, with scores within 2e-5; the rest is blank.

    Vectors may be 46 long, so rounding in float32 alone makes scores of 0.8 differ by 1e-5.

    Items whose scores differ by less than 1e-5 may be swapped.
    """
    count = len(expected_ids)
    np.testing.assert_allclose(scores[:count], expected_scores, rtol=0, atol=2e-5)
    assert len(set(ids[:count])) == count
    for item, wanted in zip(ids[:count], expected_ids, strict=True):
        assert item == wanted or abs(score_of[item] - score_of[wanted]) < 1e-5
    assert all(item in ("", -1) for item in ids[count:])
    assert all(score == -np.inf for score in scores[count:])
