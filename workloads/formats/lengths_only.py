"""Logs of lengths: arrival times and token counts, nothing about content.

Azure's LLM inference traces (2023, 2024), BurstGPT, results of vLLM's ``bench serve``. Nothing tells which
prompts share a prefix, so each is new content and no hit rate can be claimed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import NonNegativeInt

from workloads.arrivals import ClosedLoop, Recorded, TraceArrivals
from workloads.content import ROOT
from workloads.errors import InputError
from workloads.formats.jsonl import FINITE, Row, shown
from workloads.formats.reader import Reader
from workloads.formats.tables import column
from workloads.formats.times import seconds
from workloads.formats.timing import close_loop, span_note
from workloads.schema import MOST, Schema
from workloads.trace import NONE, Trace

LENGTHS_ONLY = (
    "lengths only: nothing is known of shared prefixes, every prompt is taken as new; hit rates and "
    "savings of a "
    "prefix cache cannot be had from this file"
)


@dataclass(slots=True)
class Length:
    """A request of which lengths are known."""

    line: int
    at_s: float
    input_tokens: int
    output_tokens: int
    session: Hashable = None


class LengthsTrace(Schema):
    """Requests with times and lengths, each prompt new content. Sorted by (time, as read)."""

    ENDINGS: ClassVar[Sequence[str]] = (".csv",)

    kind: Literal["trace"]
    path: Path
    arrival: TraceArrivals = Recorded()
    skip_bad_lines: NonNegativeInt = 0

    @classmethod
    @abstractmethod
    def recognises(cls, row: Row) -> bool:
        """Whether ``row``, one of the first of a file, is surely of this format."""

    @abstractmethod
    def lengths(self, reader: Reader) -> Iterator[Length]:
        """The requests of the files in their order."""

    def build(self, seed: int, folder: Path) -> Trace:
        """Read the file or folder, relative to ``folder`` (of the configuration) or the current one."""
        reader = Reader(self.path, folder, self.skip_bad_lines, self.ENDINGS)
        requests = sorted(self.lengths(reader), key=lambda request: request.at_s)
        if not requests:
            raise InputError(f"{reader.path}: no requests; allowed: one a row")
        trace = Trace(origin=reader.path.name, lengths_only=True)
        sessions: dict[Hashable, int] = {}
        latest: dict[Hashable, int] = {}
        turns: dict[Hashable, int] = {}
        for place, request in enumerate(requests):
            key = ("alone", place) if request.session is None else request.session
            turns[key] = turns.get(key, 0) + 1
            latest[key] = trace.add(
                prompt=trace.content.append(ROOT, request.input_tokens),
                output_tokens=request.output_tokens,
                arrival_s=request.at_s - requests[0].at_s,
                continues=latest.get(key, NONE),
                session=sessions.setdefault(key, len(sessions)),
                turn=turns[key],
            )
        if not reader.several:
            trace.lines = [request.line for request in requests]
        trace.notes = [
            span_note(trace, "recorded times"), f"{trace.origin}: {LENGTHS_ONLY}", *reader.notes()
        ]  # fmt: skip
        if isinstance(self.arrival, ClosedLoop):
            close_loop(trace)
        self.arrival.apply(trace)
        return trace


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
            gap_s = 1 / rate if isinstance(rate, int | float) and 0 < rate <= FINITE else 0.0
            starts, errors = row.get("start_times") or [], row.get("errors") or []
            found = []
            for i, (tokens, output) in enumerate(zip(sent, got, strict=True)):
                for key, value in (("input_lens", tokens), ("output_lens", output)):
                    if type(value) is not int or not 0 <= value <= MOST:
                        raise InputError(
                            f"{where}: {key}[{i}] = {shown(value)}; allowed: a whole number of at least 0"
                        )
                if not tokens or not output or (i < len(errors) and errors[i]):
                    reader.left_out["failed requests"] += 1
                    continue
                at_s = float(starts[i]) if i < len(starts) else i * gap_s
                found.append(Length(line, at_s, tokens, output))
            return found

        for made in reader.each(read):
            yield from made


def _number(row: Row, key: str, where: str) -> float:
    try:
        value = float(row.get(key, ""))
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= FINITE:
        raise InputError(f"{where}: {key} = {shown(row.get(key))}; allowed: a number of at least 0")
    return value
