"""What a live system has done, as the result of an experiment whose workload is the traffic it served."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf
from pathlib import Path

from sim.providers import bills
from sim.result import Result
from sim.results import steady
from sim.results.pricing import Price
from sim.results.request_log import ABORTED
from sim.results.system_run import SystemRun
from sim.server.system import LiveSystem
from sim.systems.provider import ProviderSystem
from workloads.errors import InputError
from workloads.formats.own import OwnTrace
from workloads.trace import Trace

TRAFFIC = "traffic.parquet"
"""The file of the traffic in a run folder, in the project's own format."""


def result_of(live: LiveSystem, folder: Path) -> Result:
    """The result of a system that has been stopped, as if ``folder`` held its traffic as a file.

    The twin without a cache is simulated now. InputError if nobody has asked anything.
    """
    if not len(live.traffic.trace):
        raise InputError("no request came: there is nothing to write")
    records = live.records()
    config, name = live.config, live.about.system
    system, key = config.systems[name], f"systems.{name}"
    trace = served(live)
    if given_up := int((records.status == ABORTED).sum()):
        trace.notes.append(
            f"{given_up:,} of {len(trace):,} requests were given up by their clients or lost when the "
            "server stopped; whatever serves the traffic again, their clients leave after the same time"
        )
    start = time.perf_counter()
    twin = system.run_without_cache(trace, key, config.folder, lambda done: None)
    twin_s = time.perf_counter() - start
    compare = None
    if isinstance(system, ProviderSystem):
        costs = (float(bills.exact(table).total_usd) for table in (records, twin))
        compare = system.compare(trace, *costs)
    run = SystemRun(
        records=records,
        twin=twin,
        price=system.price if isinstance(system.price, Price) else None,
        calibrated=system.calibrated(config.folder),
        notes=[*trace.notes, *system.notes(trace, config.folder)],
        simulation_s=max(live.busy_s, 1e-9),
        twin_simulation_s=twin_s,
        compare=compare,
    )
    written = config.with_workload(
        OwnTrace(kind="trace", format="prefixsim", path=folder.absolute() / TRAFFIC)
    )
    measure = steady.measure(trace, config.asked, {name: (records, twin)})
    return Result(written, trace, {name: run}, measure, 0.0)


def served(live: LiveSystem) -> Trace:
    """The traffic so far as a trace like any other."""
    speed = "as fast as it went" if live.speed == inf else f"at {live.speed:g} x the wall clock's speed"
    left = live.traffic.left_after_s
    return replace(
        live.traffic.trace,
        grows=False,
        left_after_s=[left.get(index, inf) for index in range(len(live.traffic.trace))] if left else None,
        notes=[f"traffic of a live server that ran {speed}"],
    )
