"""Runs of decode iterations taken in one event against every iteration as an event of its own."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.hardware.coefficients import Domain
from sim.results.records import Records
from tests.caches.cases import QUICK, THOROUGH, trace_of
from tests.engine.comparing import CLOSE, REALISTIC, chat, same_gaps, same_records, same_totals
from tests.engine.driving import fleet_of
from tests.engine.test_against_oracle import Case, cases
from workloads.trace import Trace

MEASURED = Domain(tokens=(1, 200), sequences=(1, 12), cached=(0, 400), kv_tokens=(1, 2000))
"""A box that busy moments leave, in the middle of runs too."""


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
    same_records(fast, slow)
    if engine.get("replicas", 1) == 1:  # else the logs of several replicas are mixed
        assert evictions[0] == evictions[1]
    return fast, slow


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("spare", [0, 60, 1500])
def test_chat(seed: int, replicas: int, spare: int) -> None:
    """Chats in closed loop, from a memory that holds one large request to a roomy one."""
    trace = chat(seed)
    tokens = max(p + o - 1 for p, o in zip(trace.input_tokens, trace.output_tokens, strict=True))
    blocks = -(-tokens // 16) + spare
    fast, slow = _both(trace, blocks=blocks, replicas=replicas, max_num_batched_tokens=256, max_num_seqs=32)
    assert len(fast) > 200
    assert fast.preemptions.sum() > 0 or spare > 0, "the tight memory preempts"
    assert fast.engine is not None and 0 < fast.engine.extrapolated_s < fast.engine.busy_s
    same_totals(fast, slow)
    same_gaps(fast, slow)


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
    same_totals(fast, slow)
    same_gaps(fast, slow)


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
    knee = [(c.floor**c.p + (c.token * new) ** c.p) ** (1 / c.p) for new in (10, 1)]
    fixed = [c.step + c.sequence + s + c.link * new for s, new in zip(knee, (10, 1), strict=True)]
    prefill = fixed[0] + c.pair * 55 + c.prefill_kv * 10 + c.prefill
    decodes = 2 * fixed[1] + c.decode_kv * (11 + 12)
    assert fast.first_token_s[0] == pytest.approx(1.0 + prefill + c.request, **CLOSE)
    assert fast.finished_s[0] == pytest.approx(1.0 + prefill + decodes + c.request, **CLOSE)
    assert np.isfinite(fast.finished_s).all()
