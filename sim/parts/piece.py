"""One part of an experiment as a job: which one, what it simulates, what it leaves behind."""

from __future__ import annotations

import hashlib
import pickle
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sim.config import Config
from sim.experiment import load_trace, named
from sim.fleet.routers.base import RouterSetting
from sim.fleet.routers.session import SessionConfig, owners
from sim.fleet.share import Share
from sim.jobs.job import NAME_DIGITS, Job
from sim.parts.division import Group
from sim.results.records import Records
from sim.systems.engine import EngineSystem
from workloads.dividing import part_of
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.part import Part
from workloads.trace import Trace

RECORDS = "records.pickle"
"""The file of a finished part."""


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

    @staticmethod
    def of(
        experiment: Job, system: str, cached: bool, replicas: Group | None, checkpoints_s: Sequence[float]
    ) -> PartJob:
        """The job of a part of ``experiment``, named by the hash of what it is."""
        what = f"{experiment.name} {system} {cached} {replicas}"
        name = hashlib.sha256(what.encode()).hexdigest()[:NAME_DIGITS]
        return PartJob(name, experiment.config, system, cached, replicas, tuple(checkpoints_s))


@dataclass(slots=True)
class Piece:
    """What happened in one part."""

    records: Records
    part: Part | None
    """Which requests of the trace they are; None: all."""
    simulation_s: float


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """What became of a part: a `Piece` as bytes, or why there is none."""

    name: str
    piece: bytes = b""
    error: str = ""


def execute(job: PartJob) -> PartOutcome:
    """Simulate a part; bad input and too little memory are outcomes, any other error is a defect."""
    try:
        piece = simulate(job)
    except InputError as error:
        return PartOutcome(job.name, error=str(error))
    except MemoryError:
        return PartOutcome(job.name, error="not enough memory; allowed: more --parts, fewer --jobs")
    return PartOutcome(job.name, pickle.dumps(piece, protocol=5))


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
        records = run(trace, key, config.folder, lambda done: None)
    return Piece(records, trace.part, time.perf_counter() - start)


def _shared(config: Config, system: EngineSystem, replicas: Group) -> tuple[Trace, Share]:
    """The requests that ``replicas`` serve, and what these are in the fleet."""
    router = system.router
    if not isinstance(router, SessionConfig):
        return _routed(load_trace(config), system, replicas)

    def kept(sessions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.isin(owners(sessions, system.ranks_in_all, router.points), replicas)

    workload = config.workload
    if isinstance(workload, ChatWorkload) and config.clients is None:
        trace = workload.build_sessions(config.seed, kept)
        trace.seed = config.seed
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
