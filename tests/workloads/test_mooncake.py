"""The importer of Mooncake's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sim.small import write_small_mooncake
from workloads.checking import check
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import Trace


def _load(path: Path, rows: list[dict[str, Any]], **settings: Any) -> Trace:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    config = {"kind": "trace", "format": "mooncake", "path": str(path), "block_size": 4} | settings
    trace = MooncakeTrace.model_validate(config).build(0, path.parent)
    check(trace)
    return trace


def _row(at: int, tokens: int, ids: list[int]) -> dict[str, Any]:
    return {"timestamp": at, "input_length": tokens, "output_length": 3, "hash_ids": ids}


def _shared(trace: Trace, a: int, b: int) -> int:
    path = set(trace.content.path(trace.prompt[a]))
    return max([trace.content.end[s] for s in trace.content.path(trace.prompt[b]) if s in path], default=0)


def test_leading_ids_are_the_shared_prefix(tmp_path: Path) -> None:
    """Blocks of 4 tokens: [1, 2, 3] and [1, 2, 9] share 8 tokens; the partial block counts its fill."""
    trace = _load(tmp_path / "t", [_row(0, 10, [1, 2, 3]), _row(0, 12, [1, 2, 9]), _row(1, 10, [1, 2, 3])])
    assert trace.input_tokens == [10, 12, 10]
    assert (_shared(trace, 0, 1), _shared(trace, 0, 2), _shared(trace, 1, 2)) == (8, 10, 8)


def test_a_missing_partial_id_is_shared_with_nobody(tmp_path: Path) -> None:
    """Some files name whole blocks only; the rest of a prompt is then its own."""
    trace = _load(tmp_path / "t", [_row(0, 10, [1, 2]), _row(0, 10, [1, 2])])
    assert trace.input_tokens == [10, 10]
    assert _shared(trace, 0, 1) == 8


def test_an_id_with_two_fills_is_two_blocks(tmp_path: Path) -> None:
    """The same last id over 2 and over 3 tokens cannot be the same content."""
    trace = _load(tmp_path / "t", [_row(0, 6, [1, 2]), _row(0, 7, [1, 2])])
    assert _shared(trace, 0, 1) == 4


def test_sorted_by_time_then_line(tmp_path: Path) -> None:
    """File order is not trusted; equal times keep it. Arrivals count from the first one, in s."""
    rows = [_row(3000, 4, [1]), _row(1000, 5, [1, 2]), _row(1000, 6, [1, 3])]
    trace = _load(tmp_path / "t", rows)
    assert trace.arrival_s == [0.0, 0.0, 2.0]
    assert trace.lines == [2, 3, 1]
    assert _load(tmp_path / "t", rows, time_unit="s").arrival_s == [0.0, 0.0, 2000.0]


def test_small_trace_of_our_own(tmp_path: Path) -> None:
    """The generated sample has shared heads, growing chats and ticks, as the real file."""
    write_small_mooncake(tmp_path / "small.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "small.jsonl").read_text().splitlines()]
    trace = _load(tmp_path / "again", rows, block_size=512)
    assert len(trace) > 60
    assert len({trace.content.path(prompt)[0] for prompt in trace.prompt}) == 1
    assert all(at is not None and at % 3 == 0 for at in trace.arrival_s)


def test_statistics_of_the_real_file(mooncake_file: Path) -> None:
    """The numbers that the trace's description gives."""
    trace = MooncakeTrace(kind="trace", format="mooncake", path=mooncake_file).build(0, Path())
    check(trace)
    assert len(trace) == 12_031
    assert sum(trace.input_tokens) == 144_793_823
    assert sum(trace.output_tokens) == 4_122_048
    assert trace.named_blocks is not None
    assert sum(trace.named_blocks) == 288_500
    content = trace.content
    prompts = {node for prompt in trace.prompt for node in content.path(prompt)}
    blocks = sum(-(-(content.end[node] - content.end[content.parent[node]]) // 512) for node in prompts)
    assert blocks == 182_790
