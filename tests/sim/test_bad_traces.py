# ruff: noqa: E501 (tables of cases)
"""Bad traces: the message names the file and the line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, LINE, TRACE, written


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", ("trace.jsonl:2: not JSON", "one JSON object a line")),
        ("[1, 2]", ("trace.jsonl:2:", "not a JSON object")),
        (json.dumps(LINE | {"input_length": -1}), ("trace.jsonl:2: input_length = -1", "at least 1")),
        (json.dumps(LINE | {"output_length": 0}), ("trace.jsonl:2: output_length = 0", "at least 1")),
        (json.dumps(LINE | {"output_length": "5"}), ("trace.jsonl:2: output_length = '5'", "whole number")),
        (json.dumps(LINE | {"timestamp": None}), ("trace.jsonl:2: timestamp = None",)),
        (json.dumps(LINE | {"timestamp": float("nan")}), ("trace.jsonl:2: timestamp = nan",)),
        (json.dumps(LINE | {"hash_ids": [0]}), ()),
        ("[" * 100_000, ("trace.jsonl:2: not JSON",)),
        (json.dumps(LINE | {"timestamp": 10**400}), ("trace.jsonl:2: timestamp = 1000", "a number of at least 0")),
        (json.dumps(LINE | {"timestamp": 10**20}), ("workload: times reach 1e+17 s", "allowed: arrivals")),
        (json.dumps(LINE | {"input_length": 10**400}), ("trace.jsonl:2: input_length = 1000", "at least 1, up to 1e+12")),
        (json.dumps(LINE | {"output_length": 10**13}), ("trace.jsonl:2: output_length = 10000000000000", "up to 1e+12")),
        (json.dumps(LINE | {"hash_ids": []}), ("trace.jsonl:2: hash_ids has 0 ids", "1 to 2")),
        (json.dumps(LINE | {"hash_ids": [0, 1, 2]}), ("trace.jsonl:2: hash_ids has 3 ids", "1 to 2")),
        (json.dumps(LINE | {"hash_ids": [0, "1"]}), ("trace.jsonl:2: hash_ids", "a list of integers")),
        (json.dumps(LINE | {"input_length": 20_000_000, "hash_ids": list(range(39063))}), ()),
    ],
)  # fmt: skip
def test_trace_lines(cli_here: Cli, tmp_path: Path, line: str, said: tuple[str, ...]) -> None:
    """A bad line of a trace is named by file and line; neither a missing partial id nor a prompt
    that an engine rejects is bad."""
    (tmp_path / "trace.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n")
    config = written(tmp_path, json.dumps(GOOD | {"workload": TRACE}))
    if said:
        refused(cli_here, tmp_path, "run", config, said=said)
    else:
        assert cli_here("check", config).returncode == 0


def test_trace_missing_or_empty(cli_here: Cli, tmp_path: Path) -> None:
    """No file, and a file without requests."""
    config = written(tmp_path, json.dumps(GOOD | {"workload": TRACE}))
    refused(cli_here, tmp_path, "run", config, said=("trace.jsonl: no such file; looked for",))
    (tmp_path / "trace.jsonl").write_text("\n")
    refused(cli_here, tmp_path, "run", config, said=("trace.jsonl: no requests",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arrival": 10**400}, ("arrival = 1000", "a number of at least 0")),
        ({"session": 10**30}, ("session = 1000", "up to 1e+12")),
        ({"turn": 10**30}, ("turn = 1000", "up to 1e+12")),
        ({"id": "\ud800"}, ("id = '\\ud800'", "allowed: printable text")),
    ],
)
def test_token_trace_lines(
    cli_here: Cli, tmp_path: Path, change: dict[str, object], said: tuple[str, ...]
) -> None:
    """What no table of requests can hold."""
    line = {"id": "a", "tokens": [1, 2], "output_tokens": [3], "arrival": 0}
    (tmp_path / "trace.jsonl").write_text(json.dumps(line | change) + "\n")
    config = written(tmp_path, json.dumps(GOOD | {"workload": TRACE | {"format": "tokens"}}))
    refused(cli_here, tmp_path, "run", config, said=("trace.jsonl:1: ", *said))
