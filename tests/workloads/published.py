"""Reading public data for tests: traces, rows of a file, percentiles as descriptions give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from workloads.formats.jsonl import ENDINGS, Row
from workloads.formats.reader import Reader
from workloads.registry import FORMATS
from workloads.trace import Trace


def read(kind: str, path: Path, **settings: Any) -> Trace:
    """The trace that the importer makes."""
    trace: Trace = (
        FORMATS[kind]
        .model_validate({"kind": "trace", "format": kind, "path": path} | settings)
        .build(0, path.parent)
    )
    return trace


def raw(path: Path) -> list[Row]:
    """The rows that the importers are given, fields that no trace keeps included."""
    return list(Reader(path, path.parent, 0, (*ENDINGS, ".csv")).each(lambda where, line, row: row))


def times(trace: Trace) -> list[float]:
    """Arrivals in s, ascending."""
    return [at for at, _ in trace.instant_order()]


def sessions(trace: Trace) -> list[list[tuple[float, int]]]:
    """Each session's requests in their order, with their times."""
    found: dict[int, list[tuple[float, int]]] = {}
    for at, i in trace.instant_order():
        found.setdefault(trace.session[i], []).append((at, i))
    return list(found.values())


def at(values: Any, *percentiles: float) -> list[float]:
    """Percentiles, without the last digits of a float (a half stays a half, to be rounded to even)."""
    return [round(float(value), 6) for value in np.percentile(values, percentiles)]
