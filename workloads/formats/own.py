"""The project's own file of a trace: everything that a trace knows, in one Parquet file.

The file has one row, whose columns are the lists of `Trace`; requests and segments are numbered from 0. It
is what ``python -m workloads convert`` writes, and reading it gives the same trace again.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any, Literal

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.files import find_file
from workloads.formats.jsonl import Row
from workloads.formats.timing import close_loop
from workloads.schema import Schema
from workloads.shown import shown, why
from workloads.trace import Trace

VERSION = 1
REQUESTS = (
    "prompt", "reply", "output_tokens", "arrival_s", "follower", "think_s", "continues", "session", "turn",
    "tenant", "priority",
)  # fmt: skip
OPTIONAL = ("request_ids", "named_blocks", "lines", "api_s", "models", "left_after_s")
SETS = ("continuations", "system_messages", "resent_replies", "tool_turns")
VALUES = (
    "lengths_only", "messages", "block_id_tokens", "concurrency", "equal_arrival", "drawn_starts",
    "was_live", "origin",
)  # fmt: skip


def write(trace: Trace, path: Path) -> None:
    """Write the trace as one row."""
    import pyarrow as pa
    from pyarrow import parquet

    trace = trace.by_message
    row: Row = {name: list(getattr(trace, name)) for name in REQUESTS}
    row |= {name: getattr(trace, name) for name in OPTIONAL}
    if trace.marks is not None:
        row["marks"] = [[list(mark) for mark in marks] for marks in trace.marks]
    row |= {"segment_parent": list(trace.content.parent), "segment_end": list(trace.content.end)}
    row |= {name: sorted(getattr(trace, name)) for name in SETS}
    about = {name: getattr(trace, name) for name in VALUES}
    about |= {"version": VERSION, "notes": trace.notes, "parents": list(trace.parents.items())}
    columns = {name: pa.array([value]) for name, value in row.items() if value is not None}
    table = pa.table(columns).replace_schema_metadata({"prefixsim": json.dumps(about)})
    parquet.write_table(table, path, compression="zstd")


class OwnTrace(Schema):
    """A trace that was written by this project; ``arrival`` as for other recorded traces."""

    kind: Literal["trace"]
    format: Literal["prefixsim"]
    path: Path
    """The file; relative to the configuration's folder or the current one."""
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Its columns."""
        return row.keys() >= {"segment_parent", "segment_end", "prompt"}

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file, relative to ``folder`` (that of the configuration) or the current one."""
        path = find_file(self.path, folder)
        row, about = _read(path)
        trace = Trace()
        try:
            trace.content.parent = array("q", row["segment_parent"])
            trace.content.end = array("q", row["segment_end"])
            for name in REQUESTS:
                getattr(trace, name).extend(row[name])
            for name in OPTIONAL:
                setattr(trace, name, row.get(name))
            if row.get("marks") is not None:
                trace.marks = [[(int(at), ttl_s) for at, ttl_s in marks] for marks in row["marks"]]
            for name in SETS:
                setattr(trace, name, set(row[name]))
            for name in VALUES:
                setattr(trace, name, about[name])
            trace.notes, trace.parents = about["notes"], dict(map(tuple, about["parents"]))
            check(trace)
        except (AssertionError, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: a trace that contradicts itself ({error!r}); allowed: a file written by "
                "python -m workloads convert"
            ) from None
        if isinstance(self.arrival, ClosedLoop):
            close_loop(trace)
        self.arrival.apply(trace)
        return trace


def _read(path: Path) -> tuple[Row, dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        metadata = (table.schema.metadata or {}).get(b"prefixsim", b"{}")
        about = json.loads(metadata)
        columns = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: no Parquet file ({why(error)}); allowed: a trace of this project"
        ) from None
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION or len(columns) != 1:
        raise InputError(
            f"{path}: version {shown(version)} of {len(columns)} rows; allowed: one row of version "
            f"{VERSION}"
        )
    row: Row = columns[0]
    return row, about
