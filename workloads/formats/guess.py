"""Which format a file has, where its first rows are sure to tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from workloads.errors import InputError
from workloads.formats.jsonl import Row
from workloads.formats.reader import TABLES, Reader

LOOKED_AT = 20
"""Rows at the start of a file; some formats begin with rows of other kinds."""

GENERAL = ("anthropic_messages", "openai_messages")
"""One importer for any log of requests, whose fields others have too."""


class Format(Protocol):
    """What knows its files."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Whether ``row``, one of the first of a file, is surely of this format."""


def guess(path: Path, folder: Path, formats: dict[str, type[Format]]) -> str:
    """The name of the one format that recognises the file, or the first file of a folder.

    InputError if none does, or several do.
    """
    reader = Reader(path, folder, skip=LOOKED_AT, endings=(*TABLES, ".log"))
    rows = list(islice(reader.of_file(reader.files[0], lambda where, line, row: row), LOOKED_AT))
    found = [name for name, kind in formats.items() if any(kind.recognises(row) for row in rows)]
    if len(found) > len(GENERAL):
        found = [name for name in found if name not in GENERAL]
    if len(found) == 1 or found == list(GENERAL):
        return found[0]
    told = (
        f"could be {' or '.join(found)}" if found else f"is none that is known by its fields{_keys(rows)}"
    )
    raise InputError(f"{reader.files[0]}: the format {told}; allowed: format: {', '.join(formats)}")


def _keys(rows: Sequence[Row]) -> str:
    return f" ({', '.join(list(rows[0])[:8])})" if rows else ""
