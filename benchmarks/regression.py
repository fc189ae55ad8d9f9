"""Has the simulator become slower? Ratios to the calibration loop, measured against recorded ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

MOST = 1.2
"""A ratio may be at most so many times the recorded one."""
RECORDED = Path(__file__).with_name("recorded.json")


def load(path: Path = RECORDED) -> dict[str, float]:
    """The recorded ratio of every experiment; none if nothing was recorded."""
    if not path.is_file():
        return {}
    ratios: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["ratios"]
    return ratios


def save(ratios: Mapping[str, float], machine: str, date: str, path: Path = RECORDED) -> None:
    """Take ``ratios`` as those to measure against, with a note on where and when they were measured."""
    rounded = {name: float(f"{ratio:.4g}") for name, ratio in ratios.items()}
    content = {"machine": machine, "date": date, "ratios": rounded}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def slower(measured: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """A line for each experiment whose ratio is over ``MOST`` times the recorded one."""
    return [
        f"slower: {name}: {ratio:.3f} calibration loops, recorded {recorded[name]:.3f} "
        f"({ratio / recorded[name]:.2f} times; at most {MOST:g})"
        for name, ratio in measured.items()
        if name in recorded and ratio > MOST * recorded[name]
    ]


def unguarded(measured: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """A line for each experiment that has no recorded ratio."""
    return [f"not recorded yet: {name} (see --record)" for name in measured if name not in recorded]
