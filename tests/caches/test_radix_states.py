"""SGLang's radix tree over full attention and states: what it did, request by request.

The fields of the recordings are described in tests/fixtures/conformance/sglang_states/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.caches.recorded import EXCERPTS, read_rows
from tests.oracles.naive_radix_states import NaiveRadixStates
from tests.oracles.naive_vllm import NaiveRequest

RECORDED = sorted((EXCERPTS / "sglang_states").glob("*/*.req.jsonl.gz"))
each_recording = pytest.mark.parametrize(
    "path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name[:-13]}"
)


def _sizes(path: Path) -> tuple[int, int]:
    """The tokens of the pool of full attention, and the slots for states."""
    full, states = re.findall(r"_[fs](\d+)", path.name)
    return int(full), int(states)


def _requests(path: Path) -> list[NaiveRequest]:
    rows = read_rows(EXCERPTS / path.parent.name / "trace.jsonl.gz")
    return [
        NaiveRequest(row["id"], row["tokens"], row["output_tokens"], row.get("cache_salt")) for row in rows
    ]


@each_recording
def test_oracle(path: Path) -> None:
    """The naive model agrees with the engine in every field, so what is held against it may rely on it."""
    naive, rows = NaiveRadixStates(*_sizes(path)), read_rows(path)
    for request, row in zip(_requests(path), rows, strict=False):
        assert naive.serve(request) == row
    assert len(rows) >= 40 and any(row["evicted_full"] for row in rows)
    assert any(row["evicted_states"] for row in rows) and any(row["hit"] < row["full_hit"] for row in rows)
