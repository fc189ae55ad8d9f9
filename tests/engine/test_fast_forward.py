"""Runs of decode iterations taken in one event against every iteration as an event of its own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.profile import Coefficients, Domain
from sim.gaps import TokenGaps
from sim.records import Records
from tests.caches.cases import QUICK, THOROUGH, trace_of
from tests.engine.driving import fleet_of
from tests.engine.test_against_oracle import Case, cases
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
)
"""Of the size of an 8B model on a large GPU; decode iterations get longer with the context."""
MEASURED = Domain(tokens=(1, 200), sequences=(1, 12), cached=(0, 400), kv_tokens=(1, 2000))
"""A box that busy moments leave, in the middle of runs too."""
CLOSE: dict[str, Any] = {"rel": 1e-9, "abs": 1e-9}


def _both(trace: Trace, **engine: Any) -> tuple[Records, Records]:
    """Records of the same trace by run and by single iterations, compared entry by entry."""
    runs, evictions = [], []
    for fast_forward in (True, False):
        evicted: list[tuple[int, int]] = []

        def note(owner: int, first: int, last: int, log: list[tuple[int, int]] = evicted) -> None:
            log += [(owner, index) for index in range(first, last - 1, -1)]

        fleet = fleet_of(
            trace,
            coefficients=REALISTIC,
            domain=MEASURED,
            fast_forward=fast_forward,
            evicted=note,
            **engine,
        )
        runs.append(fleet.run())
        evictions.append(evicted)
    fast, slow = runs
    for name in ("cache_read_input_tokens", "replica", "preemptions"):
        assert (getattr(fast, name) == getattr(slow, name)).all(), name
    for name in ("arrival_s", "scheduled_s", "first_token_s", "finished_s"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), **CLOSE), name
    if engine.get("replicas", 1) == 1:  # else the logs of several replicas are mixed
        assert evictions[0] == evictions[1]
    return fast, slow


def _same_totals(fast: Records, slow: Records) -> None:
    assert fast.engine is not None and slow.engine is not None
    for name in type(fast.engine).__slots__:
        assert getattr(fast.engine, name) == pytest.approx(getattr(slow.engine, name), **CLOSE), name


def _same_gaps(fast: Records, slow: Records) -> None:
    one, other = TokenGaps(fast.steps), TokenGaps(slow.steps)
    assert one.count == other.count == int((fast.output_tokens - 1).sum())
    if not one.count:
        return
    decode_s = float((fast.finished_s - fast.first_token_s).sum())
    assert one.mean * one.count == pytest.approx(decode_s, **CLOSE)
    for p in (0, 1, 50, 90, 99, 100):
        assert one.percentile(p) == pytest.approx(other.percentile(p), **CLOSE)


def _chat(seed: int) -> Trace:
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


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("spare", [0, 60, 1500])
def test_chat(seed: int, replicas: int, spare: int) -> None:
    """Chats in closed loop, from a memory that holds one large request to a roomy one."""
    trace = _chat(seed)
    tokens = max(p + o - 1 for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    blocks = -(-tokens // 16) + spare
    fast, slow = _both(trace, blocks=blocks, replicas=replicas, max_num_batched_tokens=256, max_num_seqs=32)
    assert len(fast) > 200
    assert fast.preemptions.sum() > 0 or spare > 0, "the tight memory preempts"
    assert fast.engine is not None and 0 < fast.engine.extrapolated_s < fast.engine.busy_s
    _same_totals(fast, slow)
    _same_gaps(fast, slow)


def test_a_run_is_one_event() -> None:
    """One request alone: its prefill is an iteration, its 999 decodes are one event."""
    trace = Trace()
    trace.add(prompt=trace.content.append(0, 10), output_tokens=1000, arrival_s=0.0)
    fast, slow = _both(trace, blocks=100)
    assert list(fast.steps[0].iterations) == [1, 999]
    assert len(slow.steps[0].iterations) == 1000


def _open_loop(case: Case, seed: int) -> None:
    rng = random.Random(seed)
    for request in case.requests:
        request.arrival = rng.uniform(0, 0.15)
    fast, slow = _both(
        trace_of(case.requests),
        blocks=case.blocks,
        block_size=case.block_size,
        max_num_batched_tokens=case.max_num_batched_tokens,
        max_num_seqs=case.max_num_seqs,
        caching=case.caching,
    )
    _same_totals(fast, slow)
    _same_gaps(fast, slow)


@settings(QUICK, max_examples=150)
@given(cases(), st.integers(0, 2**32))
def test_open_loop(case: Case, seed: int) -> None:
    """Small traces full of shared content, arriving at any time within some iterations."""
    _open_loop(case, seed)


@pytest.mark.slow
@THOROUGH
@given(cases(most=10), st.integers(0, 2**32))
def test_open_loop_thoroughly(case: Case, seed: int) -> None:
    """The same on many more and longer traces."""
    _open_loop(case, seed)


def test_the_profile_is_used() -> None:
    """One prompt of 10 tokens, one reply of 3: three iterations by the profile's formula."""
    trace = Trace()
    trace.add(prompt=trace.content.append(0, 10), output_tokens=3, arrival_s=1.0)
    fast, _ = _both(trace, blocks=100)
    c = REALISTIC
    assert c.p is not None
    fixed = [c.step + c.sequence + (c.floor**c.p + (c.token * new) ** c.p) ** (1 / c.p) for new in (10, 1)]
    prefill = fixed[0] + c.pair * 55 + c.prefill_kv * 10 + c.prefill
    decodes = 2 * fixed[1] + c.decode_kv * (11 + 12)
    assert fast.first_token_s[0] == pytest.approx(1.0 + prefill, **CLOSE)
    assert fast.finished_s[0] == pytest.approx(1.0 + prefill + decodes, **CLOSE)
    assert np.isfinite(fast.finished_s).all()
