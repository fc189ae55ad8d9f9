"""The example in docs/doctor.md is what the command prints."""

from __future__ import annotations

import io
from pathlib import Path

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


def _between(lines: list[str], begin: str, end: str) -> list[str]:
    first = next(i for i, line in enumerate(lines) if line.startswith(begin))
    last = next((i for i, line in enumerate(lines) if i > first and line.startswith(end)), len(lines))
    return [line for line in lines[first:last] if line]
