# ruff: noqa: E501 (configurations, and sentences of assertions)
"""``kind: provider`` from a configuration to records, summary and report."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim import Result, load_config, run
from sim.providers import bills
from sim.results.owning_or_renting import owned_usd_per_1000_sessions
from tests.providers.small import bill_of

CHAT = """\
name: hosted
seed: 3
workload:
  kind: chat
  sessions: 40
  arrival: {process: poisson, rate_per_s: 0.2}
  turns: {distribution: geometric, mean: 4}
  think_time_s: {distribution: lognormal, median: 100, sigma: 1.0}
  system_prompt: {tokens: 5000, shared_by: all}
  user_tokens: {distribution: lognormal, mean: 80, sigma: 1.0}
  reply_tokens: {distribution: lognormal, mean: 250, sigma: 0.8}
  tenants: 3
systems:
"""
ALL = """\
  anthropic: {kind: provider, provider: anthropic, model: claude-opus-5}
  mixed: {kind: provider, provider: anthropic, model: claude-opus-5, caching: {mode: explicit, marks: all, system_ttl: 1h}}
  bedrock: {kind: provider, provider: bedrock, model: claude-opus-5, caching: {mode: explicit}}
  openai: {kind: provider, provider: openai, model: gpt-6-sol, caching: {key: session}}
  openai-old: {kind: provider, provider: openai, model: gpt-5}
  azure: {kind: provider, provider: azure, model: gpt-5}
  gemini: {kind: provider, provider: gemini, model: gemini-3.8-flash}
  gemini-object: {kind: provider, provider: gemini, model: gemini-3.1-pro-preview, caching: {mode: explicit, marks: system}}
  deepseek: {kind: provider, provider: deepseek, model: deepseek-v4-pro}
  xai: {kind: provider, provider: xai, model: grok-4.7}
  kimi: {kind: provider, provider: kimi, model: kimi-k3}
  qwen: {kind: provider, provider: qwen, model: qwen3-max, price: {input_usd_per_1m: 1.2, output_usd_per_1m: 6}}
  groq: {kind: provider, provider: groq, model: openai/gpt-oss-120b}
  mistral: {kind: provider, provider: mistral, model: mistral-large-latest}
  custom:
    kind: provider
    provider: custom
    model: mine
    rules: {kind: grid, lifetimes: [{name: short, seconds: 60, write_mult: 1.1}], read_mult: 0.2}
    price: {input_usd_per_1m: 1, output_usd_per_1m: 2}
  own: {kind: engine, model: llama-3.1-8b, hardware: h200, price: {gpu_hour_usd: 3.5}}
"""
Make = Callable[..., Result]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    def run_it(systems: str, *settings: str) -> Result:
        path: Path = tmp_path_factory.mktemp("hosted") / "config.yaml"
        path.write_text(CHAT + systems)
        return run(load_config(path, settings))

    return run_it


@pytest.fixture(scope="module")
def everyone(make: Make) -> Result:
    return make(ALL)


def test_total_is_the_sum_of_the_requests(everyone: Result) -> None:
    """Exactly, and as the summary says in micro-dollars; the request table and the splits agree."""
    table = everyone.requests()
    summary: Any = everyone.summary()
    for name, entry in summary["systems"].items():
        records = everyone.runs[name].records
        if records.hosted is None:
            continue
        total = sum((bill_of(records, i) for i in range(len(records))), Fraction(0))
        assert bills.exact(records).total_usd == total
        bill = entry["cost"]["bill"]
        assert Fraction(bill["total_micro_usd"]) == total * 10**6
        split = [bill[f"{part}_usd"] for part in ("uncached_input", "cache_read", "storage", "output")]
        assert sum(split) + sum(bill["cache_write_usd"].values()) == pytest.approx(float(total))
        assert sum(bill["usd_by_tenant"].values()) == pytest.approx(float(total))
        assert bill["usd_per_session"]["mean"] * 1000 == pytest.approx(bill["usd_per_1000_sessions"])
        assert table[table["system"] == name]["cost_usd"].sum() == pytest.approx(float(total))


def test_conservation(everyone: Result) -> None:
    """Each request ends once; input = uncached + read + written; nothing is cached in the twin."""
    for run_ in everyone.runs.values():
        records, twin = run_.records, run_.twin
        records.check()
        assert np.isnan(records.finished_s).all() == (records.hosted is not None)
        uncached = (
            records.input_tokens - records.cache_read_input_tokens - records.cache_creation_input_tokens
        )
        assert (uncached >= 0).all()
        assert not twin.cache_read_input_tokens.any()
        assert not twin.cache_creation_input_tokens.any()


def test_reported_input_tokens(everyone: Result) -> None:
    """Anthropic's replies leave out what was read and written, OpenAI's do not."""
    for name, style in (
        ("anthropic", "exclusive"),
        ("bedrock", "exclusive"),
        ("openai", "inclusive"),
        ("deepseek", "inclusive"),
    ):
        records, bill = everyone.runs[name].records, everyone.summary()["systems"][name]["cost"]["bill"]
        total, read = int(records.input_tokens.sum()), int(records.cache_read_input_tokens.sum())
        left = total - read - int(records.cache_creation_input_tokens.sum())
        assert bill["usage_style"] == style
        assert bill["reported_input_tokens"] == (left if style == "exclusive" else total)


def test_savings_are_against_caching_off(everyone: Result) -> None:
    summary: Any = everyone.summary()
    for name in ("anthropic", "openai", "deepseek", "gemini-object"):
        cost, off = summary["systems"][name]["cost"], summary["no_cache"][name]["cost"]
        assert cost["saved_usd_by_cache"] == pytest.approx(off["cost_usd_total"] - cost["cost_usd_total"])
        assert off["bill"]["cache_read_usd"] == off["bill"]["storage_usd"] == 0
    json.dumps(summary, allow_nan=False)


def test_regret_is_against_the_cheapest_of_all_strategies(everyone: Result, make: Make) -> None:
    """The best is the minimum of the list, off among it; the configured strategy is in the list."""
    regret = everyone.summary()["systems"]["anthropic"]["regret"]
    costs = regret["cost_usd_by_strategy"]
    assert {
        "off",
        "explicit, marks window, 5m",
        "explicit, marks all, 1h",
        "automatic, marks none, 5m",
    } <= set(costs)
    assert regret["best_cost_usd"] == min(costs.values()) == costs[regret["best_strategy"]]
    own = everyone.summary()["systems"]["anthropic"]["cost"]["cost_usd_total"]
    assert costs["automatic, marks none, 5m"] == costs["as configured"] == own
    assert costs["off"] == everyone.summary()["no_cache"]["anthropic"]["cost"]["cost_usd_total"]
    assert regret["regret_usd"] == own - regret["best_cost_usd"] > 0
    assert regret["regret_ratio"] == pytest.approx(own / regret["best_cost_usd"] - 1)
    assert "explicit, marks none, 5m" not in costs  # no mark at all is off
    others = everyone.summary()["systems"]["mixed"]["regret"]["cost_usd_by_strategy"]
    assert set(others) == set(costs)  # its lifetime of the system message is not asked of the others
    off = make("  a: {kind: provider, provider: anthropic, model: claude-opus-5, regret: false}\n")
    assert "regret" not in off.summary()["systems"]["a"]


def test_workspaces_share_nothing_and_users_do(make: Make) -> None:
    """Anthropic caches per workspace, OpenAI per organisation: tenants that are workspaces differ."""
    line = (
        "  {0}: {{kind: provider, provider: {1}, model: {2}, tenants: {3}, caching: {4}, regret: false}}\n"
    )
    marks = "{marks: system}"
    result = make(
        line.format("users", "anthropic", "claude-opus-5", "users", marks)
        + line.format("workspaces", "anthropic", "claude-opus-5", "workspaces", marks)
        + line.format("gpt-workspaces", "openai", "gpt-6-sol", "workspaces", marks)
        + line.format("gpt-organisations", "openai", "gpt-6-sol", "organisations", marks)
    )
    lost = {name: run_.records.hits_lost_to_isolation_tokens for name, run_ in result.runs.items()}
    assert lost["users"] is None
    assert lost["gpt-workspaces"] is None
    assert lost["workspaces"] is not None and lost["workspaces"].sum() > 0
    assert lost["gpt-organisations"] is not None and lost["gpt-organisations"].sum() > 0


def test_the_same_seed_gives_the_same_records(make: Make) -> None:
    one, two = (make(ALL, "systems.gemini.rules={hit_probability: 0.5}").requests() for _ in range(2))
    assert one.equals(two)


def test_the_resolved_configuration_runs_to_the_same_summary(everyone: Result, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(everyone.config.to_yaml())
    again = run(load_config(tmp_path / "again.yaml")).summary()
    summary = everyone.summary()
    for name in summary["systems"]:
        assert again["systems"][name]["cost"] == summary["systems"][name]["cost"]


def test_minimum_is_a_warning_with_the_count(make: Make) -> None:
    """Prompts shorter than the model's minimum are served uncached, and counted in a note."""
    result = make(
        "  a: {kind: provider, provider: anthropic, model: claude-haiku-4-5, regret: false}\n",
        "workload.system_prompt.tokens=4000",
    )
    short = int((np.array(result.trace.input_tokens) < 4096).sum())
    assert 0 < short < len(result.trace)
    (note,) = (note for note in result.runs["a"].notes if "minimum" in note)
    assert note.startswith(f"{short} of {len(result.trace)} requests are under the minimum of 4,096 tokens")
    assert (
        not result.runs["a"]
        .records.cache_creation_input_tokens[np.array(result.trace.input_tokens) < 4096]
        .any()
    )


def test_owning_beats_renting_where_the_lines_cross(everyone: Result) -> None:
    """At the first crossing both cost the same; from 'always' on owning never costs more, below it does."""
    summary: Any = everyone.summary()
    assert {row["system"] for row in summary["side_by_side"]} == set(everyone.runs)
    crossed = [pair for pair in summary["crossovers"] if pair["first_sessions_per_h"] is not None]
    assert crossed
    for pair in crossed:
        rent, first, always = (
            pair[key]
            for key in ("rented_usd_per_1000_sessions", "first_sessions_per_h", "always_sessions_per_h")
        )

        def own(rate: float, pair: dict[str, Any] = pair) -> float:
            return owned_usd_per_1000_sessions(pair["gpu_hour_usd"], pair["sessions_per_gpu_hour"], rate)

        assert own(first) == pytest.approx(rent)
        assert own(first * 0.99) > rent
        assert own(always * (1 - 1e-6)) > rent
        assert all(own(always * factor) <= rent * (1 + 1e-9) for factor in np.linspace(1, 9, 400).tolist())
    for pair in summary["crossovers"]:
        if pair["first_sessions_per_h"] is None:
            assert pair["owned_usd_per_1000_sessions_at_best"] > pair["rented_usd_per_1000_sessions"]


def test_report_and_console(make: Make) -> None:
    """Bills, strategies, the side-by-side table and the crossings are in both."""
    import io

    from rich.console import Console

    from reports import console, html

    names = ("mixed", "gemini-object", "own")
    chosen = [line for line in ALL.splitlines() if line.strip().startswith(tuple(f"{n}:" for n in names))]
    result = make("\n".join(chosen))
    summary = result.summary()
    page = html.render(result, summary)
    for text in (
        "All systems",
        "cache writes, 5m",
        "cache storage",
        "dollars per 1,000 sessions",
        "From which traffic owning is cheaper than renting",
        "Strategies",
    ):
        assert text in page
    out = Console(width=140, record=True, file=io.StringIO())
    out.print(console.table(summary, 140, details=True))
    shown = out.export_text()
    for text in (
        "Side by side",
        "cache writes, 1h",
        "dollars with automatic, marks none",
        "tokens of cache objects",
        "own against mixed: ",
    ):
        assert text in shown
