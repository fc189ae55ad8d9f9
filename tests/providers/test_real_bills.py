"""What real bills and live runs taught: each case at its right value, on small inputs of our own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.providers import bills, rulebook
from tests.providers.script import made, read, rules, script, send, written
from tests.providers.small import A_BILL, Row, hosted, reads, recorded, total
from workloads.errors import InputError

# -- OpenAI from 5.6 on, and Codex -----------------------------------------------------------------------

OPENING = (
    "{kind: script, messages: {system: 6002, user-a: 1496, user-b: 1482, reply-a: 61, reply-b: 66}, "
    "requests: [{prompt: [system, user-a], reply: reply-a, at_s: 0, session: 0}, "
    "{prompt: [system, user-b], reply: reply-b, at_s: 20, session: 1}]}"
)


def test_whether_the_opening_is_written_is_a_switch(root: Path) -> None:
    """The direct API reads 6,002 tokens of the opening, at $0.0111; hosted by Bedrock none, at $0.0387."""
    gpt = "provider: openai, model: gpt-5.6-sol"
    result = hosted(
        root,
        OPENING,
        direct=gpt,
        otherwise=gpt + ", rules: {opening_written: false}",
        bedrock="provider: bedrock, model: global.openai.gpt-5.6-sol",
    )
    assert reads(result) == {"direct": [0, 6002], "otherwise": [0, 0], "bedrock": [0, 0]}
    usd = {name: bills.exact(one.records, [1]).total_usd for name, one in result.runs.items()}
    assert usd["direct"] == Fraction(6002 * 4 + 1482 * 50 + 66 * 200, 10**7)
    assert usd["otherwise"] == usd["bedrock"] == Fraction(7484 * 5 + 66 * 20, 10**6)


def test_codex_with_a_chatgpt_login(root: Path) -> None:
    """Read = floor((P - 115 - 768) / 1024) x 1024 + 768 of the prompt P before; nothing is written."""
    codex = rulebook.record("codex", "gpt-5.6-sol", "automatic", "x")
    for before in (500, 882, 883, 1906, 1907, 20_000, 131_071):
        lengths = {"a": before, "b": 200}
        trace = script(lengths, ("a", 0), ("a b", 60), ("a b", 90), sessions=[1, 1, 1])
        done = send(trace, codex)
        expected = [0 if p < 883 else (p - 115 - 768) // 1024 * 1024 + 768 for p in (before, before + 200)]
        assert read(done) == [0, *expected]
        assert written(done) == [0, 0, 0]


def test_a_head_that_two_sessions_share_is_found_by_codex() -> None:
    """5,000 tokens of the same head: 768 + 4 x 1,024 = 4,864; both tails are longer than 115."""
    trace = script({"head": 5000, "a": 400, "b": 700}, ("head a", 0), ("head b", 60))
    assert read(send(trace, rulebook.record("codex", "gpt-5.6-sol", "automatic", "x"))) == [0, 4864]


def test_what_a_longer_prompt_stored_stays_stored() -> None:
    """A shorter prompt that ends inside what a longer one stored takes nothing of it away."""
    codex = made("grid", granularity=10, unstored_tokens=15, lifetimes=[{"name": "x", "seconds": 100}])
    lengths = {"a": 100, "b": 50, "c": 5}
    assert read(send(script(lengths, ("a b", 0), ("a", 10), ("a b c", 20)), codex)) == [0, 100, 130]
    # The first has expired: of the second 85 tokens are left.
    assert read(send(script(lengths, ("a b", 0), ("a", 150), ("a b c", 160)), codex)) == [0, 0, 80]


# -- lookups that fail -----------------------------------------------------------------------------------

KINDS: list[dict[str, Any]] = [
    {"kind": "breakpoint", "auto_mark": True},
    {"kind": "grid"},
    {"kind": "chance"},
    {"kind": "unit"},
    {"kind": "object"},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["kind"])
def test_a_probability_for_every_kind(kind: dict[str, Any]) -> None:
    """With 0.5 half of 400 lookups fail; 0 finds nothing, 1 everything. What fails is written anew."""
    marks: dict[str, Any] = {"mode": "explicit", "marks": "system"} if kind["kind"] == "object" else {}
    trace = script({"system": 100, "u": 5}, *(("system u", 2.0 * i) for i in range(400)))
    lifetimes = [{"name": "x", "seconds": 300, "write_mult": 1.25}]

    def reads(probability: Any) -> int:
        followed = made(**kind, lifetimes=lifetimes, hit_probability=probability)
        done = send(trace, followed, **marks)
        whole = np.array(read(done)) - done.found.created_tokens > 0
        if kind["kind"] == "breakpoint":
            assert [w for w, hit in zip(written(done), whole, strict=True) if not hit] == [105] * sum(
                ~whole
            )
        return int(whole.sum())

    made_anew = reads(1.0)
    assert made_anew >= 396  # objects are made again every 300 s
    assert reads(0.0) == 0
    assert 150 < reads(0.5) < 250
    assert reads({"user": 0.0}) == 0
    assert reads({"tool": 0.0}) == made_anew


def test_by_kind_of_turn(tmp_path: Path) -> None:
    """Turns that answer a tool's result are told in the log; here only the others fail."""
    calls: list[Row] = [
        {
            "t": 60 * i,
            "in": 640,
            "hash_runs": [[1, 10]],
            "input_types": ["tool_result" if i % 2 else "text"],
        }
        for i in range(10)
    ]
    done = send(recorded(tmp_path, calls), made("grid", hit_probability={"user": 0, "tool": 1}))
    assert read(done) == [640 * (i % 2) for i in range(10)]


def test_one_lookup_in_two_of_a_chat(root: Path) -> None:
    """Server-side misses modelled at Anthropic: the hit rate of the same chats about halves."""
    chat = (
        "{kind: chat, sessions: 100, system_prompt: {tokens: 3000}, user_tokens: 100, reply_tokens: 200, "
        "think_time_s: 20, turns: 8, arrival: {process: poisson, rate_per_s: 0.1}}"
    )
    claude = "provider: anthropic, model: claude-opus-5"
    found = reads(hosted(root, chat, sure=claude, unsure=claude + ", rules: {hit_probability: 0.5}"))
    hits = {name: sum(tokens > 0 for tokens in reads) for name, reads in found.items()}
    assert 0.4 < hits["unsure"] / hits["sure"] < 0.6


# -- prices of that day, names, models -------------------------------------------------------------------


def test_gemini_reads_cost_a_quarter_until_november_2025(root: Path) -> None:
    """257,955 of 262,960 tokens cached on 2025-09-24: 0.625 a million; 5,005 at 2.5, 1,744 out at 15."""
    workload = (
        "{kind: script, messages: {system: 257955, user-0: 5005, user-1: 5005, reply-0: 1, reply-1: 1744}, "
        "requests: [{prompt: [system, user-0], reply: reply-0, at_s: 0}, "
        "{prompt: [system, user-1], reply: reply-1, at_s: 60}]}"
    )
    model = "provider: gemini, model: gemini-2.5-pro"
    result = hosted(root, workload, then=model + ", start: 2025-09-24", today=model)
    usd = {name: bills.exact(one.records, [1]) for name, one in result.runs.items()}
    assert usd["then"].read_usd == Fraction(257_955 * 625, 10**9)
    assert usd["today"].read_usd == Fraction(257_955 * 250, 10**9)
    assert usd["then"].total_usd == usd["then"].read_usd + Fraction(5005 * 250 + 1744 * 1500, 10**8)


@pytest.mark.parametrize("name", ["deepseek-chat", "deepseek-reasoner"])
def test_retired_names(root: Path, name: str) -> None:
    """An error that names the successor from the day on; before it the name is sold."""
    system = f"provider: deepseek, model: {name}"
    with pytest.raises(InputError, match=f"{name}.*retired on 2026-07-24.*'deepseek-v4-flash'"):
        hosted(root, A_BILL, x=system)
    with pytest.raises(InputError, match="retired on 2026-07-24"):
        hosted(root, A_BILL, x=system + ", start: 2026-07-24")
    hosted(root, A_BILL, x=system + ", start: 2026-07-23")


def test_a_bare_bedrock_name_is_regional_and_told(root: Path) -> None:
    """Ten percent more than across regions; the name for that is in the note."""
    bedrock = "provider: bedrock, caching: {mode: explicit}, model: "
    result = hosted(
        root,
        A_BILL,
        bare=bedrock + "claude-opus-5",
        worldwide=bedrock + "global.anthropic.claude-opus-5",
        nova=bedrock + "us.amazon.nova-pro-v1:0",
    )
    usd = {name: total(one.records) for name, one in result.runs.items()}
    assert usd["bare"] == usd["worldwide"] * Fraction(11, 10)
    told = {name: [note for note in one.notes if "priced as" in note] for name, one in result.runs.items()}
    assert len(told["bare"]) == 1 and "global.anthropic.claude-opus-5" in told["bare"][0]
    assert not told["worldwide"] and not told["nova"]


@pytest.mark.parametrize(
    ("provider", "model", "mode", "minimum", "share"),
    [
        ("anthropic", "claude-mythos-5", "automatic", 512, 0.1),
        ("anthropic", "claude-mythos-5-1", "automatic", 512, 0.025),
        ("openai", "gpt-6.2-sol", "automatic", 1024, 0.1),
        ("bedrock", "amazon.nova-lite-v1:0", "explicit", 1000, 0.25),
    ],
)
def test_models_that_the_price_library_lacks(
    root: Path, provider: str, model: str, mode: str, minimum: int, share: float
) -> None:
    """Their rules are there; with a price they run, without one the message asks for it."""
    found = rules(provider, model, mode)
    assert (found.min_tokens, found.read_mult) == (minimum, share)
    system = f"provider: {provider}, model: '{model}', caching: {{mode: {mode}}}"
    hosted(root, A_BILL, x=system + ", price: {input_usd_per_1m: 8, output_usd_per_1m: 40}")
    if provider != "bedrock":
        with pytest.raises(InputError, match=r"no price is known.*give systems\.x\.price"):
            hosted(root, A_BILL, x=system)
