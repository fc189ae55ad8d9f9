"""docs/outputs.md: every field that a command writes, made from the types of the outputs.

``python -m reports.outputs_page > docs/outputs.md`` (``make docs``) writes it anew.
"""

from __future__ import annotations

import inspect
from itertools import groupby
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from sim.doctor.outcome import Diagnosis
from sim.results.about import Described, described, is_record
from sim.results.summary import Summary, Timing
from sim.results.tables import RequestColumns, SampleColumns, StepColumns
from sim.results.validation import EngineValidation, Validation
from sim.studies.outputs import CapacitySummary, FleetSummary, HabitSummary, SearchSummary, SweepSummary

FILES: dict[str, Any] = {
    "summary.json": Summary,
    "timing.json": Timing,
    "requests.parquet": RequestColumns,
    "steps.parquet": StepColumns,
    "timeseries.parquet": SampleColumns,
    "capacity.json": CapacitySummary,
    "habits.json": HabitSummary,
    "sweep.json": SweepSummary,
    "search.json": SearchSummary,
    "fewest-gpus.json": FleetSummary,
    "validation.json": Validation,
    "engine-validation.json": EngineValidation,
    "doctor.json": Diagnosis,
}
WRITERS = {
    "summary.json": "python -m sim run",
    "timing.json": "python -m sim run",
    "requests.parquet": "python -m sim run",
    "steps.parquet": "python -m sim run",
    "timeseries.parquet": "python -m sim run",
    "capacity.json": "python -m sim capacity",
    "habits.json": "python -m sim habits",
    "sweep.json": "python -m sim sweep",
    "search.json": "python -m sim search",
    "fewest-gpus.json": "python -m sim search --recipe fewest-gpus",
    "validation.json": "python -m calibration validate --against",
    "engine-validation.json": "python -m calibration validate",
    "doctor.json": "python -m sim doctor",
}
INTRODUCTION = """\
# Outputs

Every field of every file, made from the types in the code by `make docs`; do not edit. Names, units and
definitions are those of vLLM's result files where vLLM has the quantity. A figure that cannot be computed
is null, never 0. In a path, NAME stands for the name of a system, KEY for any other name, and [] for an
item of a list.
"""
FURTHER = """\
## systems.csv, timeline.json

`python -m sim run --csv` writes `systems.csv`, a row per system and per twin (`/no-cache`) with the
figures of `summary.json`, and beside each Parquet file the same as CSV. `--json` prints `summary.json`
and nothing else.

`python -m sim run --timeline` writes `timeline.json` in the trace event format, which
<https://ui.perfetto.dev> opens; times are simulated. A process is a replica of a system with its cache.
Its thread has the iterations, equal ones as one slice; a slice per request (`request`, with its tokens
and how it ended) holds those of its phases: `queued`, `prefill`, `decode`. Counters: requests that wait
and that run, the prompt tokens of those that run, the share of prompt tokens that hit so far; with
`sample_s` also the share of the KV memory in use, and the hits of each interval. Of more than 100,000
requests those come first. Systems without times have slices without length.
"""
WORDS = {float: "number", int: "integer", str: "text", bool: "true or false", NoneType: "null"}
COLUMNS = {np.float64: "number", np.int64: "integer", np.object_: "text"}


def page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for name, record in FILES.items():
        parts.append(f"## {name}\n\nWritten by `{WRITERS[name]}`. {_text(record)}\n\n{_table(record)}")
        for part, paths in nested(record).items():
            heading = ", ".join(f"`{path}`" for path in paths)
            parts.append(f"### {heading}\n\n{_text(part)}\n\n{_table(part)}")
    return "\n".join([*parts, FURTHER])


def nested(record: Any) -> dict[Any, list[str]]:
    """The typed dictionaries within ``record``, in the order of its fields, and where they stand."""
    out: dict[Any, list[str]] = {}

    def visit(outer: Any, before: str) -> None:
        for field in described(outer):
            for part, path in _records(field.kind, before + field.key):
                out.setdefault(part, []).append(path)
                if len(out[part]) == 1:
                    visit(part, f"{path}.")

    visit(record, "")
    return out


def _records(kind: Any, path: str) -> list[tuple[Any, str]]:
    """The typed dictionaries in a field's type, each with its path."""
    if is_record(kind):
        return [(kind, path)]
    inner = get_args(kind)
    if get_origin(kind) is dict:
        name = "NAME" if path in ("systems", "no_cache", "savings") else "KEY"
        return _records(inner[1], f"{path}.{name}")
    if get_origin(kind) is list:
        return _records(inner[0], f"{path}[]")
    return [found for part in inner for found in _records(part, path)]


def _table(record: Any) -> str:
    """One line per field; fields in a row that mean the same share a line."""
    lines = ["| key | type | unit | meaning |", "|---|---|---|---|"]
    for (kind, unit, text), fields in groupby(described(record), _meaning):
        keys = ", ".join(f"`{field.key}`" for field in fields)
        lines.append(f"| {keys} | {kind} | {unit} | {text} |")
    return "\n".join(lines) + "\n"


def _meaning(field: Described) -> tuple[str, str, str]:
    kind = _kind(field.kind) + ("" if field.always else ", or absent")
    return kind, field.about.unit, field.about.text


def _kind(kind: Any) -> str:
    """A field's type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_kind(part) for part in inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is list:
        return f"list of {_kind(inner[0])}s" if inner[0] in (float, int) else f"list of {_kind(inner[0])}"
    if origin is tuple:
        return f"list of {len(inner)} {_kind(inner[0])}s"
    if origin is dict:
        return "object" if inner[0] is str else f"object with {_kind(inner[0])}"
    if origin is np.ndarray:
        return COLUMNS[get_args(inner[1])[0]]
    return "object" if is_record(kind) else WORDS[kind]


def _text(record: Any) -> str:
    """The docstring of a typed dictionary as Markdown."""
    return inspect.cleandoc(record.__doc__).replace("``", "`").replace("\n\n", " ").replace("\n", " ")


if __name__ == "__main__":
    print(page(), end="")
