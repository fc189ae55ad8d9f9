"""Rows of tables as objects: CSV with a header, and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from workloads.errors import InputError
from workloads.formats.files import opened
from workloads.formats.jsonl import Row, shown

csv.field_size_limit(2**31 - 1)


def csv_rows(path: Path) -> Iterator[tuple[str, int, Row | InputError]]:
    """Every row as ("file:line", line, object of texts), by the names in the header; "" is left out."""
    with opened(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.DictReader(lines, restkey="")
        try:
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if "" in row or None in row.values():
                    names = ",".join(reader.fieldnames or ())
                    yield (
                        where,
                        reader.line_num,
                        InputError(
                            f"{where}: {len([v for v in row.values() if v is not None])} columns; allowed: "
                            f"{len(reader.fieldnames or ())}, as in the header ({names})"
                        ),
                    )
                    continue
                yield where, reader.line_num, {key: value for key, value in row.items() if value != ""}
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}:{reader.line_num + 1}: no CSV ({error}); allowed: a table") from None


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
    except pa.ArrowException as error:
        raise InputError(f"{path}: no Parquet file: {error}") from None


def column(row: Row, key: str, where: str, least: int = 0) -> int:
    """The whole number of at least ``least`` that a column holds as text or as a number."""
    value = row.get(key)
    try:
        number = int(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or number < least:
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: a whole number of at least {least}")
    return number
