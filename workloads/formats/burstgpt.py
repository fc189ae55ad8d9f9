"""BurstGPT's CSV files: times, lengths and, in newer ones, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workloads.errors import InputError
from workloads.formats.jsonl import FINITE, Row
from workloads.formats.lengths_only import Length, LengthsTrace
from workloads.formats.reader import Reader
from workloads.formats.tables import column
from workloads.shown import shown


class BurstGptTrace(LengthsTrace):
    """BurstGPT's CSV files, columns by name; ``Timestamp`` in s. Failed requests (no reply) are left out.

    A ``Session ID``, which newer files have for conversations, makes rows the turns of a session. ``Elapsed
    time`` is not a time to first token and is not used.
    """

    format: Literal["burstgpt"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """Its columns."""
        return row.keys() >= {"Timestamp", "Request tokens", "Response tokens"}

    def lengths(self, reader: Reader) -> Iterator[Length]:
        """One request a row."""

        def read(where: str, line: int, row: Row) -> Length | None:
            tokens, output = column(row, "Request tokens", where), column(row, "Response tokens", where)
            if not output or not tokens:
                reader.left_out["failed requests"] += 1
                return None
            at_s = _number(row, "Timestamp", where)
            return Length(line, at_s, tokens, output, row.get("Session ID"))

        return (request for request in reader.each(read) if request is not None)


def _number(row: Row, key: str, where: str) -> float:
    try:
        value = float(row.get(key, ""))
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= FINITE:
        raise InputError(f"{where}: {key} = {shown(row.get(key))}; allowed: a number of at least 0")
    return value
