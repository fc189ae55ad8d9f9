"""The request table of a part as Parquet: row groups hold the rows of equal stretches of the whole table.

So a stretch of the whole is read from all parts without the rest of them, whatever the number of parts.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.results.records import Records
from sim.results.request_log import STATUS
from sim.results.request_table import BLOCK
from workloads.part import Part

NUMBER = "number"
"""The column of the place in the whole table."""


def written(records: Records, part: Part) -> bytes:
    """The rows of ``records``, which are ``part`` of a whole."""
    numbers = np.frombuffer(part.numbers, np.int64)
    columns = {NUMBER: numbers, **{name: getattr(records, name) for name in column_names(records)}}
    columns["status"] = np.array([STATUS.index(status) for status in records.status], np.int8)
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    if len(records.tier) == len(records):
        table = table.append_column("tier", pa.array(records.tier, pa.string()).dictionary_encode())
    out = io.BytesIO()
    edges = np.searchsorted(numbers, np.arange(0, part.requests + BLOCK, BLOCK)).tolist()
    with pq.ParquetWriter(out, table.schema, compression="zstd", use_dictionary=["tier"]) as writer:
        for first, stop in pairwise(edges):
            writer.write_table(table.slice(first, stop - first), row_group_size=BLOCK)
    return out.getvalue()


def column_names(records: Records) -> list[str]:
    """The columns that ``records`` have."""
    return [f.name for f in fields(records) if isinstance(getattr(records, f.name), np.ndarray)]


class Rows:
    """The rows of a part as they were written."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)

    def all(self, head: Records) -> Records:
        """All of them; ``head`` is what is known of the part beside them."""
        return with_rows(head, [self._file.read()])

    @property
    def blocks(self) -> int:
        """How many stretches the whole table has."""
        count: int = self._file.num_row_groups
        return count

    def block(self, number: int) -> Any:
        """Those of a stretch of the whole table."""
        return self._file.read_row_group(number)

    def columns(self, names: Sequence[str]) -> list[np.ndarray]:
        """Some columns."""
        table = self._file.read(columns=list(names))
        return [table.column(name).to_numpy() for name in names]


def with_rows(head: Records, tables: Sequence[Any]) -> Records:
    """``head`` with the rows of ``tables``, by their place in the whole."""
    table = pa.concat_tables(tables)
    order = np.argsort(table.column(NUMBER).to_numpy(), kind="stable")
    out = replace(head)
    for name in table.column_names:
        if name == "tier":
            out.tier = table.column(name).cast(pa.string()).take(pa.array(order)).to_pylist()
        elif name != NUMBER:
            setattr(out, name, table.column(name).to_numpy()[order])
    out.status = np.array(STATUS, object)[out.status.astype(np.int64)]
    return out


def numbers_of(tables: Sequence[Any]) -> np.ndarray:
    """The places of the rows of ``tables`` in the whole, ascending."""
    return np.sort(pa.concat_tables(tables).column(NUMBER).to_numpy())
