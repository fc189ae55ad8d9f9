"""Clients of hosted APIs that hang up and try again: calls, rows, and a bill to the last digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import html
from sim import Result, load_config, run
from sim.config import Config
from sim.providers import bills
from sim.providers.bills import Hosted
from sim.providers.given_up import Patience, generated_tokens
from sim.providers.marks import Caching
from sim.providers.prices import PriceList, Rates
from sim.providers.serve import serve
from sim.providers.tables import billed_calls, request_log
from sim.results.records import Records
from tests.oracles.naive_clients import NaiveClients
from tests.oracles.naive_provider import NaiveBreakpoints, Prompt
from tests.providers.script import SLOW, made, script
from workloads.clients import Retries

START = datetime(2026, 11, 24, tzinfo=UTC)
LENGTHS = {"system": 40, "a": 7, "b": 11, "c": 30}
halves = st.integers(0, 12).map(lambda n: Fraction(n, 2))
requests = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), halves, st.integers(1, 6), halves),
    min_size=1,
    max_size=12,
)
"""(messages behind the system message, pause before the request, tokens of the reply, deadline)."""


@given(drawn=requests, most=st.integers(0, 3), backoff=halves, minimum=st.sampled_from([0, 50]))
@settings(max_examples=150)
def test_calls_against_clients_written_out(
    drawn: list[tuple[list[str], Fraction, int, Fraction]], most: int, backoff: Fraction, minimum: int
) -> None:
    """Every call: when it was sent, what it read, wrote and got; the bill of each request."""
    at_s = [sum((pause for _, pause, _, _ in drawn[: i + 1]), Fraction(0)) for i in range(len(drawn))]
    names = [["system", *messages] for messages, _, _, _ in drawn]
    prompts: list[Prompt] = [tuple((name, LENGTHS[name]) for name in prompt) for prompt in names]
    output, deadline = [reply for _, _, reply, _ in drawn], [limit for _, _, _, limit in drawn]
    oracle = NaiveClients(NaiveBreakpoints(20, minimum, 20), prompts, output, deadline, most, backoff)
    oracle.run(at_s)

    trace = script(LENGTHS, *((" ".join(p), float(at)) for p, at in zip(names, at_s, strict=True)))
    trace.output_tokens[:] = output
    lifetimes = [{"name": "x", "seconds": 20, "write_mult": 1.25}]
    rules = made("breakpoint", min_tokens=minimum, lookback=20, lifetimes=lifetimes)
    caching = Caching.model_validate({"mode": "explicit", "marks": "last"})
    retries = Retries(max_retries=most, backoff_s=float(backoff), max_backoff_s=1e6)
    patience = Patience([float(limit) for limit in deadline], retries)
    served = serve(trace, rules, caching, SLOW, patience=patience)

    lost, found = served.given_up, served.found
    for request in range(len(drawn)):
        mine = [call for call in oracle.calls if call.request == request]
        answered = bool(mine) and mine[-1].answered
        theirs = [i for i, number in enumerate(lost.request) if number == request]
        got = [
            (lost.sent_s[i], lost.read_tokens[i], lost.written_tokens[0][i], lost.output_tokens[i])
            for i in theirs
        ]
        given_up = [call for call in mine if not call.answered]
        assert got == [(float(call.at_s), call.read, call.written, call.output) for call in given_up]
        last = mine[-1]
        assert (found.read_tokens[request], found.written_tokens[0][request]) == (last.read, last.written)
        assert served.arrival_s[request] == mine[0].at_s
        assert served.retries.get(request, 0) == len(mine) - 1
        assert (not np.isnan(served.finished_s[request])) == answered

    at = {name: Fraction(usd) for name, usd in (("input", 100), ("read", 10), ("output", 400))}
    rates = Rates(**at, writes=(Fraction(125),), storage=Fraction(0))
    prices = PriceList((rates,), (), None, START)
    records = Records.of(request_log(trace, served, timed=True))
    calls = billed_calls(records, served, [prices], bytes(len(trace)), ["x"])
    written = np.array(served.found.written_tokens).sum(axis=0)
    records.hosted = Hosted(prices.cards, SLOW, calls, written, 0, "inclusive", 0)
    records.check()
    micro = [oracle.micro_usd(i, uncached=100, write=125, read=10, output=400) for i in range(len(drawn))]
    assert bills.exact(records).total_usd * 10**6 == sum(micro)
    assert bills.request_usd(records) * 1e6 == pytest.approx(micro)


@given(st.floats(0, 50), st.floats(1e-3, 2), st.integers(2, 300), st.floats(0, 100))
def test_tokens_that_are_there(first: float, tpot: float, output: int, stops: float) -> None:
    """Counted one by one."""
    there = sum(first + token * tpot <= stops for token in range(output))
    if there < output:
        assert generated_tokens(first, tpot, output, stops) == there


WORKLOAD = (
    "{kind: script, messages: {system: 1000, u: 10, v: 20, r: 10, s: 4}, requests: ["
    "{prompt: [system, u], reply: r, at_s: 0, session: 0}, "
    "{prompt: [system, v], reply: s, at_s: 100, session: 1}]}"
)
SYSTEM = (
    "{kind: provider, provider: custom, model: x, price: {input_usd_per_1m: 100, output_usd_per_1m: 400, "
    "cached_input_usd_per_1m: 10, write_usd_per_1m: {a: 125}}, caching: {mode: explicit, marks: last}, "
    "rules: {kind: breakpoint, client_marks: true, lifetimes: [{name: a, seconds: 300}]}, "
    "latency: {base_s: 1, per_uncached_token_s: 0, per_cached_token_s: 0, hit_base_s: 0, tpot_s: 1}, %s}"
)


def _hosted(root: Path, more: str) -> Records:
    settings_ = [f"workload={WORKLOAD}", f"systems={{x: {SYSTEM % more}}}"]
    return run(load_config(root / "configs/spec/2-a-bill.yaml", settings_)).runs["x"].records


def test_a_bill_by_hand(root: Path) -> None:
    """A reply of 10 tokens takes 10 s. Given up at 4.5 s: 1,010 written and 4 tokens out, in micro-dollars
    126,250 + 1,600. Sent again 0.5 s later, at 5 s: 1,010 read, 4 tokens again: 10,100 + 1,600. Twice.

    The other request has 4 tokens at 4 s, within its deadline: 127,500 + 1,600.
    """
    records = _hosted(root, "deadline_s: 4.5, retries: {max_retries: 2}")
    hosted = records.hosted
    assert hosted is not None
    assert records.status.tolist() == ["timed_out", "completed"]
    assert records.retries.tolist() == [2, 0]
    assert records.arrival_s.tolist() == [0, 100]
    # 0 s, then 0.5 s after 4.5 s, then 1 s after 9.5 s.
    assert records.scheduled_s.tolist() == [10.5, 100]
    assert np.isnan(records.finished_s).tolist() == [True, False]
    micro = [127_850 + 2 * 11_700, 129_100]
    assert bills.request_usd(records) * 1e6 == pytest.approx(micro)
    assert bills.exact(records).total_usd * 10**6 == sum(micro)
    figures = bills.cost_figures(records.measured(), records.measured())
    assert figures["cost_usd_total"] == pytest.approx(sum(micro) * 1e-6)
    bill = figures["bill"]
    assert (bill["calls"], bill["given_up_calls"]) == (4, 3)
    assert bill["given_up_usd"] == pytest.approx(micro[0] * 1e-6)
    assert bill["reported_input_tokens"] == 3 * 1010 + 1020
    assert Fraction(bill["total_micro_usd"]) == sum(micro)


def test_what_ends_at_the_deadline_has_kept_it(root: Path) -> None:
    """10 tokens at 1 to 10 s: complete with a deadline of 10 s, and none is missing."""
    kept = _hosted(root, "deadline_s: 10")
    assert kept.status.tolist() == ["completed", "completed"]
    missed = _hosted(root, "deadline_s: 9.999")
    assert missed.status.tolist() == ["timed_out", "completed"]
    assert missed.hosted is not None and missed.hosted.calls.output_tokens.tolist() == [4, 9]


def test_hung_up_before_the_first_token(root: Path) -> None:
    """Half a second is too little: the input is billed, no output; the retry reads what was written."""
    records = _hosted(root, "deadline_s: 0.5, retries: {max_retries: 1, backoff_s: 0.5}")
    assert records.hosted is not None
    calls = records.hosted.calls
    assert not records.completed.any()
    assert calls.output_tokens.tolist() == [0, 0, 0, 0]
    assert calls.read_tokens.tolist() == [0, 1010, 0, 1020]
    assert calls.written["a"].tolist() == [1010, 0, 1020, 0]
    assert bills.cost_figures(records.measured(), records.measured())["cost_usd_per_request"] is None


CHAT = """\
name: impatient
seed: 5
workload:
  kind: chat
  sessions: 30
  arrival: {process: poisson, rate_per_s: 0.5}
  turns: {distribution: geometric, mean: 4}
  think_time_s: 20
  system_prompt: {tokens: 3000, shared_by: all}
  user_tokens: {distribution: lognormal, mean: 80, sigma: 1.0}
  reply_tokens: {distribution: lognormal, mean: 250, sigma: 0.8}
  tenants: 2
systems:
"""
SYSTEMS = """\
  claude: {kind: provider, provider: anthropic, model: claude-opus-5, %s}
  gpt: {kind: provider, provider: openai, model: gpt-5, caching: {key: session}, %s}
  object: {kind: provider, provider: gemini, model: gemini-3.1-pro-preview, caching: {mode: explicit, marks: system}, %s}
  deepseek: {kind: provider, provider: deepseek, model: deepseek-v4-pro, start: 2026-11-24T01:00:00Z, %s}
  xai: {kind: provider, provider: xai, model: grok-4.7, tenants: workspaces, %s}
"""  # noqa: E501
IMPATIENT = (
    "regret: false, latency: {noise: 0.5}, deadline_s: {distribution: lognormal, median: 5, sigma: 0.5}, "
    "retries: {max_retries: 2}"
)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Result:
    path = tmp_path_factory.mktemp("impatient") / "config.yaml"
    path.write_text(CHAT + SYSTEMS % ((IMPATIENT,) * 5))
    return run(load_config(path))


def test_conservation_with_every_kind_of_rules(impatient: Result) -> None:
    """Each call is billed once, whatever its end; splits add up to the total; a summary has no NaN."""
    summary: Any = impatient.summary()
    json.dumps(summary, allow_nan=False)
    for name, one in impatient.runs.items():
        for records in (one.records, one.twin):
            records.check()
            assert 0 < records.completed.sum() < len(records)
            assert records.retries.max() == 2
            hosted = records.hosted
            assert hosted is not None
            assert len(hosted.calls) == len(records) + records.retries.sum()
            singles = [bills.exact(records, [i]).total_usd for i in range(len(hosted.calls))]
            assert sum(singles, Fraction(0)) == bills.exact(records).total_usd
        bill = summary["systems"][name]["cost"]["bill"]
        total = summary["systems"][name]["cost"]["cost_usd_total"]
        assert sum(bill["usd_by_tenant"].values()) == pytest.approx(total)
        assert bills.request_usd(one.records).sum() == pytest.approx(total)
        assert 0 < bill["given_up_usd"] < total
        assert summary["systems"][name]["timed_out"] > 0


def test_no_deadline_and_a_long_one_are_the_same(tmp_path: Path) -> None:
    """Deadlines that nobody misses change nothing, to the bit."""
    tables = []
    for more in ("latency: {noise: 0.5}", "latency: {noise: 0.5}, deadline_s: 1e6, retries: {}"):
        path = tmp_path / "config.yaml"
        path.write_text(CHAT + SYSTEMS % ((f"regret: false, {more}",) * 5))
        tables.append(run(load_config(path)).requests())
    assert tables[0].equals(tables[1])


def test_the_report_tells_them(impatient: Result) -> None:
    """The assumption is a note, and the requests without an answer are in the table."""
    page = html.render(impatient, impatient.summary())
    assert "of a call that its client gives up a provider bills the whole input" in page
    assert "requests timed out" in page


def test_the_resolved_configuration_keeps_them(impatient: Result, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(impatient.config.to_yaml())
    again: Config = load_config(tmp_path / "again.yaml")
    assert again.systems == impatient.config.systems


def test_nobody_is_answered(tmp_path: Path) -> None:
    """Everybody hangs up at once: bills without an answer, and a page without bars per session."""
    path = tmp_path / "config.yaml"
    path.write_text(CHAT + SYSTEMS.splitlines()[0] % "deadline_s: 0")
    result = run(load_config(path))
    summary: Any = result.summary()
    one = summary["systems"]["claude"]
    assert one["timed_out"] == len(result.runs["claude"].records) and one["cost"]["cost_usd_total"] > 0
    assert one["cost"]["bill"]["given_up_usd"] == pytest.approx(one["cost"]["cost_usd_total"])
    assert one["cost"]["cost_usd_per_request"] is None
    assert "100.0% of the requests get no reply" in html.render(result)
