"""Small configurations with hosted APIs, and small recorded sessions."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from sim import Result, load_config, run
from sim.providers import bills
from sim.providers.usage import Usage, charge
from sim.results.records import Records
from workloads.checking import check
from workloads.formats.claude_code_compact import ClaudeCodeTrace
from workloads.trace import Trace

Row = dict[str, Any]
A_BILL = "{kind: script, messages: {a: 10000, r: 10}, requests: [{prompt: [a], reply: r}]}"
"""One prompt of 10,000 tokens."""


def hosted(root: Path, workload: str, **systems: str) -> Result:
    """The workload at hosted APIs, each given as the inside of a mapping."""
    text = ", ".join(f"{name}: {{kind: provider, regret: false, {one}}}" for name, one in systems.items())
    settings = [f"workload={workload}", f"systems={{{text}}}"]
    return run(load_config(root / "configs/spec/2-a-bill.yaml", settings))


def reads(result: Result) -> dict[str, list[int]]:
    """Tokens that each request read, by system."""
    return {name: one.records.cache_read_input_tokens.tolist() for name, one in result.runs.items()}


def total(records: Records) -> Fraction:
    """The whole bill."""
    return bills.exact(records).total_usd


def recorded_file(folder: Path, calls: list[Row]) -> ClaudeCodeTrace:
    """A file with one session of model calls in the compact form."""
    entries = [{"type": "n", "out": 1, **call} for call in calls]
    row = {"id": "s", "block_size": 64, "hash_id_scope": "local", "requests": entries}
    (folder / "t.jsonl").write_text(json.dumps(row) + "\n")
    return ClaudeCodeTrace(kind="trace", format="claude_code_compact", path=folder / "t.jsonl")


def recorded(folder: Path, calls: list[Row]) -> Trace:
    """The trace of such a file."""
    trace = recorded_file(folder, calls).build(0, folder)
    check(trace)
    return trace


def bill_of(records: Records, i: int) -> Fraction:
    """The bill of call ``i`` by itself."""
    found = records.hosted
    assert found is not None
    calls = found.calls
    usage = Usage(
        int(calls.input_tokens[i]),
        int(calls.output_tokens[i]),
        int(calls.read_tokens[i]),
        tuple(int(tokens[i]) for tokens in calls.written.values()),
        int(calls.created_tokens[i]),
        float(calls.storage_s[i]),
    )
    return charge(usage, found.cards[calls.card[i]], found.lifetime).total_usd
