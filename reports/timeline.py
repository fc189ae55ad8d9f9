"""``timeline.json``: a run in the trace event format, which https://ui.perfetto.dev opens.

A process is a replica: its iterations as slices of a thread, its requests as slices that may overlap, and
counters beside them. Times are microseconds of simulated time.
Format: Trace Event Format (Google, 2016), of which events of kind X, b, e, C and M are used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.results.records import Records
from sim.results.step_log import StepLog
from sim.results.summary import Summary

if TYPE_CHECKING:
    from sim.result import Result

Event = dict[str, Any]
NAME = "timeline.json"
MOST_REQUESTS = 100_000
"""Of each system: a viewer holds a few million events."""
GAP_S = 3e-9
"""Between iterations: Perfetto cuts times to whole nanoseconds and drops slices that overlap then."""


def write(result: Result, summary: Summary, folder: Path) -> None:
    """Write the timeline of every system with its cache; of large runs the first requests."""
    with open(folder / NAME, "w", encoding="utf-8") as file:
        about = {"name": summary["name"], "seed": summary["seed"], "requests": summary["requests"]}
        about["requests_shown"] = min(MOST_REQUESTS, *(len(run.records) for run in result.runs.values()))
        file.write(f'{{"displayTimeUnit": "ms", "otherData": {json.dumps(about)}, "traceEvents": [\n')
        separator = ""
        for event in events(result):
            file.write(separator + json.dumps(event, separators=(",", ":"), allow_nan=False))
            separator = ",\n"
        file.write("\n]}\n")


def events(result: Result) -> Iterator[Event]:
    """All systems one after the other, each replica a process."""
    names = result.trace.request_ids
    first = 1
    for system, run in result.runs.items():
        records = run.records
        replicas = len(records.gpus)
        for replica in range(max(1, replicas)):
            name = f"{system} / replica {replica}" if replicas else system
            yield _named("process_name", first + replica, name)
            yield _named("thread_name", first + replica, "iterations")
        for replica, log in enumerate(records.work):
            yield from _iterations(first + replica, log, _until_s(records))
        yield from _requests(first, records, names)
        yield from _counters(first, records)
        yield from _samples(first, records)
        first += max(1, replicas)


def _until_s(records: Records) -> float:
    """When the first request that is left out arrives."""
    return float(records.arrival_s[MOST_REQUESTS]) if len(records) > MOST_REQUESTS else math.inf


def _iterations(process: int, log: StepLog, until_s: float) -> Iterator[Event]:
    """A slice for each run of equal iterations."""
    columns = (log.end_s, log.first_s, log.slope_s, log.iterations, log.decodes, log.first_tokens)
    for end_s, first_s, slope_s, count, decodes, first_tokens in zip(*columns, strict=True):
        took_s = first_s * count + slope_s * (count * (count - 1) // 2)
        if end_s - took_s >= until_s:
            return
        name = "iteration" if count == 1 else f"{count} iterations"
        about = {"iterations": count, "decodes": decodes, "first_tokens": first_tokens}
        yield {
            "ph": "X", "pid": process, "tid": 0, "name": name, "cat": "iteration",
            "ts": _us(end_s - took_s), "dur": _us(max(0.0, took_s - GAP_S)), "args": about,
        }  # fmt: skip


def _requests(first: int, records: Records, names: list[str] | None) -> Iterator[Event]:
    """A slice for each request, and within it one for each of its phases.

    A request that did not complete ends where it came, as does one of a system without times.
    """
    columns = (
        records.arrival_s, records.scheduled_s, records.first_token_s, records.finished_s,
        records.input_tokens, records.cache_read_input_tokens, records.output_tokens,
        records.session, records.turn, records.replica,
    )  # fmt: skip
    parts = [column[:MOST_REQUESTS].tolist() for column in columns]
    for i, row in enumerate(zip(*parts, strict=True)):
        at_s, scheduled_s, first_token_s, finished_s, prompt, cached, reply, session, turn, replica = row
        end_s = at_s if math.isnan(finished_s) else finished_s
        about = {
            "request": names[i] if names else i, "session": session, "turn": turn,
            "input_tokens": prompt, "cache_read_input_tokens": cached, "output_tokens": reply,
            "status": records.status[i],
        }  # fmt: skip
        key = {"cat": "request", "id2": {"local": hex(i)}, "pid": first + max(0, replica), "tid": 0}
        yield {"ph": "b", "name": "request", "ts": _us(at_s), **key, "args": about}
        if end_s > at_s:
            phases = (
                ("queued", at_s, scheduled_s),
                ("prefill", scheduled_s, first_token_s),
                ("decode", first_token_s, end_s),
            )
            for name, begin_s, over_s in phases:
                if over_s > begin_s:
                    yield {"ph": "b", "name": name, "ts": _us(begin_s), **key}
                    yield {"ph": "e", "name": name, "ts": _us(over_s), **key}
        yield {"ph": "e", "name": "request", "ts": _us(end_s), **key}


def _counters(first: int, records: Records) -> Iterator[Event]:
    """Waiting and running requests, the tokens of the running ones' prompts, and the share of hits so far.

    Of requests that completed, by replica.
    """
    if records.engine is None:
        return
    shown = records.completed & (np.arange(len(records)) < MOST_REQUESTS)
    for replica in range(len(records.gpus)):
        mine = records.only(shown & (records.replica == replica))
        ones = np.ones(len(mine))
        waiting = _steps((mine.arrival_s, ones), (mine.scheduled_s, -ones))
        running = _steps((mine.scheduled_s, ones), (mine.finished_s, -ones))
        held = _steps((mine.scheduled_s, mine.input_tokens), (mine.finished_s, -mine.input_tokens))
        process = first + replica
        yield from _counter(process, "queue (requests waiting)", *waiting)
        yield from _counter(process, "requests running", *running)
        yield from _counter(process, "KV: prompt tokens of running requests", *held)
        order = np.argsort(mine.scheduled_s, kind="stable")
        found = np.cumsum(mine.cache_read_input_tokens[order])
        asked = np.cumsum(mine.input_tokens[order])
        yield from _counter(
            process, "hits so far, % of prompt tokens", mine.scheduled_s[order], 100 * found / asked
        )


def _samples(first: int, records: Records) -> Iterator[Event]:
    """The time series, where the system has one: how full the KV memory is, and hits of an interval."""
    until_s = _until_s(records)
    for sample in records.samples:
        if sample.time_s >= until_s:
            return
        at = {"ph": "C", "pid": first + sample.replica, "tid": 0, "ts": _us(sample.time_s)}
        usage = 100 * sample.kv_cache_usage_perc
        yield {**at, "name": "KV memory in use, %", "args": {"value": usage}}
        if asked := sample.prefix_cache_queries_tokens:
            rate = 100 * sample.prefix_cache_hits_tokens / asked
            yield {**at, "name": "hits of the interval, % of prompt tokens", "args": {"value": rate}}


def _steps(*changes: tuple[NDArray[Any], NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times, and the sum of all changes up to each."""
    times = np.concatenate([at for at, _ in changes])
    values = np.concatenate([by for _, by in changes]).astype(np.float64)
    order = np.argsort(times, kind="stable")
    at, last = np.unique(times[order], return_index=True)
    sums = np.cumsum(values[order])
    ends = np.append(last[1:], len(times)) - 1
    return at, sums[ends]


def _counter(process: int, name: str, times: NDArray[Any], values: NDArray[Any]) -> Iterator[Event]:
    for at_s, value in zip(times.tolist(), values.tolist(), strict=True):
        yield {"ph": "C", "pid": process, "tid": 0, "name": name, "ts": _us(at_s), "args": {"value": value}}


def _named(what: str, process: int, name: str) -> Event:
    return {"ph": "M", "pid": process, "tid": 0, "name": what, "args": {"name": name}}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
