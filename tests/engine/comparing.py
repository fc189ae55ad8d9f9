"""Two runs of one trace that have to agree: the trace, the times, and what is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.hardware.coefficients import Coefficients
from sim.results.itl import gaps_of
from sim.results.records import Records
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

REALISTIC = Coefficients(
    step=2e-3,
    floor=6e-3,
    token=4e-5,
    p=6,
    sequence=2e-5,
    pair=3e-10,
    prefill_kv=2e-8,
    prefill=1e-4,
    decode_kv=4e-8,
    uneven=1e-8,
    beside=3e-6,
    beside_token=2e-8,
    beside_kv=1e-8,
    link=1e-6,
    request=5e-3,
)
"""Of the size of an 8B model on a large GPU; decode iterations get longer with the context."""
CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-9}


def same_records(one: Records, other: Records) -> None:
    """Every request went the same way, at the same times."""
    for name in ("status", "retries", "cache_read_input_tokens", "replica", "preemptions"):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    for name in ("arrival_s", "scheduled_s", "first_token_s", "finished_s"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True, **CLOSE), name


def same_totals(fast: Records, slow: Records) -> None:
    """Every figure of the engine is the same."""
    assert fast.engine is not None and slow.engine is not None
    for name in type(fast.engine).__slots__:
        assert getattr(fast.engine, name) == pytest.approx(getattr(slow.engine, name), **CLOSE), name


def same_gaps(fast: Records, slow: Records) -> None:
    """The gaps between tokens are the same ones, and add up to the decode times."""
    one, other = (gaps_of(records.steps, (0, 1, 50, 90, 99, 100)) for records in (fast, slow))
    tokens = int((fast.output_tokens - 1).sum())
    assert one.count == other.count <= tokens
    drafted = fast.engine is not None and fast.engine.spec_decode_num_drafts > 0
    assert one.count == tokens or drafted, "tokens of one step come together with drafts only"
    if not one.count:
        return
    decode_s = float((fast.finished_s - fast.first_token_s).sum())
    assert one.mean * one.count == pytest.approx(decode_s, **CLOSE)
    assert one.percentiles() == pytest.approx(other.percentiles(), **CLOSE)


def chat(seed: int) -> Trace:
    """A few hundred requests in closed loop: the second turn comes when the first is answered."""
    config = {
        "kind": "chat",
        "sessions": 60,
        "arrival": {"process": "poisson", "rate_per_s": 8.0},
        "turns": {"distribution": "geometric", "mean": 5},
        "think_time_s": {"distribution": "exponential", "mean": 0.5},
        "system_prompt": {"tokens": 100},
        "user_tokens": {"distribution": "lognormal", "mean": 40, "sigma": 1.0},
        "reply_tokens": {"distribution": "lognormal", "mean": 60, "sigma": 0.8},
    }
    return ChatWorkload.model_validate(config).build(seed, Path())
