"""The samples file: a header line, then one line per timed sample, in the order in which they were taken.

JSON lines, plain while measuring (so that an interrupted run goes on where it stopped) and compressed
beside a finished profile. Never rewritten: rows are appended, and what does not fit is refused.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from calibration.plan import Configuration, Split
from workloads.errors import InputError
from workloads.in_words import first_problem
from workloads.shown import why

SCHEMA = "kvsamples/1"
HEADER = (
    "model", "device", "dtype", "grid", "seed", "passes", "clock", "kv_tokens", "hardware", "software",
    "hardware_name", "created",
)  # fmt: skip
KEYS = ("family", "split", "spec", "pass", "t_s", "wall_s")


class Header(BaseModel):
    """What is used of a header; model, hardware and software are checked by their own types."""

    model_config = ConfigDict(strict=True)

    grid: Literal["gpu", "cpu", "tiny"]
    seed: int = Field(ge=0, lt=2**32)
    passes: PositiveInt
    clock: Literal["cuda_event", "cpu_time"]
    hardware_name: str | None
    created: str


class SampleRow(BaseModel):
    """One sample."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    family: str = Field(min_length=1)
    split: Split
    spec: list[tuple[NonNegativeInt, NonNegativeInt]] = Field(min_length=1)
    number: NonNegativeInt = Field(alias="pass")
    t_s: PositiveFloat = Field(description="s by the clock")
    wall_s: PositiveFloat


Checked = TypeVar("Checked", bound=BaseModel)


@dataclass(slots=True)
class Samples:
    """A file's header and rows."""

    header: dict[str, Any]
    configurations: list[Configuration]
    """What each row timed."""
    passes: list[int]
    t_s: list[float]
    wall_s: list[float]

    def __len__(self) -> int:
        return len(self.t_s)


def read(path: Path) -> Samples:
    """Read a samples file, compressed or not; InputError names file, line and what is wrong."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; allowed: a samples file of calibration") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cut off or damaged ({why(error)}); allowed: a whole samples file"
        ) from None
    lines = text.split("\n")
    if lines[-1]:
        raise InputError(
            f"{path}:{len(lines)}: the last line is cut off; allowed: whole lines (take that line out to "
            "go on without it)"
        )
    header = _object(path, 1, lines[0])
    if header.get("schema") != SCHEMA:
        raise InputError(f"{path}:1: schema = {header.get('schema')!r}; allowed: {SCHEMA}")
    absent = [key for key in HEADER if key not in header]
    if absent:
        raise InputError(f"{path}:1: {absent[0]} is missing; allowed: the header of a samples file")
    _checked(Header, path, 1, lines[0])
    samples = Samples(header, [], [], [], [])
    for number, line in enumerate(lines[1:-1], start=2):
        row = _checked(SampleRow, path, number, line)
        samples.configurations.append(Configuration(row.family, row.split, tuple(row.spec)))
        samples.passes.append(row.number)
        samples.t_s.append(row.t_s)
        samples.wall_s.append(row.wall_s)
    return samples


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path}:{number}: {line[:60]!r} is no JSON object; allowed: a samples file")
    return value


def _checked(kind: type[Checked], path: Path, number: int, line: str) -> Checked:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        try:
            problem = first_problem(error, json.loads(line))
        except (ValueError, RecursionError):
            problem = f"{line[:60]!r} is no JSON object"
        raise InputError(f"{path}:{number}: {problem}; in a line of a samples file") from None


def begin(path: Path, header: dict[str, Any]) -> None:
    """Make a new file with ``header``; an existing one is an InputError."""
    if path.exists():
        raise InputError(f"{path}: exists; allowed: a new file")
    path.write_text(json.dumps({"schema": SCHEMA, **header}) + "\n", encoding="utf-8")


def row(configuration: Configuration, number: int, t_s: float, wall_s: float) -> str:
    """One line of the file."""
    c = configuration
    values = (c.family, c.split, c.spec, number, float(f"{t_s:.7g}"), float(f"{wall_s:.7g}"))
    return json.dumps(dict(zip(KEYS, values, strict=True)), separators=(",", ":")) + "\n"


def compress(path: Path, to: Path) -> str:
    """Write ``path`` compressed to ``to`` and return the sha256 of that; same bytes for same rows."""
    packed = gzip.compress(path.read_bytes(), mtime=0)
    to.write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def sha256(path: Path) -> str:
    """Of the file as it is."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
