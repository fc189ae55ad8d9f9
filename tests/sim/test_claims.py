"""When a claimed saving would hold."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.results.claims import turns_needed


@pytest.mark.parametrize(
    ("saved", "ratio", "turns"),
    [(0.95, 0.0, 39), (0.9, 0.0, 19), (0.5, 0.0, 3), (0.9, 0.1, None), (0.85, 0.1, 35), (0.8, 0.25, None)],
)
def test_turns_needed(saved: float, ratio: float, turns: int | None) -> None:
    """Known points: 1 - 2/(n+1) reaches 0.95 at n = 39; at ratio 0.1 the saving stays below 0.9."""
    assert turns_needed(saved, ratio) == turns


@given(saved=st.decimals("0.01", "0.98", places=2), ratio=st.decimals("0", "0.9", places=2))
def test_turns_needed_is_the_first_number_that_is_enough(saved: Decimal, ratio: Decimal) -> None:
    """n turns save the claim and n - 1 turns do not (exact arithmetic)."""
    from fractions import Fraction

    def bill_saved(n: int) -> Fraction:
        return (1 - Fraction(2, n + 1)) * (1 - Fraction(ratio))

    n = turns_needed(float(saved), float(ratio))
    if n is None:
        assert Fraction(saved) >= 1 - Fraction(ratio)
    else:
        assert bill_saved(n) >= Fraction(saved)
        assert n == 1 or bill_saved(n - 1) < Fraction(saved)


def test_claims_of_vendors(root: Path) -> None:
    """A typical chat keeps none of the headlines; a long document keeps those whose conditions it meets."""
    from sim import load_config, run

    verdicts = {}
    for name in ("chat", "book"):
        summary: Any = run(load_config(root / f"configs/studies/claims-{name}.yaml")).summary()
        for claim in summary["claims"]:
            assert claim["conditions"]
            assert claim["holds"] == (claim["derived_saved"] >= claim["claimed_saved"])
            key = claim["system"], claim["quantity"], claim["claimed_saved"]
            verdicts[name, *key] = claim["holds"], " ".join(claim["conditions"])
    assert not any(holds for (name, *_), (holds, _) in verdicts.items() if name == "chat")
    held = {tuple(key) for (name, *key), (holds, _) in verdicts.items() if name == "book" and holds}
    assert held == {
        ("claude-2024", "ttft", 0.85), ("claude-today", "ttft", 0.85), ("claude-today", "cost", 0.9),
        ("claude-today", "input_cost", 0.9), ("openai", "ttft", 0.8), ("openai", "prefill_time", 0.95),
    }  # fmt: skip
    # A read at a tenth can never save nine tenths of a bill that has writes or output in it.
    assert "never by more" in verdicts["book", "openai", "cost", 0.9][1]


@pytest.mark.parametrize(("claimed", "tokens"), [(0.85, 421_429), (0.80, 113_158)])
def test_prompt_that_a_latency_claim_needs(claimed: float, tokens: int) -> None:
    """At that length, wholly cached, the line saves the claim; a tenth shorter it does not."""
    from sim.providers.latency import HostedLatency
    from sim.results.claims_hosted import _prompt_needed

    line = HostedLatency()
    assert f"{tokens:,} tokens" in _prompt_needed(claimed, line)

    def saved(n: int) -> float:
        return 1 - line.ttft_s(0, n) / line.ttft_s(n, 0)

    assert saved(tokens) == pytest.approx(claimed, abs=1e-5)
    assert saved(int(tokens * 0.9)) < claimed
    assert "no prompt saves more than 86.9%" in _prompt_needed(0.95, line)


def test_hits_that_a_cost_claim_needs() -> None:
    """h r + (1 - h) w = 1 - claim: at r 0.05, w 1.25 and 90 % that is 95.8 % (no output)."""
    from pathlib import Path

    from sim.results.claims_hosted import cost
    from sim.systems.provider import ProviderSystem
    from tests.providers.script import script

    system = ProviderSystem(kind="provider", provider="anthropic", model="claude-opus-5-5").resolved(
        "x", Path()
    )
    trace = script({"a": 10_000}, *(("a", 10.0 * i) for i in range(100)))
    records, twin = (
        f(trace, "x", Path(), lambda done: None) for f in (system.run, system.run_without_cache)
    )
    derived, conditions = cost(0.9, records, twin, output=False)
    assert derived == pytest.approx(1 - (0.01 * 1.25 + 0.99 * 0.05))
    assert "95.8% of the input tokens must be read; here 99.0% are" in conditions[0]
