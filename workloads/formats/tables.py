"""Rows of tables as objects: CSV with a header, and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workloads.errors import InputError
from workloads.formats.files import opened
from workloads.formats.jsonl import Row, digits, whole
from workloads.shown import why

csv.field_size_limit(2**31 - 1)


def csv_rows(path: Path) -> Iterator[tuple[str, int, Row | InputError]]:
    """Every row as ("file:line", line, object of texts), by the names in the header; "" is left out."""
    with opened(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.DictReader(lines)
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                yield where, reader.line_num, _complete(row, where)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}:{reader.line_num + 1}: no CSV ({why(error)}); allowed: a table"
            ) from None


def _complete(row: dict[str | None, Any], where: str) -> Row | InputError:
    """The row without its empty cells, if it has as many cells as the header."""
    more = row.pop(None, [])  # what has no name in the header
    names = [name for name in row if name is not None]
    cells = sum(value is not None for value in row.values()) + len(more)
    if cells != len(names):
        return InputError(
            f"{where}: {cells} columns; allowed: {len(names)}, as in the header ({','.join(names)[:60]})"
        )
    return {name: row[name] for name in names if row[name] != ""}


def parquet_rows(path: Path) -> Iterator[tuple[str, int, Row | InputError]]:
    """Every row as ("file: row N", N, object)."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as table:
            number = 0
            for batch in table.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", number, row
    except (pa.ArrowException, ValueError, OverflowError) as error:  # also times that Python cannot hold
        raise InputError(f"{path}: no Parquet file that can be read: {why(error)}") from None


def column(row: Row, key: str, where: str, least: int = 0) -> int:
    """The whole number of at least ``least`` that a column holds as text or as a number."""
    return whole({key: digits(row.get(key))}, key, where, least)
