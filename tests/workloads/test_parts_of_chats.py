"""A chat is drawn in portions, and a part of it has the same requests as the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.checking import check
from workloads.dividing import part_of
from workloads.generators import chat
from workloads.generators.chat import ChatWorkload
from workloads.part import Keep
from workloads.trace import Trace

MIXED = {
    "distribution": "mixture",
    "weights": [1, 2],
    "parts": [
        {"distribution": "geometric", "mean": 5, "second": 0.5},
        {"distribution": "exponential", "mean": 20},
    ],
}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"tenants": 3, "system_prompt": {"tokens": 50, "shared_by": "tenant"}, "user_tokens": MIXED},
    {"branching": {"regenerate": 0.2, "edit": 0.2}, "document_tokens": MIXED, "first_user_tokens": 9},
    {"reasoning_tokens": MIXED, "habits": {"history": {"kind": "window", "turns": 2}}},
]


def _workload(settings: dict[str, Any]) -> ChatWorkload:
    base = {"kind": "chat", "sessions": 50, "arrival": {"rate_per_s": 1}}
    return ChatWorkload.model_validate({**base, **settings})


def _those(rest: int) -> Keep:
    return lambda sessions: sessions % 3 % 2 == rest


def _requests(trace: Trace) -> list[tuple[Any, ...]]:
    """Every request with what it waits for, in numbers of the whole trace."""
    numbers = range(len(trace)) if trace.part is None else trace.part.numbers
    end = trace.content.end
    return [
        (
            number,
            [end[segment] for segment in trace.content.path(trace.reply[i])],
            trace.arrival_s[i],
            trace.follower[i] if trace.follower[i] < 0 else numbers[trace.follower[i]],
            trace.think_s[i],
            trace.session[i],
            trace.turn[i],
            trace.tenant[i],
        )
        for i, number in enumerate(numbers)
    ]


@pytest.mark.parametrize("settings", SETTINGS)
def test_portions(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sessions are drawn at a time, they are the same."""
    workload = _workload(settings)
    at_once = _requests(workload.build(1, Path()))
    monkeypatch.setattr(chat, "PORTION", 7)
    assert _requests(workload.build(1, Path())) == at_once


@pytest.mark.parametrize("settings", SETTINGS)
def test_parts(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts are the whole, whether they are made by themselves or taken out of it."""
    monkeypatch.setattr(chat, "PORTION", 16)
    workload = _workload(settings)
    whole = workload.build(1, Path())
    made, taken = [], []
    for rest in (0, 1):
        part = workload.build_sessions(1, _those(rest))
        assert part.part is not None and part.part.requests == len(whole)
        made += _requests(part)
        out_of = part_of(whole, np.array(whole.session) % 3 % 2 == rest)
        check(out_of)
        taken += _requests(out_of)
    assert sorted(made) == sorted(taken) == _requests(whole)
