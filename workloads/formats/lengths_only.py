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
from workloads.formats.jsonl import Row
from workloads.formats.reader import Reader
from workloads.formats.timing import close_loop, span_note
from workloads.schema import Schema
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
    """The file, or a folder of such files; relative to the configuration's folder or the current one."""
    arrival: TraceArrivals = Recorded()
    """When sessions start: `recorded` (with a `speed`), or a closed loop `{concurrency: N}`."""
    skip_bad_lines: NonNegativeInt = 0
    """How many lines that cannot be read are passed over, and counted in the notes, before the file is
    refused."""

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
