"""Detailed results of vLLM's ``bench serve``: lengths and times of every request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from workloads.errors import InputError
from workloads.formats.jsonl import FINITE, Row, number
from workloads.formats.lengths_only import Length, LengthsTrace
from workloads.formats.reader import Reader
from workloads.schema import MOST, MOST_S
from workloads.shown import shown

START = "start_times"


class VllmBenchTrace(LengthsTrace):
    """Results of ``vllm bench serve`` saved with ``--save-detailed``: lists with an entry for each request.

    ``start_times`` are used where the file has them; without, requests come at equal distances at the
    file's ``request_rate``, or all at once if that is infinite. Failed requests are left out.
    """

    ENDINGS: ClassVar[Sequence[str]] = (".json",)
    format: Literal["vllm_bench"]

    @classmethod
    def recognises(cls, row: Row) -> bool:
        """The lists of a detailed result."""
        return isinstance(row.get("input_lens"), list) and isinstance(row.get("output_lens"), list)

    def lengths(self, reader: Reader) -> Iterator[Length]:
        """The requests of every result."""

        def read(where: str, line: int, row: Row) -> list[Length]:
            sent, got = row.get("input_lens"), row.get("output_lens")
            if not isinstance(sent, list) or not isinstance(got, list) or len(sent) != len(got):
                raise InputError(f"{where}: input_lens and output_lens; allowed: two lists of one length")
            rate = row.get("request_rate")
            gap_s = 1 / rate if isinstance(rate, int | float) and 1 / MOST_S <= rate <= FINITE else 0.0
            starts = _column(row, START, where, len(sent))
            errors = _column(row, "errors", where, len(sent))
            found = []
            for i, (tokens, output) in enumerate(zip(sent, got, strict=True)):
                for key, value in (("input_lens", tokens), ("output_lens", output)):
                    if type(value) is not int or not 0 <= value <= MOST:
                        raise InputError(
                            f"{where}: {key}[{i}] = {shown(value)}; allowed: a whole number of at least 0"
                        )
                if not tokens or not output or errors[i]:
                    reader.left_out["failed requests"] += 1
                    continue
                at_s = i * gap_s if starts[i] is None else number({START: starts[i]}, START, where)
                found.append(Length(line, at_s, tokens, output))
            return found

        for made in reader.each(read):
            yield from made


def _column(row: Row, key: str, where: str, requests: int) -> list[Any]:
    """The list under ``key``, which has an entry for each request; of None if the file has no such list."""
    value = row.get(key) or [None] * requests
    if not isinstance(value, list) or len(value) != requests:
        raise InputError(f"{where}: {key} = {shown(value)}; allowed: a list of {requests} entries")
    return value
