"""Azure's LLM inference traces of 2023 and 2024: times and lengths as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.errors import InputError
from workloads.formats.jsonl import Row
from workloads.formats.lengths_only import Length, LengthsTrace
from workloads.formats.reader import Reader
from workloads.formats.tables import column
from workloads.formats.times import seconds


class AzureTrace(LengthsTrace):
    """Azure's LLM inference traces: ``TIMESTAMP,ContextTokens,GeneratedTokens``."""

    format: Literal["azure"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """The three columns."""
        return row.keys() >= {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}

    def lengths(self, reader: Reader) -> Iterator[Length]:
        """One request a row; times have seven fractional digits."""

        def read(where: str, line: int, row: Row) -> Length:
            at_s = seconds(row.get("TIMESTAMP"), "TIMESTAMP", where)
            if at_s is None:
                raise InputError(f"{where}: TIMESTAMP = None; allowed: such as 2023-11-16 18:15:46.6805900")
            tokens, output = column(row, "ContextTokens", where, 1), column(row, "GeneratedTokens", where)
            return Length(line, at_s, tokens, max(1, output))

        return reader.each(read)
