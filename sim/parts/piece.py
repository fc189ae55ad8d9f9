"""One part of an experiment as a job: which one, what it simulates, what it leaves behind."""

from __future__ import annotations

import hashlib
import pickle
import time
from array import array
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.config import Config
from sim.experiment import load_trace, named
from sim.fleet.garbage import collect_after
from sim.fleet.routers.base import RouterSetting
from sim.fleet.routers.session import SessionConfig, owners
from sim.fleet.share import Share
from sim.jobs.job import NAME_DIGITS, Job
from sim.parts.division import Group
from sim.parts.rows import Rows, written
from sim.results import exact, ramp, steady
from sim.results.ramp import Ramp
from sim.results.records import Records
from sim.results.tally import head_of
from sim.systems.engine import EngineSystem
from workloads.checking import require_countable
from workloads.dividing import part_of
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.generators.mix import MixWorkload
from workloads.part import Keep, Part
from workloads.trace import NONE, Trace

REST, ROWS = "rest.pickle", "rows.parquet"
"""The files of a finished part: its requests, and all else that happened there."""


@dataclass(frozen=True, slots=True)
class PartJob:
    """A system, or its twin without a cache, or some replicas of it, and the requests that they serve."""

    name: str
    config: Config
    system: str
    cached: bool
    replicas: Group | None
    """None: the system as a whole."""
    checkpoints_s: tuple[float, ...]
    """Of the whole trace."""
    ramp_end_s: float | None
    """Until when its sessions start, where a window is to be found."""

    @staticmethod
    def of(experiment: Job, system: str, cached: bool, replicas: Group | None, trace: Trace) -> PartJob:
        """The job of a part of ``experiment``, named by the hash of what it is. ``trace`` is the whole."""
        what = f"{experiment.name} {system} {cached} {replicas}"
        name = hashlib.sha256(what.encode()).hexdigest()[:NAME_DIGITS]
        config, end_s = experiment.config, None
        if cached and steady.is_traffic(trace) and trace.concurrency is None:
            until_s = config.asked.until_s
            end_s = trace.last_start_s if isinstance(until_s, str) else min(until_s, trace.last_start_s)
        return PartJob(name, config, system, cached, replicas, tuple(trace.checkpoints_s), end_s)


@dataclass(slots=True)
class Piece:
    """What happened in one part."""

    records: Records
    part: Part | None
    """Which requests of the trace they are; None: all."""
    simulation_s: float
    too_long: list[int] = field(default_factory=list)
    """Requests that each pool of the system turns away for their length."""
    ramp: Ramp | None = None
    lasting: tuple[int, int] = (0, 0)
    """The exact sum of how long its sessions last, and their number."""
    arrived: list[int] = field(default_factory=list)
    """How many requests arrive before each checkpoint's time, and in all."""
    last_arrival_s: float = -inf

    def files(self) -> dict[str, bytes]:
        """The piece as files."""
        rows, kept = {}, self
        if self.part is not None:
            rows[ROWS] = written(self.records, self.part)
            head = replace(head_of(self.records), steps=self.records.steps, work=self.records.work)
            kept = replace(self, records=head)
        return {REST: pickle.dumps(kept, protocol=5), **rows}

    @staticmethod
    def read(folder: Path, *, rows: bool = True) -> Piece:
        """The piece that was written into ``folder``, without its rows if need be."""
        try:
            with (folder / REST).open("rb") as file:
                piece: Piece = pickle.load(file)
            if rows and (folder / ROWS).exists():
                piece.records = Rows(folder / ROWS).all(piece.records)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise InputError(f"{folder}: not as it was written; remove it and run again") from None
        return piece


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What became of a part: the files of a `Piece`, or why there is none."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    error: str = ""


def execute(job: PartJob) -> PartOutcome:
    """Simulate a part; bad input and too little memory are outcomes, any other error is a defect."""
    try:
        piece = simulate(job)
        collect_after(len(piece.records))
    except InputError as error:
        return PartOutcome(job.name, error=str(error))
    except MemoryError:
        return PartOutcome(job.name, error="not enough memory; allowed: more --parts, fewer --jobs")
    return PartOutcome(job.name, piece.files())


def simulate(job: PartJob) -> Piece:
    """Make the requests of the part and let its replicas serve them."""
    config, key = job.config, f"systems.{job.system}"
    system = config.systems[job.system]
    if job.replicas is None:
        trace, run = load_trace(config), system.run if job.cached else system.run_without_cache
    else:
        assert isinstance(system, EngineSystem)
        trace, share = _shared(config, system, job.replicas)
        trace.checkpoints_s = job.checkpoints_s
        run = partial(system.run if job.cached else system.run_without_cache, share=share)
    start = time.perf_counter()
    with named(key):
        if trace.part is not None:
            system.check_trace(trace, key, config.folder)
        records = run(trace, key, config.folder, lambda done: None)
    piece = Piece(records, trace.part, time.perf_counter() - start)
    if job.replicas is not None and isinstance(system, EngineSystem):
        piece.too_long = system.each_too_long(trace)
        _describe(piece, trace, job)
    return piece


def _describe(piece: Piece, trace: Trace, job: PartJob) -> None:
    """Add what tells, together with the other parts, in which window figures are to be."""
    records = piece.records
    ages_s = ramp.ages_s(trace, records)
    last = np.array(trace.follower) == NONE
    piece.lasting = exact.total(ages_s[last]), int(last.sum())
    times_s = np.sort(records.arrival_s)
    piece.arrived = [*np.searchsorted(times_s, job.checkpoints_s).tolist(), len(times_s)]
    piece.last_arrival_s = float(records.arrival_s.max(initial=-inf))
    if job.ramp_end_s is not None:
        records.age_s = ages_s
        piece.ramp = Ramp(job.ramp_end_s)
        piece.ramp.add(ages_s, records.input_tokens)


def outline(config: Config) -> Trace | None:
    """What the whole trace is like, without its requests; None where it is not made session by session."""
    trace = _sessions(config, lambda sessions: np.zeros(len(sessions), bool))
    if trace is not None:
        trace.checkpoints_s = steady.checkpoint_times_s(trace, config.asked)
    return trace


def _sessions(config: Config, keep: Keep) -> Trace | None:
    """The sessions that ``keep`` chooses, where the workload makes one session after the other."""
    workload = config.workload
    if not isinstance(workload, ChatWorkload | MixWorkload) or config.clients is not None:
        return None
    if isinstance(workload, MixWorkload) and not workload.makes_sessions:
        return None
    trace = workload.build_sessions(config.seed, keep)
    trace.seed = config.seed
    return trace


def _shared(config: Config, system: EngineSystem, replicas: Group) -> tuple[Trace, Share]:
    """The requests that ``replicas`` serve, and what these are in the fleet."""
    router = system.router
    if not isinstance(router, SessionConfig):
        return _routed(load_trace(config), system, replicas)

    def kept(sessions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(owners(sessions, system.ranks_in_all, router.points), replicas)

    made = _sessions(config, kept)
    if made is not None:
        trace = made
        require_countable(trace)
    else:
        whole = load_trace(config)
        trace = part_of(whole, kept(np.array(whole.session)))
    return trace, Share(replicas)


def _routed(whole: Trace, system: EngineSystem, replicas: Group) -> tuple[Trace, Share]:
    """The same where the router goes by the order of arrival: it is asked for every request beforehand."""
    fleet = [_Numbered(number) for number in range(system.ranks_in_all)]
    router = system.router.router(RouterSetting(whole, len(fleet), whole.seed))
    owner = np.empty(len(whole), np.int64)
    for request in whole.starts():
        owner[request] = router.choose(request, fleet)  # type: ignore[arg-type]  # looks at numbers only
    kept = np.isin(owner, replicas)
    places = np.searchsorted(replicas, owner[kept])
    return part_of(whole, kept), Share(replicas, array("q", places.tolist()))


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A replica as a router sees it that does not look at it."""

    number: int
