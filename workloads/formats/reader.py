"""The rows of a trace's files, each made into something else, with bad ones skipped and counted."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from workloads.errors import InputError
from workloads.formats.files import ending, find_files
from workloads.formats.jsonl import ENDINGS, Row, items
from workloads.formats.tables import csv_rows, parquet_rows
from workloads.shown import why

TABLES = (*ENDINGS, ".csv", ".parquet")
Made = TypeVar("Made")
Parse = Callable[[str, int, Row], Made]


class Reader:
    """Reads the file or folder ``path``, relative to ``folder`` (that of the configuration) or here.

    Up to ``skip`` rows that cannot be used are passed over; one more raises its InputError.
    """

    def __init__(self, path: Path, folder: Path, skip: int = 0, endings: Sequence[str] = ENDINGS) -> None:
        self.path, self.files = find_files(path, folder, endings)
        self.skipped = 0
        self.left_out: Counter[str] = Counter()
        """Rows that are right but no calls to serve, by reason."""
        self.remarks: list[str] = []
        """What else a format has to say about its files."""
        self._skip = skip
        self._first: str | None = None

    @property
    def several(self) -> bool:
        """Whether a line number alone does not tell where something comes from."""
        return len(self.files) > 1

    def each(self, parse: Parse[Made]) -> Iterator[Made]:
        """What ``parse(where, line, row)`` makes of every row of every file."""
        for file in self.files:
            yield from self.of_file(file, parse)

    def of_file(self, file: Path, parse: Parse[Made]) -> Iterator[Made]:
        """What ``parse(where, line, row)`` makes of every row of one file."""
        for where, line, row in rows_of(file):
            try:
                if isinstance(row, InputError):
                    raise row
                made = parse(where, line, row)
            except InputError as error:
                self.bad(error, where)
            except RecursionError:
                self.bad(InputError(f"{where}: nested too deeply; allowed: a call of a log"), where)
            else:
                yield made

    def bad(self, error: InputError, where: str) -> None:
        """A row that cannot be used: counted, or raised if it is one too many.

        What was wrong with it is not kept: that may show some of its text.
        """
        if self.skipped == self._skip:
            after = f" ({self.skipped} bad lines were skipped before it)" if self.skipped else ""
            raise InputError(f"{error}{after}")
        self.skipped += 1
        self._first = self._first or where

    def notes(self) -> list[str]:
        """What was left out or skipped."""
        notes = [f"{count:,} {why} left out" for why, count in self.left_out.items()]
        notes = [f"{self.path.name}: {note}" for note in (*notes, *self.remarks)]
        if self.skipped:
            lines = "line was" if self.skipped == 1 else "lines were"
            notes.append(f"{self.path.name}: {self.skipped} bad {lines} skipped, the first: {self._first}")
        return notes


def rows_of(file: Path) -> Iterator[tuple[str, int, Row | InputError]]:
    """The rows of a file of any kind. A file that cannot be read to its end raises."""
    read = {".csv": csv_rows, ".parquet": parquet_rows}.get(ending(file), items)
    line = 0
    try:
        for where, line, row in read(file):
            yield where, line, row
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read after line {line}: {why(error)}") from None


def rows(file: Path) -> Iterator[tuple[str, int, Row]]:
    """`rows_of`, where whatever is no object raises InputError."""
    for where, line, row in rows_of(file):
        if isinstance(row, InputError):
            raise row
        yield where, line, row
