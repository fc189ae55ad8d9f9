"""Recorded vLLM schedules by the public way: a config, a token trace, steps.parquet."""

from __future__ import annotations

import gzip
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from reports.files import write_steps
from sim import load_config, run
from tests.caches.recorded import read_rows
from tests.engine.test_stepping_recorded import HERE, WHOLE, recorded_arguments, recorded_folder
from tests.refusing import Cli


def _config(args: dict[str, Any]) -> dict[str, Any]:
    """The experiment that repeats a recording made with ``args``; a step takes a second."""
    workload: dict[str, Any] = {"kind": "trace", "format": "tokens", "path": "trace.jsonl.gz"}
    if not args["arrival_steps"]:
        workload["arrival"] = {
            "process": "closed_loop",
            "concurrency": args["concurrency"],
            "equal_arrival": args["same_arrival"],
        }
    engine = {
        "kind": "engine",
        "cache": {"kind": "none" if args["no_caching"] else "block", "block_size": args["block_size"]},
        "memory": {"kv_blocks": args["blocks"]},
        "latency": {"kind": "constant", "iteration_s": 1.0},
        "record_steps": True,
        "engine": {
            "kind": "vllm",
            "max_num_batched_tokens": args["max_num_batched_tokens"],
            "max_num_seqs": args["max_num_seqs"],
            "policy": args["policy"],
            "long_prefill_token_threshold": args["long_prefill_threshold"],
            "watermark": args["watermark"],
            "scheduler_reserve_full_isl": not args["no_reserve_full_isl"],
            "async_scheduling": args["async_sched"],
        },
    }
    return {"name": "recorded", "workload": workload, "systems": {"vllm": engine}}


CASES = [
    *((trace, name, False) for trace, name in HERE),
    *(pytest.param(trace, name, True, marks=pytest.mark.slow) for trace, name in WHOLE),
]


@pytest.mark.parametrize(("trace", "name", "whole"), CASES)
def test_schedule(
    request: pytest.FixtureRequest, tmp_path: Path, trace: str, name: str, whole: bool
) -> None:
    """Every step schedules the recorded requests in the recorded order with the recorded tokens."""
    folder = recorded_folder(request, trace, whole)
    write_steps(run(load_config(_written(tmp_path, folder, name))), tmp_path / "steps.parquet")
    _as_recorded(tmp_path / "steps.parquet", folder, name, whole)


def test_schedule_of_a_command(cli_here: Cli, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same from the command line, beside all other files of a run."""
    trace, name = HERE[0]
    folder = recorded_folder(request, trace, False)
    done = cli_here("run", _written(tmp_path, folder, name), "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    _as_recorded(tmp_path / "out" / "steps.parquet", folder, name, False)


def _written(tmp_path: Path, folder: Path, name: str) -> Path:
    """The configuration that repeats the recording ``name``, in a file beside its trace."""
    args = recorded_arguments(folder, name)
    lines = gzip.decompress((folder / "trace.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "trace.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[: args["limit"] or None])))
    (tmp_path / "recorded.yaml").write_text(yaml.safe_dump(_config(args)))
    return tmp_path / "recorded.yaml"


def _as_recorded(path: Path, folder: Path, name: str, whole: bool) -> None:
    table = pq.read_table(path, columns=["system", "step", "request_id", "scheduled_tokens"]).to_pydict()
    rows = zip(table["step"], table["request_id"], table["scheduled_tokens"], strict=True)
    assert set(table["system"]) == {"vllm"}
    assert table["step"] == sorted(table["step"])
    got = [[row[1:] for row in step] for _, step in groupby(rows, key=itemgetter(0))]
    steps = read_rows(folder / f"{name}.steps.jsonl.gz")
    want = [list(step["sched"].items()) for step in steps if step["sched"]]
    assert len(want) > 100
    assert got[: len(want)] == want
    if whole:
        assert len(got) == len(want)
