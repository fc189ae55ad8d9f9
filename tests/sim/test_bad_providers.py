# ruff: noqa: E501 (tables of cases)
"""Hosted APIs that do not exist, or do not sell what is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, LINE, TRACE, written

HOSTED = "systems.one={kind: provider, provider: anthropic, model: claude-opus-5, %s}"
GRID = (
    "systems.one={kind: provider, provider: custom, model: mine, price: {input_usd_per_1m: 1}, "
    "rules: {kind: grid, lifetimes: [{name: a, seconds: 300}], %s}}"
)
CUSTOM = "systems.one={kind: provider, provider: custom, model: mine, %s}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("systems.one={kind: provider, provider: antropic, model: x}", ("systems.one.provider = 'antropic'", "did you mean 'anthropic'", "deepseek")),
        ("systems.one={kind: provider, provider: anthropic, model: claude-opus-51}", ("systems.one.model = 'claude-opus-51'", "did you mean 'claude-opus-5'")),
        ("systems.one={kind: provider, provider: openai, model: gpt-5.7-sol}", ("systems.one.model = 'gpt-5.7-sol'", "did you mean 'gpt-5.6-sol'")),
        ("systems.one={kind: provider, provider: anthropic, model: gpt-5}", ("systems.one.model = 'gpt-5'", "no caching rules of anthropic", "models like claude-opus-5")),
        ("systems.one={kind: provider, provider: gemini, model: gemini-4-argon, caching: {mode: explicit, marks: last}}", ("systems.one.price.storage_usd_per_1m_hour is missing",)),
        (HOSTED % "caching: {mode: 'off', ttl: 2h}", ("systems.one.caching.ttl = '2h': anthropic does not sell this lifetime; allowed: 5m, 1h",)),
        ("systems.one={kind: provider, provider: qwen, model: qwen3-max}", ("systems.one.price.input_usd_per_1m is missing",)),
        ("systems.one={kind: provider, provider: openai, model: gpt-5, caching: {mode: explicit}}", ("systems.one.caching.mode = 'explicit'", "allowed: automatic, off")),
        ("systems.one={kind: provider, provider: openai, model: gpt-5, caching: {marks: last}}", ("systems.one.caching.marks = 'last'", "allowed: none")),
        ("systems.one={kind: provider, provider: bedrock, model: claude-opus-5, caching: {mode: explicit}, tier: batch}", ("systems.one.tier = 'batch'", "allowed: standard")),
        ("systems.one={kind: provider, provider: anthropic, model: claude-opus-5, rules: {batch: false}, tier: batch}", ("systems.one.tier = 'batch'", "caches no batch requests")),
        (HOSTED % "caching: {ttl: 2h}", ("systems.one.caching.ttl = '2h'", "does not sell", "allowed: 5m, 1h")),
        (HOSTED % "caching: {mode: explicit, marks: window, window: 5}", ("5 marks in a request", "allowed: at most 4")),
        (HOSTED % "caching: {marks: window}", ("5 marks in a request", "and the automatic one", "allowed: at most 4")),
        (HOSTED % "caching: {marks: everywhere}", ("systems.one.caching.marks = 'everywhere'", "allowed: none, system, last, window, all")),
        (HOSTED % "caching: {marks: system, system_ttl: 5m, ttl: 1h}", ("systems.one.caching.system_ttl = '5m'", "longer ones come first")),
        (HOSTED % "caching: {system_ttl: 1h}", ("systems.one.caching.system_ttl = '1h'", "allowed: with marks system or all")),
        (HOSTED % "price: {input_usd_per_1m: -1}", ("systems.one.price.input_usd_per_1m = -1", "at least 0")),
        (HOSTED % "price: {write_usd_per_1m: {5m: -2}}", ("systems.one.price.write_usd_per_1m.5m = -2", "at least 0")),
        (HOSTED % "price: {write_usd_per_1m: {7m: 2}}", ("systems.one.price.write_usd_per_1m.7m", "allowed: 5m, 1h")),
        (HOSTED % "tier: flex", ("systems.one.tier = 'flex'", "allowed: standard, batch, fast")),
        (HOSTED % "start: 1999-01-01", ("systems.one.start", "2000 to 2100")),
        (HOSTED % "rules: {min_tokens: -1}", ("systems.one.rules.min_tokens = -1", "at least 0")),
        (HOSTED % "rules: {min_token: 1}", ("systems.one.rules", "unknown key 'min_token'", "did you mean 'min_tokens'")),
        (HOSTED % "rules: {granularity: 64}", ("systems.one.rules.granularity: rules of kind breakpoint do not use it", "allowed: kind", "lookback")),
        (HOSTED % "rules: {kind: grid, lookback: 3}", ("systems.one.rules.lookback: rules of kind grid do not use it", "granularity")),
        (HOSTED % "rules: {hit_probability: 2}", ("systems.one.rules.hit_probability = 2: allowed: a number from 0 to 1",)),
        (HOSTED % "rules: {hit_probability: {usr: 1}}", ("systems.one.rules.hit_probability: allowed: a number from 0 to 1, or {user",)),
        (HOSTED % "deadline_s: -1", ("systems.one.deadline_s = -1", "at least 0")),
        (HOSTED % "deadline_s: soon", ("systems.one.deadline_s = 'soon': allowed: a number, or a mapping with distribution",)),
        (HOSTED % "retries: {max_retries: 3}", ("systems.one: retries: no call is given up without a deadline_s",)),
        (HOSTED % "retries: 3", ("systems.one.retries = 3: allowed: a mapping",)),
        (HOSTED % "retries: {max_retries: -1}", ("systems.one.retries.max_retries = -1", "at least 0")),
        (HOSTED % "retries: {max_retries: 1000}", ("systems.one.retries.max_retries = 1000", "at most 100")),
        (HOSTED % "retries: {backof_s: 1}", ("systems.one.retries: unknown key 'backof_s' (did you mean 'backoff_s'?)",)),
        (HOSTED % "latency: fast", ("systems.one.latency = 'fast': allowed: a mapping",)),
        ("systems.one={kind: provider, provider: anthropic, model: recorded}", ("systems.one.model = 'recorded'", "does not name the model of every request", "allowed: the name of one model")),
        ("systems.one={kind: provider, provider: deepseek, model: deepseek-chat}", ("systems.one.model = 'deepseek-chat': retired on 2026-07-24", "did you mean 'deepseek-v4-flash'", "allowed: a model that deepseek sells")),
        ("systems.one={kind: provider, provider: codex, model: claude-opus-5}", ("no caching rules of codex", "models like gpt-5.6-sol")),
        ("systems.one={kind: provider, provider: codex, model: gpt-5.6-sol, caching: {marks: last}}", ("systems.one.caching.marks = 'last'", "allowed: none")),
        (HOSTED % "latency: {base_s: -1}", ("systems.one.latency.base_s = -1", "at least 0")),
        (CUSTOM % "price: {input_usd_per_1m: 1}", ("systems.one.rules.kind is missing",)),
        (CUSTOM % "rules: {kind: grid, lifetimes: [{name: a, seconds: 300}]}", ("systems.one.price.input_usd_per_1m is missing",)),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 9, longest_s: 3}]}", ("systems.one.rules.lifetimes.0", "longest_s (3) must be at least seconds (9)")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 9}, {name: a, seconds: 5}]}", ("systems.one.rules: lifetimes a, a", "each name once")),
        (HOSTED % "price: {multiply: 1e308}", ("systems.one.price.multiply = 1e+308", "at most 1e6")),
        (HOSTED % "price: {input_usd_per_1m: 1e308}", ("systems.one.price.input_usd_per_1m = 1e+308", "at most 1e9")),
        ("systems.one={kind: provider, provider: groq, model: whisper-large-v3}", ("systems.one.model = 'whisper-large-v3' has no price of input tokens", "allowed: a model that reads text")),
        (GRID % "storage_usd_per_mtok_hour: [{match: '[', usd: 1}]", ("systems.one.rules.storage_usd_per_mtok_hour.0.match = '['", "allowed: a regular expression")),
        (GRID % "peak: {windows_utc: [['10:00Z', '11:00Z']], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc.0", "allowed: [begin, end] of one day in UTC")),
        (GRID % "peak: {windows_utc: [['11:00', '10:00']], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc.0", "allowed: [begin, end] of one day in UTC")),
        (GRID % "peak: {windows_utc: [['11:00', '12:00']], weekdays: [7], mult: 2}", ("systems.one.rules.peak.weekdays.0 = 7", "at most 6")),
        (GRID % "peak: {windows_utc: [], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc", "at least 1")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 1e300}]}", ("systems.one.rules.lifetimes.0.seconds = 1e+300", "at most 1e15")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: '', seconds: 1}]}", ("systems.one.rules.lifetimes.0.name = ''", "at least 1 character")),
        ("systems.one.start=2026-13-01", ("--set systems.one.start=2026-13-01", "not YAML")),
    ],
)  # fmt: skip
def test_providers(cli_here: Cli, tmp_path: Path, setting: str, said: tuple[str, ...]) -> None:
    """A hosted API that does not exist, does not sell what is asked for, or has impossible prices."""
    refused(cli_here, tmp_path, "run", written(tmp_path), "--set", setting, "--out", "out", said=said)


def test_marks_on_messages_that_the_trace_lacks(cli_here: Cli, tmp_path: Path) -> None:
    """A mark at the end of the system message needs a trace with system messages."""
    (tmp_path / "trace.jsonl").write_text(json.dumps(LINE) + "\n")
    config = written(tmp_path, json.dumps(GOOD | {"workload": TRACE}))
    said = ("systems.one.caching.marks = 'system'", "no system messages", "allowed: none, last, window")
    setting = HOSTED % "caching: {marks: system}"
    refused(cli_here, tmp_path, "run", config, "--set", setting, said=said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("anthropic", "--day", "2026-11-24T10:00+05:00"), "--day 2026-11-24T10:00+05:00: not a date"),
        (("anthropic", "--day", "0001-01-01"), "--day 0001-01-01: allowed: from 2000 to 2100"),
        (("groq:whisper-large-v3",), "groq.model = 'whisper-large-v3' has no price of input tokens"),
    ],
)
def test_breakeven(cli_here: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A day that is none, and a model whose prompts have no price."""
    refused(cli_here, tmp_path, "breakeven", *arguments, said=(said,))
