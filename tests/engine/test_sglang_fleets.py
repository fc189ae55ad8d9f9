"""Random fleets of SGLang replicas: KV that travels, deadlines, failures, retractions, with overlap or not.

Runs of decode steps as one event, every step as an event, and recorded steps give the same records.
Invariants of all replicas are checked at every instant; `Records.check` holds conservation.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sim.engine.sglang.config import SglangEngine
from tests.caches.cases import QUICK
from tests.engine.situations import TRAVELS, Situation
from tests.engine.test_sglang_oracle import Case, cases

WAYS: dict[str, dict[str, Any]] = {
    "runs": {},
    "single steps": {"fast_forward": False},
    "recorded": {"record_steps": True},
}
OPTIONS = ("overlap", "deadlines", "failures")
PAIRS = [(kind, option) for kind in TRAVELS for option in OPTIONS]
PAIRS += [("overlap", "deadlines"), ("overlap", "failures")]


def _drawn(situation: Situation, case: Case) -> dict[str, Any]:
    """A fleet of SGLang replicas with the options of ``case``."""
    options = dict(case.options)
    if situation.rng.random() < 0.7:  # next to nothing reserved: requests push each other out
        options["schedule_conservativeness"] = 0.01
    engine = SglangEngine(
        kind="sglang",
        chunked_prefill_size=case.chunk,
        max_prefill_tokens=case.max_prefill,
        max_running_requests=case.max_running,
        disable_overlap_schedule=not situation.has("overlap"),
        **options,
    )
    around = situation.draw(block_size=case.page_size, caching=case.caching)
    return {"blocks": case.pages, "options": engine, **around}


def _all_ways_agree(case: Case, seed: int, chosen: tuple[str, ...] = ()) -> None:
    situation = Situation(seed, chosen, case.requests)
    records = situation.all_agree(_drawn(situation, case), list(WAYS.values()))
    totals = records.engine
    assert totals is not None
    event(f"loads: {totals.loaded_tokens > 0}, retractions: {totals.num_preemptions > 0}")
    event(f"surplus: {totals.surplus_tokens > 0}, aborted: {(records.status == 'aborted').any()}")


@pytest.mark.parametrize("pair", PAIRS, ids=" x ".join)
@settings(parent=QUICK, max_examples=25)
@given(case=cases(), seed=st.integers(0, 1 << 30))
def test_pairs_of_options(pair: tuple[str, str], case: Case, seed: int) -> None:
    """Whatever keeps KV on its way beside whatever takes requests out, and overlap beside both."""
    _all_ways_agree(case, seed, pair)


@settings(parent=QUICK, max_examples=80)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets(case: Case, seed: int) -> None:
    """Everything at once, by chance."""
    _all_ways_agree(case, seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=3000)
@given(cases(most=10), st.integers(0, 1 << 30))
def test_random_fleets_thoroughly(case: Case, seed: int) -> None:
    """The same, many more."""
    _all_ways_agree(case, seed)
