"""The result of an experiment whose parts lie in files, added up over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from sim.config import Config
from sim.jobs.runner import Workers
from sim.parts.counting import Count, Side, count
from sim.parts.piece import PartJob
from sim.result import Added, Result, SystemRun, extrapolation
from sim.results import repetitions, request_table, steady
from sim.results.intervals import Flat, Repetitions, flat
from sim.results.pricing import Price
from sim.results.request_table import TWIN
from sim.results.steady import Measured
from sim.results.summary import SystemEntry
from sim.results.tables import RequestColumns
from sim.results.tally import Tally
from sim.results.validity import Watch
from sim.results.window import Window
from sim.systems.engine import EngineSystem
from workloads.trace import Trace


def counted_result(
    config: Config,
    trace: Trace,
    plan: Mapping[str, tuple[Sequence[PartJob], Sequence[PartJob]]],
    folder: Path,
    workers: Workers,
    load_s: float,
) -> Result:
    """What the parts in ``plan``, which lie in ``folder``, come to. ``trace`` outlines the whole."""
    sides = {name: tuple(Side(folder, jobs) for jobs in both) for name, both in plan.items()}
    measured = _measure(config, trace, {name: run for name, (run, _) in sides.items()})
    parts = None
    if not measured.needed_s:
        parts = min(
            repetitions.parts_of(measured.windows[name][0], run.lasting_s, run.last_arrival_s)
            for name, (run, _) in sides.items()
        )
    todo = []
    for name, both in sides.items():
        for side, window in zip(both, measured.windows[name], strict=True):
            windows = [window, *(window.parts(parts, side.last_arrival_s) if parts else [])]
            todo.append((side, *_makers(config, trace, measured, name, side, windows)))
    counts = count(todo, workers)
    pairs = dict(zip(sides, zip(counts[::2], counts[1::2], strict=True), strict=True))
    entries, runs = {}, {}
    for name, (run, twin) in pairs.items():
        system = config.systems[name]
        assert isinstance(system, EngineSystem)
        runs[name] = SystemRun(
            records=run.drawn(),
            twin=twin.drawn(),
            price=system.price,
            calibrated=system.calibrated(config.folder),
            notes=[*trace.notes, *system.notes_of(trace, config.folder, run.side.too_long)],
            simulation_s=run.side.simulation_s,
            twin_simulation_s=twin.side.simulation_s,
        )
        entries[name] = (
            _entry(run, runs[name], measured.full_s.get(name)),
            _entry(twin, runs[name], None),
        )
    first, _ = next(iter(pairs.values()))
    added = Added(
        entries,
        _repetitions(pairs) if parts else None,
        sum(run.outside for run, _ in pairs.values()),
        first.input_tokens,
        lambda: _blocks(sides, runs),
    )
    return Result(config, trace, runs, measured, load_s, added=added)


def _measure(config: Config, trace: Trace, runs: Mapping[str, Side]) -> Measured:
    if steady.is_traffic(trace):
        return steady.of_traffic(trace, config.asked, runs)
    return steady.measure(trace, config.asked, dict.fromkeys(runs, cast(Any, None)))


def _makers(
    config: Config, trace: Trace, measured: Measured, name: str, side: Side, windows: Sequence[Window]
) -> tuple[Callable[[], list[Tally]], Callable[[], Watch]]:
    price = config.systems[name].price
    assert price is None or isinstance(price, Price)
    is_steady = not measured.needed_s
    return (
        lambda: [Tally(window, price, config.slo) for window in windows],
        lambda: Watch(windows[0], trace.last_start_s, side.last_arrival_s, steady=is_steady),
    )


def _entry(count: Count, run: SystemRun, full_s: float | None) -> SystemEntry:
    head = count.side.head
    entry = {
        "calibrated": run.calibrated,
        "notes": [*run.notes, *extrapolation(head)],
        "warnings": count.watch.warnings(head, full_s),
        **count.tallies[0].figures(head),
    }
    return cast(SystemEntry, entry)


def _repetitions(pairs: Mapping[str, tuple[Count, Count]]) -> Repetitions | None:
    """The figures of the parts of the window."""

    def flats(one: Count) -> list[Flat]:
        return [flat(tally.figures(one.side.head)) for tally in one.tallies[1:]]

    completed = min(run.tallies[0].completed for run, _ in pairs.values())
    if completed < repetitions.PARTS * repetitions.REQUESTS_PER_PART:
        return None
    systems = {name: flats(run) for name, (run, _) in pairs.items()}
    return Repetitions("parts", systems, {name: flats(twin) for name, (_, twin) in pairs.items()})


def _blocks(
    sides: Mapping[str, tuple[Side, ...]], runs: Mapping[str, SystemRun]
) -> Iterator[RequestColumns]:
    """The request table: a system, then its twin, each in the order of the trace."""
    for name, both in sides.items():
        for system, side in zip((name, name + TWIN), both, strict=True):
            for numbers, records in side.blocks():
                yield request_table.rows(system, records, runs[name].price, numbers)
