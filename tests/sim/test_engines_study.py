"""configs/studies/engines.yaml: the same chats under vLLM's scheduler and SGLang's, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from tests.refusing import Cli


def _summary(folder: Path) -> Any:
    return json.loads((folder / "summary.json").read_text())


def test_the_study(cli: Cli, cli_here: Cli, tmp_path: Path, root: Path) -> None:
    """Every request ends in every system, neither engine is called approximate, and steps add up."""
    study = root / "configs" / "studies" / "engines.yaml"
    small = ["--set", "workload.sessions=30", "--set", "systems.sglang.record_steps=true"]
    done = cli_here("run", study, *small, "--out", "one")
    assert done.returncode == 0, done.stderr
    summary = _summary(tmp_path / "one")
    systems = summary["systems"]
    assert isinstance(systems, dict) and list(systems) == [
        "vllm",
        "sglang",
        "sglang-pages-of-16",
        "sglang-lpm",
    ]
    requests = summary["requests"]
    for system in systems.values():
        assert (system["completed"], system["failed"]) == (requests, 0)
        assert not any(note.startswith("approximate") for note in system["notes"])
    steps = pq.read_table(tmp_path / "one" / "steps.parquet").to_pydict()
    assert set(steps["system"]) == {"sglang"}
    sglang = systems["sglang"]
    assert sum(steps["scheduled_tokens"]) == (
        sglang["computed_prompt_tokens"] + sglang["total_output_tokens"] - requests
    )  # nobody is retracted in so roomy a memory
    again = cli("run", tmp_path / "one" / "config.yaml", "--out", "two", env={"PYTHONHASHSEED": "7"})
    assert again.returncode == 0, again.stderr
    assert _summary(tmp_path / "two") == summary, "the resolved file runs again, under any hash seed"
    resolved = yaml.safe_load((tmp_path / "one" / "config.yaml").read_text())["systems"]
    assert resolved["sglang"]["engine"]["chunked_prefill_size"] == 8192
    assert resolved["sglang"]["engine"]["max_running_requests"] == 2048
    assert resolved["sglang-pages-of-16"]["memory"]["kv_blocks"] == 12500
