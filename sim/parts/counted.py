"""The result of an experiment whose parts lie in files, added up over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sim.config import Config
from sim.jobs.runner import Workers
from sim.parts import counting
from sim.parts.counting import Side
from sim.parts.piece import PartJob
from sim.result import Added, Result
from sim.results import repetitions, request_table, steady
from sim.results.intervals import Repetitions, flat
from sim.results.pricing import Price
from sim.results.records import Records
from sim.results.request_table import TWIN
from sim.results.steady import Measured
from sim.results.summary_system import Figures
from sim.results.system_run import SystemRun
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
    if steady.is_traffic(trace) and not measured.needed_s:
        parts = min(
            repetitions.parts_of(measured.windows[name][0], run.lasting_s, run.last_arrival_s)
            for name, (run, _) in sides.items()
        )
    entries, runs, found = {}, {}, {}
    for name, both in sides.items():
        pair = [
            _counted(config, trace, name, side, _windows(side, window, parts), measured, full_s, workers)
            for side, window, full_s in zip(
                both, measured.windows[name], (measured.full_s.get(name), None), strict=True
            )
        ]
        runs[name] = _described(config, trace, name, both, pair)
        run, twin = (
            runs[name].entry(one.figures[0], side.head, [], one.warnings)
            for one, side in zip(pair, both, strict=True)
        )
        entries[name], found[name] = (run, twin), pair
    added = Added(
        entries,
        _repetitions(found) if parts else None,
        sum(run.outside for run, _ in found.values()),
        next(iter(found.values()))[0].input_tokens,
        lambda: _blocks(sides, runs),
    )
    return Result(config, trace, runs, measured, load_s, added=added)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of a run once it has been counted."""

    figures: list[Figures]
    """Of the measured window, then of its parts."""
    warnings: list[str]
    completed: int
    outside: int
    input_tokens: int
    drawn: Records


def _windows(side: Side, window: Window, parts: int | None) -> list[Window]:
    return [window, *(window.parts(parts, side.last_arrival_s) if parts else [])]


def _counted(
    config: Config,
    trace: Trace,
    name: str,
    side: Side,
    windows: list[Window],
    measured: Measured,
    full_s: float | None,
    workers: Workers,
) -> _Found:
    price = config.systems[name].price
    assert price is None or isinstance(price, Price)

    def tallies() -> list[Tally]:
        return [Tally(window, price, config.slo) for window in windows]

    def watch() -> Watch:
        is_steady = not measured.needed_s
        return Watch(windows[0], trace.last_start_s, side.last_arrival_s, steady=is_steady)

    count = counting.count(side, tallies, watch, workers)
    return _Found(
        count.figures(),
        count.watch.warnings(side.head, full_s),
        count.completed,
        count.outside,
        count.input_tokens,
        count.drawn(),
    )


def _measure(config: Config, trace: Trace, runs: Mapping[str, Side]) -> Measured:
    if steady.is_traffic(trace):
        return steady.of_traffic(trace, config.asked, runs)
    return steady.measure(trace, config.asked, dict.fromkeys(runs, cast(Any, None)))


def _described(
    config: Config, trace: Trace, name: str, both: Sequence[Side], pair: Sequence[_Found]
) -> SystemRun:
    system, (run, twin) = config.systems[name], both
    assert isinstance(system, EngineSystem)
    return SystemRun(
        records=pair[0].drawn,
        twin=pair[1].drawn,
        price=system.price,
        calibrated=system.calibrated(config.folder),
        notes=[*trace.notes, *system.notes_of(trace, config.folder, run.too_long)],
        simulation_s=run.simulation_s,
        twin_simulation_s=twin.simulation_s,
    )


def _repetitions(found: Mapping[str, Sequence[_Found]]) -> Repetitions | None:
    """The figures of the parts of the window; None where too few requests count."""
    completed = min(run.completed for run, _ in found.values())
    if completed < repetitions.PARTS * repetitions.REQUESTS_PER_PART:
        return None
    systems, no_cache = (
        {name: [flat(figures) for figures in pair[i].figures[1:]] for name, pair in found.items()}
        for i in (0, 1)
    )
    return Repetitions("parts", systems, no_cache)


def _blocks(
    sides: Mapping[str, tuple[Side, ...]], runs: Mapping[str, SystemRun]
) -> Iterator[RequestColumns]:
    """The request table: a system, then its twin, each in the order of the trace."""
    for name, both in sides.items():
        for system, side in zip((name, name + TWIN), both, strict=True):
            for numbers, records in side.blocks():
                yield request_table.rows(system, records, runs[name].price, numbers)
