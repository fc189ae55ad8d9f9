"""The example in docs/doctor.md is what the command prints."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from reports.doctor import table
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine


def test_the_example_is_real(root: Path, shared_data: Path) -> None:
    """Every line on exactness, causes and losses; what to change is left out, which takes a while."""
    out = io.StringIO()
    found = diagnose(examine(shared_data / "billed_sessions" / "claude_code.jsonl.gz"))
    Console(file=out, width=110).print(table(found))
    printed = [line.rstrip() for line in out.getvalue().splitlines()]
    text = (root / "docs" / "doctor.md").read_text(encoding="utf-8")
    example = text.split("```")[1].splitlines()[2:]
    for begin, end in (("11,653 of", "What to change"), ("Lost inside", "By session")):
        shown = _between(example, begin, end)
        assert len(shown) > 5
        assert shown == _between(printed, begin, "Lost inside" if begin == "11,653 of" else end)


@pytest.mark.slow
def test_all_of_the_example_is_printed(root: Path, shared_data: Path, tmp_path: Path) -> None:
    """Line by line in this order, with what to change; the page leaves out a part."""
    file = shared_data / "billed_sessions" / "claude_code.jsonl.gz"
    command = [sys.executable, "-m", "sim", "doctor", str(file), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "110"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    printed = iter([line.rstrip() for line in done.stdout.splitlines()])
    example = (root / "docs" / "doctor.md").read_text(encoding="utf-8").split("```")[1].splitlines()[2:]
    assert [line for line in example if line and line not in printed] == []


def _between(lines: list[str], begin: str, end: str) -> list[str]:
    first = next(i for i, line in enumerate(lines) if line.startswith(begin))
    last = next((i for i, line in enumerate(lines) if i > first and line.startswith(end)), len(lines))
    return [line for line in lines[first:last] if line]
