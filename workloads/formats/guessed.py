"""A trace whose configuration names no format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, ValidationError

from workloads.errors import InputError
from workloads.formats.guess import guess
from workloads.in_words import first_problem
from workloads.schema import Schema
from workloads.trace import Trace


class GuessedTrace(Schema):
    """``{kind: trace, path: FILE}``: the format is taken from the file where its fields are sure to tell.

    The format is among the notes of every output. Settings beyond these need its name.
    """

    kind: Literal["trace"]
    format: Literal["guess"] = "guess"
    path: Path
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    arrival: Any = None
    """As the format that is found takes it."""
    loop: Literal["open", "closed"] | None = None
    """`open`: all calls at their recorded times; `closed`: a call waits for the reply before it, then a
    think time. Left out: as the format has it."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

    def build(self, seed: int, folder: Path) -> Trace:
        """Find the format and read the file with it."""
        from workloads.registry import FORMATS

        name = guess(self.path, folder, FORMATS)
        given = self.model_dump(exclude_unset=True) | {"format": name, "kind": "trace"}
        try:
            trace: Trace = FORMATS[name].model_validate(given).build(seed, folder)
        except ValidationError as error:
            problem = first_problem(error, given, "workload")
            raise InputError(f"{problem} (format {name}, guessed)") from None
        alike = " or ".join(other for other, kind in FORMATS.items() if kind is FORMATS[name])
        trace.notes.insert(0, f"{trace.origin}: format {alike}, by the fields of the file")
        return trace
