"""Which logs the doctor reads: a file or folder that is named, or those of the coding agents here."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from sim.doctor import billed, logs
from sim.doctor.calls import Lane
from workloads.errors import InputError
from workloads.formats.guess import LOOKED_AT, guess
from workloads.formats.jsonl import Row
from workloads.formats.reader import Reader, rows_of
from workloads.registry import FORMATS

BILLED = "billed"
"""The format of files whose rows carry what was billed."""
PLACES = (Path("~/.claude/projects"), Path("~/.codex/sessions"))
"""Where Claude Code and Codex keep their logs."""


class Log:
    """The lanes of one log, and in whose words it is written."""

    def __init__(self, path: Path, format: str, lanes: list[Lane]) -> None:
        self.path, self.format, self.lanes = path, format, lanes


def read(path: Path | None, format: str | None = None) -> list[Log]:
    """The logs at ``path``, or without one those of the agents that have any here."""
    if path is not None:
        return [_read(path, format)]
    there = [place for place in (place.expanduser() for place in PLACES) if place.is_dir()]
    there = [place for place in there if next(place.rglob("*.jsonl"), None) is not None]
    if not there:
        raise InputError(
            f"neither {PLACES[0]} nor {PLACES[1]} has a log; allowed: the path of a log with usage"
        )
    return [_read(place, format) for place in there]


def _read(path: Path, format: str | None) -> Log:
    name = format or (BILLED if _is_billed(path) else guess(path, Path(), FORMATS))
    found = billed.lanes(path) if name == BILLED else logs.lanes(path, name)
    if not any(lane.calls for lane in found):
        raise InputError(f"{path}: no calls; allowed: one lane with its requests a line")
    return Log(path, name, found)


def _is_billed(path: Path) -> bool:
    """Whether one of the first rows has what was billed, or is meant to have."""
    reader = Reader(path, Path())
    first: list[Row | InputError] = [row for _, _, row in islice(rows_of(reader.files[0]), LOOKED_AT)]
    rows = [row for row in first if not isinstance(row, InputError)]
    return any(map(billed.recognises, rows)) or not rows
