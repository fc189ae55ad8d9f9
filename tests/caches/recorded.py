"""What a real engine did, read from files; tests/fixtures/conformance/README.md has the fields."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.naive_vllm import NaiveRequest

EXCERPTS = Path(__file__).parents[1] / "fixtures" / "conformance"

SEQUENTIAL = {
    "short-s3": ["vllm_kvm_b73", "vllm_kvm_b257", "vllm_kvm_b1025"],
    "tenants-s2": ["vllm_kvm_b129", "vllm_kvm_b513", "vllm_kvm_b2049"],
    "normal-s1": ["vllm_kvm_b193", "vllm_kvm_b769", "vllm_kvm_b3073"],
}
"""Recordings of requests served strictly one after another, tight memory first."""
SCHEDULED = {trace: ["vllm_sched_arr_t512", "vllm_sched_arr_t8192"] for trace in SEQUENTIAL}
"""Recordings of the scheduler with policy fcfs, arrivals at fixed steps."""
EXCERPTED = ["short-s3", "tenants-s2"]
"""Traces of which an excerpt lies in this repository."""
LARGEST = pytest.mark.slow
"""For the third trace where the other two, recorded whole under the same options, run by default."""


@dataclass(frozen=True)
class Recording:
    """One configuration of one trace: its requests, its arguments, and the engine's rows."""

    requests: list[NaiveRequest]
    args: dict[str, Any]
    rows: list[dict[str, Any]]
    """One per request: all of them if sequential, else those finished within ``steps``."""
    steps: list[dict[str, Any]]
    """One per scheduler step from step 0 on; empty if sequential."""

    @classmethod
    def read(cls, folder: Path, name: str, traces: Path | None = None) -> Recording:
        """The recording ``name`` in ``folder``, of the trace there or in the folder of that name in
        ``traces``."""
        configs = json.loads((folder / "index.json").read_text())["configs"]
        (args,) = (config["args"] for config in configs if config["name"] == name)
        steps = folder / f"{name}.steps.jsonl.gz"
        beside = folder if traces is None else traces / folder.name
        return cls(
            requests=requests_of(beside),
            args=args,
            rows=read_rows(folder / f"{name}.req.jsonl.gz"),
            steps=read_rows(steps) if steps.exists() else [],
        )

    @property
    def blocks(self) -> int:
        """Usable blocks: block 0 is vLLM's null block."""
        return int(self.args["blocks"]) - 1


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a compressed JSON Lines file."""
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def requests_of(folder: Path) -> list[NaiveRequest]:
    """The requests of the trace in ``folder``."""
    return [_request(row) for row in read_rows(folder / "trace.jsonl.gz")]


def single_blocks_of_groups(runs: Iterable[Iterable[Any]]) -> list[tuple[Any, int, int]]:
    """Runs (owner, first, last), counting down, and the group where there are several, one by one."""
    return [
        (owner, i, *(group or [0]))
        for owner, first, last, *group in runs
        for i in range(first, last - 1, -1)
    ]


def single_blocks(runs: Iterable[Iterable[Any]]) -> list[tuple[Any, int]]:
    """Runs of evicted blocks (owner, first, last), counting down, as (owner, index) one by one."""
    return [(owner, i) for owner, first, last in runs for i in range(first, last - 1, -1)]


def _request(row: dict[str, Any]) -> NaiveRequest:
    return NaiveRequest(
        row["id"],
        row["tokens"],
        row["output_tokens"],
        row.get("cache_salt"),
        row["priority"],
        row["arrival"],
    )
