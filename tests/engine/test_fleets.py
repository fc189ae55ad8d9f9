"""Random fleets: every pair of options runs, and every way to run them gives the same records.

The ways are the fast scheduler with its runs of steps, the same step by step, and the general scheduler.
Invariants of all replicas are checked at every instant; `Records.check` holds conservation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.vllm.config import SchedulerOptions
from sim.engine.vllm.speculation import Speculation
from tests.caches.cases import QUICK
from tests.engine.situations import TRAVELS, Situation
from tests.engine.test_against_oracle import Case, cases

WAYS: dict[str, dict[str, Any]] = {
    "runs": {},
    "single steps": {"fast_forward": False},
    "general scheduler": {"record_steps": True},
}
OPTIONS = (
    "asynchronous", "priority", "threshold", "watermark", "no full reserve", "record_steps", "deadlines",
    "failures", "speculation",
)  # fmt: skip
"""Options that once were refused beside KV that travels."""
PAIRS = [(kind, option) for kind in TRAVELS for option in OPTIONS] + [
    ("asynchronous", "deadlines"),
    ("asynchronous", "failures"),
    ("speculation", "deadlines"),
    ("speculation", "failures"),
    ("speculation", "priority"),
]


def _drawn(situation: Situation, case: Case) -> dict[str, Any]:
    """A fleet of vLLM replicas; the general scheduler takes over wherever an option needs it."""
    rng, tokens, blocks = situation.rng, case.max_num_batched_tokens, case.blocks
    for request in case.requests:
        request.priority = rng.randint(0, 2)
    options = SchedulerOptions(tokens, case.max_num_seqs, async_scheduling=situation.has("asynchronous"))
    if situation.has("priority", 0.1):
        options = replace(options, policy="priority")
    if situation.has("threshold", 0.1):
        options = replace(options, long_prefill_token_threshold=rng.randint(1, max(1, tokens - 1)))
    if situation.has("watermark", 0.1):
        options = replace(options, watermark=0.2)
        blocks += 1 + blocks // 3
    if situation.chose("no full reserve"):  # half-admitted prompts may push each other out for ever
        options = replace(options, scheduler_reserve_full_isl=False)
        blocks += rng.randint(2, 12)
    if situation.has("speculation", 0.1):
        rates = sorted((rng.random() for _ in range(rng.randint(1, 4))), reverse=True)
        drafts = len(rates)
        speculation = Speculation(drafts, drafts * rng.randint(0, 1), acceptance_rates=tuple(rates))
        options = replace(options, speculation=speculation, max_num_batched_tokens=max(tokens, 1 + drafts))
        blocks += 1 + (3 * drafts + 2) // case.block_size
    around = situation.draw(block_size=case.block_size, caching=case.caching)
    return {"blocks": blocks, "options": options, **around}


def _all_ways_agree(case: Case, seed: int, chosen: tuple[str, ...] = ()) -> None:
    situation = Situation(seed, chosen, case.requests)
    situation.all_agree(_drawn(situation, case), list(WAYS.values()))


@pytest.mark.parametrize("pair", PAIRS, ids=" x ".join)
@settings(parent=QUICK, max_examples=25)
@given(case=cases(), seed=st.integers(0, 1 << 30))
def test_pairs_of_options(pair: tuple[str, str], case: Case, seed: int) -> None:
    """Each pair that was refused by name in earlier versions."""
    _all_ways_agree(case, seed, pair)


@settings(parent=QUICK, max_examples=80)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets(case: Case, seed: int) -> None:
    """Everything at once, by chance."""
    _all_ways_agree(case, seed)


@pytest.mark.slow
@settings(parent=QUICK, max_examples=3000)
@given(cases(), st.integers(0, 1 << 30))
def test_random_fleets_thoroughly(case: Case, seed: int) -> None:
    """The same, many more."""
    _all_ways_agree(case, seed)
