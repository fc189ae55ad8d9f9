"""Which format a file has, where its first rows are sure to tell."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Protocol

from workloads.errors import InputError
from workloads.formats.jsonl import Row
from workloads.formats.reader import TABLES, Reader, rows_of

LOOKED_AT = 20
"""Rows at the start of a file; some formats begin with rows of other kinds."""
FILES = 50
"""Files of a folder that may be of another kind before one that tells: ~/.claude has some."""
GENERAL = "openai_messages"
"""An importer for any log of requests, whose fields others have too."""


class Format(Protocol):
    """What knows its files."""

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Whether ``row``, one of the first of a file, is surely of this format."""


def guess(path: Path, folder: Path, formats: dict[str, type[Format]]) -> str:
    """The name of the one format that recognises the file, or a file of a folder.

    InputError if none does, or several do.
    """
    reader = Reader(path, folder, endings=(*TABLES, ".log"))
    names: dict[type[Format], str] = {}
    for name, kind in formats.items():
        names.setdefault(kind, name)
    first: list[Row | InputError] = []
    for file in reader.files[:FILES]:
        looked_at = [row for _, _, row in islice(rows_of(file), LOOKED_AT)]
        rows = [row for row in looked_at if not isinstance(row, InputError)]
        first = first or looked_at
        found = [name for kind, name in names.items() if any(kind.recognises(row) for row in rows)]
        if len(found) > 1:
            found = [name for name in found if formats[name] is not formats[GENERAL]]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{file}: the format could be {' or '.join(found)}; allowed: format: one of them"
            )
    if not first:
        raise InputError(f"{reader.path}: no requests; allowed: a file with rows")
    opening = first[0]
    if isinstance(opening, InputError):
        raise opening
    keys = f" ({', '.join(list(opening)[:8])[:200]})" if opening else ""
    raise InputError(
        f"{reader.files[0]}: the format is none that is known by its fields{keys}; allowed: format: "
        f"{', '.join(formats)}"
    )
