"""SGLang's radix tree over full attention and a window: what it did, request by request.

The fields of the recordings are described in tests/fixtures/conformance/sglang_windows/README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.caches.recorded import EXCERPTS, read_rows
from tests.oracles.naive_radix_windows import NaiveRadixWindows
from tests.oracles.naive_vllm import NaiveRequest

RECORDED = sorted((EXCERPTS / "sglang_windows").glob("*/*.req.jsonl.gz"))


def _sizes(path: Path) -> tuple[int, int, int]:
    """The window, and the tokens of the pools of full attention and of windows."""
    window, full, swa = re.findall(r"_[wfs](\d+)", path.name)
    return int(window), int(full), int(swa)


def _requests(path: Path) -> list[NaiveRequest]:
    rows = read_rows(EXCERPTS / path.parent.name / "trace.jsonl.gz")
    return [
        NaiveRequest(row["id"], row["tokens"], row["output_tokens"], row.get("cache_salt")) for row in rows
    ]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name[:-13]}")
def test_oracle(path: Path) -> None:
    """The naive model agrees with the engine in every field, so what is held against it may rely on it."""
    window, full, swa = _sizes(path)
    naive, rows = NaiveRadixWindows(full, swa, window), read_rows(path)
    for request, row in zip(_requests(path), rows, strict=False):
        assert naive.serve(request) == row
    assert len(rows) >= 40 and any(row["evicted_full"] for row in rows)
    assert any(row["evicted_swa"] for row in rows) and any(row["branch"] for row in rows)
