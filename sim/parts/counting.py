"""Figures of runs whose pieces lie in files: each is counted by itself, and the counts are added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path

import numpy as np

from sim.jobs.runner import Workers
from sim.parts.merging import head_of_all
from sim.parts.piece import ROWS, PartJob, Piece
from sim.parts.rows import NUMBER, Rows, column_names, numbers_of, with_rows
from sim.results import exact
from sim.results.ramp import Ramp
from sim.results.records import Ints, Records
from sim.results.sample import drawn
from sim.results.steady import full_s
from sim.results.summary_system import Figures
from sim.results.tally import Tally
from sim.results.validity import Watch
from sim.results.window import Window


class Side:
    """A run, with the cache or without, whose pieces lie in files. It is a `Course` too."""

    def __init__(self, folder: Path, jobs: Sequence[PartJob]) -> None:
        self.places = [folder / job.name for job in jobs]
        pieces = []
        for place in self.places:
            piece = Piece.read(place, rows=False)
            piece.records = replace(piece.records, steps=[], work=[])
            pieces.append(piece)
        self.head = head_of_all([piece.records for piece in pieces], [job.replicas or () for job in jobs])
        self.simulation_s = sum(piece.simulation_s for piece in pieces)
        self.too_long = _added([piece.too_long for piece in pieces])
        self.last_arrival_s = max(piece.last_arrival_s for piece in pieces)
        self.lasting_s = exact.mean(*_added([piece.lasting for piece in pieces]))
        self._arrived = _added([piece.arrived for piece in pieces])
        self._times_s = [*jobs[0].checkpoints_s, inf]
        self._ramps = [piece.ramp for piece in pieces if piece.ramp is not None]

    @property
    def requests(self) -> int:
        """How many there are in all."""
        return self._arrived[-1]

    def ramp_s(self, end_s: float) -> float:
        """See `Course`."""
        ramp = Ramp(end_s)
        for of_piece in self._ramps:
            ramp.merge(of_piece)
        if (start_s := ramp.starts_s()) is not None:
            return start_s
        ramp.settle()
        for place in self.places:
            ramp.look(*Rows(place / ROWS).columns(["age_s", "input_tokens"]))
        return ramp.nearly_all_s()

    def arrived(self, window: Window) -> int:
        """See `Course`."""
        before = 0 if window.start_s <= 0 else self._arrived[self._times_s.index(window.start_s)]
        return self._arrived[self._times_s.index(window.end_s)] - before

    @property
    def full_s(self) -> float | None:
        """See `Course`."""
        return full_s(self.head)

    def blocks(self) -> Iterator[tuple[Ints, Records]]:
        """The whole table a block at a time: the numbers of the requests, and their records."""
        files = [Rows(place / ROWS) for place in self.places]
        for number in range(files[0].blocks):
            tables = [rows.block(number) for rows in files]
            yield numbers_of(tables), with_rows(self.head, tables)


def _added(counts: Sequence[Sequence[int]]) -> list[int]:
    return [sum(each) for each in zip(*counts, strict=True)]


@dataclass(frozen=True, slots=True)
class CountJob:
    """Looking at one piece, for the first time or, without a ``watch``, the second."""

    name: str
    place: Path
    tallies: list[Tally]
    watch: Watch | None
    requests: int
    """Of the whole run."""


@dataclass(slots=True)
class Counted:
    """What one piece, or all pieces of a run, come to."""

    name: str
    tallies: list[Tally]
    watch: Watch | None = None
    input_tokens: int = 0
    outside: int = 0
    """Requests that do not arrive in the first window."""
    numbers: Ints | None = None
    drawn: Records | None = None
    """What a report draws, and its places in the whole."""


def execute(job: CountJob) -> Counted:
    """Look at a piece."""
    records = Piece.read(job.place).records
    if job.watch is None:
        for tally in job.tallies:
            tally.look(records.measured(tally.window))
        return Counted(job.name, job.tallies)
    for tally in job.tallies:
        tally.add(records, records.measured(tally.window))
    job.watch.add(records)
    outside = len(records) - int(records.arrived(job.watch.window).sum())
    chosen = drawn(records.session, job.requests)
    (numbers,) = Rows(job.place / ROWS).columns([NUMBER])
    some = replace(records.only(chosen), steps=[], work=[], checkpoints=[], each_replica=None)
    tokens = int(records.input_tokens.sum())
    return Counted(job.name, job.tallies, job.watch, tokens, outside, numbers[chosen], some)


@dataclass(slots=True)
class Count:
    """What all pieces of a run come to."""

    side: Side
    tallies: list[Tally]
    """Of each window, the measured one first."""
    watch: Watch
    input_tokens: int = 0
    outside: int = 0
    """Requests that do not arrive in the measured window."""
    _drawn: list[tuple[Ints, Records]] = field(default_factory=list)

    def first(self, counted: Counted) -> None:
        """A piece has been looked at."""
        for mine, others in zip(self.tallies, counted.tallies, strict=True):
            mine.merge(others)
        assert counted.watch is not None and counted.numbers is not None and counted.drawn is not None
        self.watch.merge(counted.watch)
        self.input_tokens += counted.input_tokens
        self.outside += counted.outside
        self._drawn.append((counted.numbers, counted.drawn))

    def second(self, counted: Counted) -> None:
        """A piece has been looked at for the second time."""
        for mine, others in zip(self.tallies, counted.tallies, strict=True):
            mine.merge_second(others)

    @property
    def completed(self) -> int:
        """Requests that count in the measured window."""
        return self.tallies[0].completed

    def figures(self) -> list[Figures]:
        """In each window."""
        return [tally.figures(self.side.head) for tally in self.tallies]

    def drawn(self) -> Records:
        """What a report draws, in the order of the trace."""
        order = np.argsort(np.concatenate([numbers for numbers, _ in self._drawn]))
        out = replace(self.side.head)
        for name in column_names(out):
            column = np.concatenate([getattr(records, name) for _, records in self._drawn])
            setattr(out, name, column[order])
        return out


def count(
    side: Side, tallies: Callable[[], list[Tally]], watch: Callable[[], Watch], workers: Workers
) -> Count:
    """Look at all pieces of a run twice; given is what makes its tallies, and its watch."""
    out = Count(side, tallies(), watch())
    jobs = [CountJob(place.name, place, tallies(), watch(), side.requests) for place in side.places]
    for counted in workers.outcomes(jobs, execute):
        out.first(counted)
    for tally in out.tallies:
        tally.settle()
    jobs = [
        CountJob(place.name, place, [tally.bare() for tally in out.tallies], None, 0)
        for place in side.places
    ]
    for counted in workers.outcomes(jobs, execute):
        out.second(counted)
    return out
