"""Configurations of the kinds ``chat`` and ``agent`` with the distributions of a trace's sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from workloads.shapes import Call, Shapes
from workloads.trace import NONE

STEPS = 100
"""A distribution is given by its quantiles at so many equal steps of probability."""
MOST_COUNTS = 60
"""Up to so many different whole numbers are given one by one, with how often each comes."""


def chat(shapes: Shapes, *, as_served: bool = False) -> dict[str, Any]:
    """All but the arrivals. Lengths and gaps are drawn independently; cut and edited histories grow on.

    ``as_served``: gaps contain the service times of the trace.
    """
    system, firsts = _heads(shapes)
    users = [max(1, call.grown - before.output_tokens) for before, call in _kept(shapes)]
    return {
        "kind": "chat",
        "turns": counts([len(shape.calls) for shape in shapes.sessions]),
        "think_time_s": quantiles(_gaps_s(shapes, as_served)),
        "system_prompt": {"tokens": system},
        "first_user_tokens": quantiles(firsts),
        "user_tokens": quantiles(users),
        "reply_tokens": quantiles(
            [call.output_tokens for shape in shapes.sessions for call in shape.calls]
        ),
    }


def agent(shapes: Shapes, *, as_served: bool = False) -> dict[str, Any]:
    """The same with histories that are rewritten; tools and users are not told apart."""
    system, firsts = _heads(shapes)
    grown = [max(1, call.grown - before.output_tokens) for before, call in _kept(shapes)]
    follow = _follow(shapes)
    rewritten = sum(call.kept < 1 for _, call in follow)
    return {
        "kind": "agent",
        "calls": counts([len(shape.calls) for shape in shapes.sessions]),
        "system_prompt": {"tokens": system},
        "task_tokens": quantiles(firsts),
        "result_tokens": quantiles(grown),
        "output_tokens": quantiles(
            [call.output_tokens for shape in shapes.sessions for call in shape.calls]
        ),
        "tool_time_s": quantiles(_gaps_s(shapes, as_served)),
        "user_share": 0.0,
        "rewritten_share": float(f"{rewritten / max(1, len(follow)):.4g}"),
        "compaction": None,
        "subagents": {"share": 0.0},
    }


def quantiles(values: Sequence[float]) -> Any:
    """A distribution for a configuration; a number if all values are one."""
    if not len(values) or min(values) == max(values):
        return float(values[0]) if len(values) else 1.0
    found = np.quantile(np.array(values, dtype=np.float64), np.linspace(0, 1, STEPS + 1)).tolist()
    return {"distribution": "quantiles", "values": [float(f"{value:.4g}") for value in found]}


def counts(values: Sequence[int]) -> Any:
    """A distribution of whole numbers: each with its weight if they are few."""
    many = Counter(values)
    if len(many) == 1 or len(many) > MOST_COUNTS:
        return quantiles(values)
    numbers = sorted(many)
    return {"distribution": "mixture", "parts": numbers, "weights": [many[number] for number in numbers]}


def _heads(shapes: Shapes) -> tuple[int, list[int]]:
    """Tokens of the text that most sessions begin with, and what each first prompt has beyond it."""
    roots = []
    for shape in shapes.sessions:
        head = shape.head
        while head != NONE and shapes.heads[head][0] != NONE:
            head = shapes.heads[head][0]
        roots.append(head)
    most = Counter(roots).most_common(1)[0][0]
    system = 0 if most == NONE else shapes.heads[most][1]
    firsts = []
    for shape in shapes.sessions:
        head = 0 if shape.head == NONE else shapes.heads[shape.head][1]
        firsts.append(max(1, head + shape.calls[0].grown - system))
    return system, firsts


def _replies(shapes: Shapes) -> list[int]:
    return [call.output_tokens for shape in shapes.sessions for call in shape.calls]


def _gaps_s(shapes: Shapes, as_served: bool) -> list[float]:
    return [call.think_s + (call.took_s if as_served else 0.0) for _, call in _follow(shapes)]


def _follow(shapes: Shapes) -> list[tuple[Call, Call]]:
    """Each call after the first of its session, with the one before."""
    return [pair for shape in shapes.sessions for pair in pairwise(shape.calls)]


def _kept(shapes: Shapes) -> list[tuple[Call, Call]]:
    """Those that go on with the whole prompt before."""
    return [(before, call) for before, call in _follow(shapes) if call.kept == 1]
