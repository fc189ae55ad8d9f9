# ruff: noqa: E501 (configurations, and sentences of assertions)
"""``kind: provider`` with a few requests, whose bills are added up by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sim import load_config, run
from sim.providers import bills
from sim.results.records import Records
from sim.systems.provider import ProviderSystem
from tests.providers.small import bill_of


def _hosted(root: Path, workload: str, price: str, more: str = "") -> Records:
    """Requests written out, to a provider of our own at ``price``."""
    system = f"{{kind: provider, provider: custom, model: x, price: {{{price}}}, {more}}}"
    settings = [f"workload={workload}", f"systems={{x: {system}}}"]
    return run(load_config(root / "configs/spec/2-a-bill.yaml", settings)).runs["x"].records


NO_RULES = "rules: {kind: grid, lifetimes: [{name: a, seconds: 60}]}, caching: {mode: off}"


def test_figures_of_a_bill(root: Path) -> None:
    """Three prompts at 1 USD per million and replies at 2: 120, 240 and 1,000 millionths, added up by hand."""
    workload = "{kind: script, messages: {a: 100, b: 200, c: 900, r: 10, s: 20, t: 50}, requests: [{prompt: [a], reply: r}, {prompt: [b], reply: s}, {prompt: [c], reply: t, session: 1}]}"
    records = _hosted(root, workload, "input_usd_per_1m: 1, output_usd_per_1m: 2", NO_RULES)
    assert records.hosted is not None
    records.hosted.calls.tenant = np.array([7, 9, 7])
    cost = bills.cost_figures(records, records)
    assert cost["cost_usd_per_request"] == pytest.approx(1360e-6 / 3)
    assert cost["cost_usd_per_1m_input_tokens"] == 1
    assert cost["cost_usd_per_1m_output_tokens"] == 2
    bill = cost["bill"]
    assert bill["usd_by_tenant"] == pytest.approx({"7": 1120e-6, "9": 240e-6})
    assert bill["usd_per_1000_sessions"] == pytest.approx(0.68)
    # Linear between the two largest: 240 + 0.8 x 760 and 240 + 0.98 x 760.
    spread = {"mean": 1360e-6 / 3, "p50": 240e-6, "p90": 848e-6, "p99": 984.8e-6, "max": 1000e-6}
    assert bill["usd_per_request"] == pytest.approx(spread)
    assert bill["usd_per_session"]["max"] == pytest.approx(1000e-6)


def test_late_turns_are_told_as_one(root: Path) -> None:
    """Fourteen turns of 100 to 1,400 tokens: the mean of the thirteenth and the fourteenth is 1,350."""
    lengths = ", ".join(f"m{i}: {100 * i}" for i in range(1, 15))
    turns = ", ".join(f"{{prompt: [m{i}], reply: r, at_s: {i}}}" for i in range(1, 15))
    workload = f"{{kind: script, messages: {{r: 1, {lengths}}}, requests: [{turns}]}}"
    records = _hosted(root, workload, "input_usd_per_1m: 1, output_usd_per_1m: 0", NO_RULES)
    by_turn = bills.cost_figures(records, records)["bill"]["mean_usd_by_turn"]
    assert by_turn == pytest.approx({str(i): i * 1e-4 for i in range(1, 13)} | {">12": 1350e-6})


@pytest.mark.parametrize("asked", ["ttl: b", "ttl: a, system_ttl: b"])
def test_bill_of_objects_at_two_prices(root: Path, asked: str) -> None:
    """An object made off-peak and one at peak, at the write price of the lifetime asked for; rent costs no more.

    Per request: 1,000 created at 2, 1,000 read at 0.1, 10 fresh at 1, 5 out at 4: 2,130 micro-dollars, twice that
    at 02:00; and 1,000 tokens for 120 s at 3.6 an hour, 120 each time.
    """
    workload = "{kind: script, messages: {system: 1000, u: 10, r: 5}, requests: [{prompt: [system, u], reply: r, at_s: 0}, {prompt: [system, u], reply: r, at_s: 7200}]}"
    rules = "{kind: object, client_marks: true, read_mult: 0.1, lifetimes: [{name: a, seconds: 60, write_mult: 1}, {name: b, seconds: 120, write_mult: 2}], peak: {windows_utc: [['01:00', '04:00']], weekdays: [1], mult: 2}}"
    price = "input_usd_per_1m: 1, output_usd_per_1m: 4, storage_usd_per_1m_hour: 3.6"
    records = _hosted(
        root, workload, price, f"caching: {{mode: explicit, marks: system, {asked}}}, rules: {rules}"
    )
    assert bills.exact(records).total_usd * 10**6 == 2130 + 120 + 2 * 2130 + 120
    assert bills.request_usd(records) == pytest.approx([2250e-6, 4380e-6])


def test_prompts_near_the_minimum_are_counted_too(root: Path) -> None:
    """Of 999, 1,000, 1,149 and 1,150 tokens one is under 1,000, and two are less than 15 % above it."""
    workload = "{kind: script, messages: {a: 999, b: 1000, c: 1149, d: 1150, r: 1}, requests: [{prompt: [a], reply: r}, {prompt: [b], reply: r}, {prompt: [c], reply: r}, {prompt: [d], reply: r}]}"
    system = "{kind: provider, provider: custom, model: x, price: {input_usd_per_1m: 1}, rules: {kind: grid, min_tokens: 1000, lifetimes: [{name: a, seconds: 60}]}}"
    settings = [f"workload={workload}", f"systems={{x: {system}}}"]
    (note,) = (
        n
        for n in run(load_config(root / "configs/spec/2-a-bill.yaml", settings)).runs["x"].notes
        if "minimum" in n
    )
    assert note.startswith("1 of 4 requests are under the minimum of 1,000 tokens")
    assert note.endswith("2 more are less than 15% above it")


CUSTOM = (
    "systems={hosted: {kind: provider, provider: custom, model: x, "
    "price: {input_usd_per_1m: 10, cached_input_usd_per_1m: 1, output_usd_per_1m: 0}, rules: {%s, "
    "lifetimes: [{name: x, seconds: 1000}]}}}"
)


def test_spec_2_through_the_engine(root: Path) -> None:
    """A bill: 0.0012, then 0.0019 without and 0.00037 with cache; the reply is a unit of its own."""
    result = run(load_config(root / "configs/spec/2-a-bill.yaml", [CUSTOM % "kind: unit"]))
    records, twin = result.runs["hosted"].records, result.runs["hosted"].twin
    assert [bill_of(records, i) * 10**6 for i in range(2)] == [1200, 370]
    assert [bill_of(twin, i) * 10**6 for i in range(2)] == [1200, 1900]
    assert records.cache_read_input_tokens.tolist() == [0, 170]


def test_spec_4_through_the_engine(root: Path) -> None:
    """Ten turns: 5,500 tokens against 1,000; the input bill falls by 73.6 %."""
    settings = [CUSTOM % "kind: grid", "claims=[]"]
    result = run(load_config(root / "configs/spec/4-ten-turns.yaml", settings))
    records, twin = result.runs["hosted"].records, result.runs["hosted"].twin
    assert (int(records.computed_tokens.sum()), int(twin.computed_tokens.sum())) == (1_000, 5_500)
    saved = 1 - bills.exact(records).total_usd / bills.exact(twin).total_usd
    assert saved == Fraction(4_500 * 9, 5_500 * 10)
    assert round(float(saved), 3) == 0.736


def test_peak_hours_in_the_trace(root: Path) -> None:
    """The same prompt at midnight and at 02:00 UTC on a Tuesday: twice the price; on Sunday the same."""
    system = "{kind: provider, provider: deepseek, model: deepseek-v4-pro, caching: {mode: off}, start: %s}"
    script = "{kind: script, messages: {a: 1000, r: 10}, requests: [{prompt: [a], reply: r, at_s: 0}, {prompt: [a], reply: r, at_s: 7200}]}"
    for day, factor in (("2026-11-24", 2), ("2026-11-22", 1)):
        settings = [f"workload={script}", "systems={x: %s}" % (system % day)]
        records = run(load_config(root / "configs/spec/2-a-bill.yaml", settings)).runs["x"].records
        assert bill_of(records, 1) == factor * bill_of(records, 0)


def test_batch_halves_the_bill(root: Path) -> None:
    system = "{kind: provider, provider: anthropic, model: claude-opus-5, tier: %s, regret: false}"
    usd = []
    for tier in ("standard", "batch"):
        settings = ["systems={x: %s}" % (system % tier)]
        usd.append(
            bills.exact(run(load_config(root / "configs/spec/2-a-bill.yaml", settings)).runs["x"].records)
        )
    assert usd[0].total_usd == 2 * usd[1].total_usd


def test_default_marks(root: Path) -> None:
    """None where the provider marks by itself, the prompt's end in mode explicit, the system message for objects."""
    line = "{kind: provider, provider: %s, model: %s, caching: {mode: %s}}"
    for provider, model, mode, marks in (
        ("anthropic", "claude-opus-5", "automatic", "none"),
        ("anthropic", "claude-opus-5", "explicit", "last"),
        ("gemini", "gemini-3.8-flash", "explicit", "system"),
    ):
        settings = ["systems={x: %s}" % (line % (provider, model, mode))]
        system = load_config(root / "configs/spec/2-a-bill.yaml", settings).systems["x"]
        assert isinstance(system, ProviderSystem)
        assert system.caching.marks == marks
