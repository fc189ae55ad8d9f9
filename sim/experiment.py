"""One trace through several systems, each beside its twin without a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sim import examples
from sim.config import Config
from sim.fleet.garbage import collect_after
from sim.providers import bills
from sim.result import Result
from sim.results import steady
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.system_run import SystemRun
from sim.systems.base import System
from sim.systems.provider import ProviderSystem
from workloads.base import Workload
from workloads.checking import require_countable
from workloads.errors import InputError
from workloads.trace import Trace

Progress = Callable[[str, int, int | None], None]
"""Called with (part of the run, requests done, requests in all)."""


def build_trace(config: Config) -> Trace:
    """Build the workload's trace; InputError if its times or lengths are beyond what counts exactly."""
    workload: Workload = config.workload
    examples.require_trace(workload, config.folder)
    trace = workload.build(config.seed, config.folder)
    if config.clients is not None:
        config.clients.apply(trace)
    trace.seed = config.seed
    trace.checkpoints_s = steady.checkpoint_times_s(trace, config.asked)
    require_countable(trace)
    return trace


def load_trace(config: Config) -> Trace:
    """Build the workload's trace and make sure that every system can take it (InputError)."""
    trace = build_trace(config)
    for name, system in config.systems.items():
        system.check_trace(trace, f"systems.{name}", config.folder)
    return trace


def run(config: Config, progress: Progress | None = None, strategies: bool = True) -> Result:
    """Run the experiment. Writes nothing; ``progress`` hears of each part of it.

    ``strategies``: whether providers' other placements of marks may be tried (their ``regret``).
    """
    say = progress or (lambda part, done, total: None)
    say("loading the workload", 0, None)
    start = time.perf_counter()
    trace = load_trace(config)
    load_s = time.perf_counter() - start
    runs = {}
    for name, system in config.systems.items():
        runs[name] = _run_system(name, system, trace, config.folder, say, strategies)
    return Result.of(config, trace, runs, load_s)


@contextmanager
def named(key: str) -> Iterator[None]:
    """InputError of a part that does not know in which system it is, with the name of that."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if key in str(error) else f"{key}: {error}") from None


def _run_system(
    name: str, system: System, trace: Trace, folder: Path, say: Progress, strategies: bool
) -> SystemRun:
    """One system and its twin."""
    key = f"systems.{name}"

    def told(part: str) -> Callable[[int], None]:
        return lambda done: say(part, done, len(trace))

    start = time.perf_counter()
    with named(key):
        records = system.run(trace, key, folder, told(name))
        collect_after(len(trace))
        middle = time.perf_counter()
        twin = system.run_without_cache(trace, key, folder, told(f"{name} without cache"))
        collect_after(len(trace))
        end = time.perf_counter()
    if strategies and isinstance(system, ProviderSystem):
        say(f"{name}: other strategies", 0, None)
    return described(system, trace, folder, (records, middle - start), (twin, end - middle), strategies)


def described(
    system: System,
    trace: Trace,
    folder: Path,
    run: tuple[Records, float],
    twin: tuple[Records, float],
    strategies: bool,
) -> SystemRun:
    """What a reader has to know of a system beside the records of its run and twin.

    ``run`` and ``twin`` are records and the seconds that simulating them took.
    """
    compare = None
    if strategies and isinstance(system, ProviderSystem):
        costs = (float(bills.exact(table).total_usd) for table in (run[0], twin[0]))
        compare = system.compare(trace, *costs)
    return SystemRun(
        records=run[0],
        twin=twin[0],
        price=system.price if isinstance(system.price, Price) else None,
        calibrated=system.calibrated(folder),
        notes=[*trace.notes, *system.notes(trace, folder)],
        simulation_s=run[1],
        twin_simulation_s=twin[1],
        compare=compare,
    )
