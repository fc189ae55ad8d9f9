"""The trace that a run served: its requests found in the run, at the times at which they were sent."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace

import numpy as np

from calibration.served.measured import MeasuredRun
from sim.results.records import Ints
from workloads.errors import InputError
from workloads.trace import NONE, Trace

MOST_ADDED = 256
"""Tokens that a chat template may add to every prompt: a difference that all requests have in common."""


def match(run: MeasuredRun, trace: Trace) -> tuple[MeasuredRun, Trace]:
    """The answered requests of ``run``, and ``trace`` as it was served: the same requests in one order.

    They are told by their names where both have the same, else by their place in the file or by their
    time; then every prompt has to be as long as in the trace, but for a number of tokens that all have in
    common (a chat template). They arrive when they were sent, and replies are as long as they were: one of
    another length than in the trace is new content. InputError if the run is of another trace.
    """
    if len(run) != len(trace):
        raise InputError(
            f"{run.path}: {len(run):,} requests, {trace.origin} has {len(trace):,}; allowed: the trace "
            "that was sent, all of it"
        )
    order = _order(run, trace)
    ordered = run.only(order)
    ordered.notes = [*run.notes, *_added(ordered, trace)]
    return _answered(ordered, trace)


def _order(run: MeasuredRun, trace: Trace) -> Ints:
    """For each request of the trace its number in the run."""
    wanted = np.array(trace.input_tokens)
    names = trace.request_ids
    if run.names is not None and names is not None and Counter(run.names) == Counter(names):
        place = {name: i for i, name in enumerate(run.names)}
        ways = [np.array([place[name] for name in names])]
    else:
        ways = [np.arange(len(run))]
        if run.arrival_s is not None:
            ways.append(np.argsort(run.arrival_s, kind="stable"))
    for order in ways:
        added = run.input_tokens[order] - wanted
        if (added == added[0]).all() and 0 <= added[0] <= MOST_ADDED:
            return np.asarray(order)
    added = run.input_tokens[ways[-1]] - wanted
    usual = Counter(added.tolist()).most_common(1)[0][0]
    odd = int(np.flatnonzero(added != (usual if 0 <= usual <= MOST_ADDED else 0))[0])
    raise InputError(
        f"{run.path}: request {int(ways[-1][odd])} has {run.input_tokens[ways[-1][odd]]:,} prompt tokens, "
        f"{trace.where(odd)} has {wanted[odd]:,}; allowed: the trace that was sent"
    )


def _added(run: MeasuredRun, trace: Trace) -> list[str]:
    added = int(run.input_tokens[0] - trace.input_tokens[0])
    if not added:
        return []
    return [
        f"{run.path.name}: every prompt has {added} tokens more than in {trace.origin}; they are left out"
    ]


def _answered(run: MeasuredRun, trace: Trace) -> tuple[MeasuredRun, Trace]:
    """Without the requests that failed, in the order in which they were sent."""
    arrival = run.arrival_s
    if arrival is None:
        given = [at for at in trace.arrival_s if at is not None]
        if len(given) < len(trace):
            raise InputError(
                f"{run.path}: start_times is missing, and in {trace.origin} turns wait for replies; "
                "allowed: a result with start_times, or a trace in which every request has a time"
            )
        arrival = np.array(given)
        run.notes.append(f"{run.path.name}: no start_times; requests come as {trace.origin} says")
    kept = np.flatnonzero(run.completed)
    kept = kept[np.argsort(arrival[kept], kind="stable")]
    new = {int(i): place for place, i in enumerate(kept)}
    served = replace(
        trace,
        prompt=array("q"), reply=array("q"), output_tokens=[], arrival_s=[], follower=array("q"),
        think_s=array("d"), continues=[],
        session=[], turn=[], tenant=[], priority=[], request_ids=None, lines=None, named_blocks=None,
        api_s=None, models=None, tool_turns=set(), concurrency=None, notes=[], checkpoints_s=(),
    )  # fmt: skip
    others = 0
    for i in kept.tolist():
        output = int(run.output_tokens[i])
        same = output == trace.output_tokens[i]
        others += not same
        before = new.get(trace.continues[i], NONE)
        served.add(
            prompt=trace.prompt[i],
            reply=trace.reply[i] if same else None,
            output_tokens=output,
            arrival_s=float(arrival[i] - arrival[kept[0]]),
            continues=before if before < len(served) else NONE,
            session=trace.session[i],
            turn=trace.turn[i],
            tenant=trace.tenant[i],
            priority=trace.priority[i],
        )
    if others:
        run.notes.append(
            f"{run.path.name}: {others:,} of {len(kept):,} replies have another length than in "
            f"{trace.origin}: their KV is found by no later prompt"
        )
    return run.only(kept), served
