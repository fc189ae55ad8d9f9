# ruff: noqa: E501 (tables of cases)
"""Bad input: one message with place, key, value and what is allowed; exit code 2; nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = {
    "name": "bad",
    "workload": {
        "kind": "chat",
        "sessions": 3,
        "arrival": {"process": "poisson", "rate_per_s": 1.0},
        "turns": 2,
        "think_time_s": 1,
        "system_prompt": {"tokens": 10},
        "user_tokens": 5,
        "reply_tokens": 5,
    },
    "systems": {"one": {"kind": "engine", "model": "llama-3-8b", "hardware": "h200"}},
}
LINE = {"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}
PROFILE = Path(__file__).parents[2] / "calibration/profiles/epyc-1-thread.tiny-40m.float32.yaml"
TRACE = {"kind": "trace", "format": "mooncake", "path": "trace.jsonl"}


def _write(folder: Path, overrides: list[str] | None = None, text: str | None = None) -> Path:
    path = folder / "bad.yaml"
    path.write_text(json.dumps(GOOD, indent=1) if text is None else text)
    return path


def _fails(cli_here, folder: Path, *args: str | Path, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    done = cli_here(*args)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for text in said:
        assert text in done.stderr, done.stderr
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before, "something was written"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("workload.sesions=3", ("unknown key 'sesions'", "did you mean 'sessions'", "allowed: kind, sessions")),
        ("workload.sessions=three", ("workload.sessions = 'three'", "valid integer")),
        ("workload.sessions=0", ("workload.sessions = 0", "greater than 0")),
        ("workload.user_tokens=-5", ("workload.user_tokens = -5", "greater than or equal to 0")),
        ("workload.kind=chats", ("workload", "'chats'", "'chat', 'script', 'trace'")),
        ("workload.turns={distribution: normal}", ("workload.turns", "'normal'", "'geometric'")),
        ("workload.arrival.rate_per_s=.nan", ("workload.arrival.rate_per_s = nan",)),
        ("systems.one.model=llama-3-9b", ("systems.one.model = 'llama-3-9b'", "did you mean 'llama-3-8b'", "qwen")),
        ("systems.one.hardware=h300", ("systems.one.hardware = 'h300'", "h200", "l4")),
        ("systems.one.model=llama-3.1-70b", ("systems.one.model", "Llama 3.1 70B does not fit", "GiB; allowed: less than")),
        ("systems.one.cache.kind=redis", ("systems.one.cache", "'redis'", "'block'", "'radix'")),
        ("systems.one.latency={profile: no.yaml}", ("no.yaml: no such file; looked for",)),
        ("systems.one.memory.kv_blocks=1", ("request 0 (session 0, turn 1)", "needs 2 KV blocks of 16", "at most 1")),
        ("systems.one.price={}", ("systems.one.price", "give either gpu_hour_usd or input_usd_per_1m")),
        ("systems={}", ("systems", "at least 1")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: ideal}, engine: {scheduler_reserve_full_isl: false}}",
         ("systems.one.engine.scheduler_reserve_full_isl = False", "allowed: true")),
        ("systems.one.cache={block_size: 4}", ("systems.one.cache: the key 'kind' is missing",)),
        ("workload.sessions=1000000000000", ("not enough memory", "make the workload smaller")),
        ("workload.arrival.rate_per_s=1e-300", ("workload: times reach", "allowed: arrivals and think times up to")),
        ("systems.one.engine={max_num_batched_tokens: 4, max_num_seqs: 8}",
         ("systems.one.engine: max_num_batched_tokens (4) must be at least max_num_seqs (8)",)),
        ("systems.one.engine={kind: trt}", ("systems.one.engine", "'trt'", "'vllm', 'sglang'")),
        ("systems.one.engine={kind: sglang, schedule_policy: best}",
         ("systems.one.engine.schedule_policy = 'best'", "allowed: fcfs, lpm, dfs-weight")),
        ("systems.one.engine={kind: sglang, max_num_seqs: 4}",
         ("systems.one.engine: unknown key 'max_num_seqs'", "allowed: kind, chunked_prefill_size")),
        ("systems.one.engine={kind: sglang, chunked_prefill_size: 0}",
         ("systems.one.engine.chunked_prefill_size = 0", "allowed: at least 1, or -1")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: radix, page_size: 3}, engine: {kind: sglang}}",
         ("systems.one.engine.chunked_prefill_size = 8192 is not divisible by the cache's page_size (3)", "a multiple of it")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: block}, engine: {kind: sglang}}",
         ("systems.one.cache.kind = 'block' does not go with engine.kind sglang", "allowed: radix, none")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: radix, page_size: 16, capacity_tokens: 9}, engine: {kind: sglang}}",
         ("systems.one.cache.capacity_tokens = 9", "at least a page (16)")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, memory: {kv_blocks: 20}, engine: {kind: sglang}}",
         ("request 0 (session 0, turn 1)", "does not fit: SGLang leaves it", "KV memory of systems.one")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, engine: {kind: sglang, max_new_tokens: 3}}",
         ("request 0 (session 0, turn 1): a reply of", "allowed: at most systems.one.engine.max_new_tokens (3)")),
        ("systems.one.router=magic", ("systems.one.router = 'magic'", "round_robin", "kv_aware")),
        ("systems.one.cache={kind: block, eviction: belady}", ("systems.one.cache.eviction = 'belady'", "needs the future", "lru")),
        ("systems.one.pools=[]", ("systems.one.pools", "at least 1")),
        ("systems.one.pools=[{hardware: h201}]", ("systems.one.pools.0.hardware = 'h201'", "h200")),
        ("systems.one.pools=[{role: prefill}]", ("systems.one.pools with roles prefill", "allowed: all both, or some prefill and some decode")),
        ("systems.one.pools=[{role: prefill}, {role: decode}]", ("systems.one.kv_link goes with pools of role prefill and decode",)),
        ("systems.one.tensor_parallel=3", ("systems.one.tensor_parallel = 3 does not divide the 32 attention heads", "allowed: a divisor")),
        (f"systems.one={{kind: engine, model: tiny-40m, hardware: h200, tensor_parallel: 2, latency: {{profile: {PROFILE}}}}}",
         ("measured on 1 GPU(s) together, not on 2", "allowed: tensor_parallel 1")),
        ("systems.one.failures=[{replica: 1, at_s: 3}]", ("systems.one.failures.0.replica = 1", "allowed: 0 to 0")),
        ("systems.one.failures=[{replica: 0, at_s: 3, back_s: 2}]", ("back_s (2) must be later than at_s (3)",)),
        ("systems.one.failures=[{replica: 0, at_s: 3}, {replica: 0, at_s: 9}]", ("systems.one.failures.1.at_s = 9: replica 0 is down then",)),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, deadline_s: 3, engine: {async_scheduling: true}}",
         ("systems.one.engine.async_scheduling = True with failures or deadline_s", "allowed: false")),
        ("systems.one.deadline_s=-1", ("systems.one.deadline_s = -1",)),
        ("systems.one.max_queued_requests=0", ("systems.one.max_queued_requests = 0", "greater than 0")),
        ("systems.one={kind: engine, model: qwen2.5-7b, hardware: h200, tensor_parallel: 7}", ("systems.one.tensor_parallel = 7 neither divides the 4 KV heads",)),
        ("systems.one.sample_s=0", ("systems.one.sample_s = 0", "greater than or equal to 0.001")),
        ("systems.one.cache={kind: tiered, tiers: [{name: a}, {name: b, gb_per_s: 1}, {name: c}]}", ("gb_per_s is given for some tiers only",)),
        ("systems.one.cache={kind: tiered, tiers: [{name: a}, {name: a}]}", ("two tiers have the same name",)),
        ("systems.one={kind: engine, memory: {kv_blocks: 99}, latency: {kind: constant, iteration_s: 1}, cache: {kind: tiered, tiers: [{name: a}, {name: b, gb_per_s: 1}]}}",
         ("systems.one.model is missing, and KV travels", "allowed: a model")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, record_steps: true, cache: {kind: tiered, tiers: [{name: a}, {name: b, gb_per_s: 1}]}}",
         ("systems.one.record_steps, failures and deadline_s do not go with KV that travels",)),
        ("warmup_s=-1", ("warmup_s = -1", "greater than or equal to 0")),
        ("workload.arrival={process: closed_loop, concurrency: 0}", ("workload.arrival.concurrency = 0", "greater than 0")),
        ("name=a/b", ("name = 'a/b'", "match pattern")),
        ("workload.habits=polite", ("workload.habits = 'polite'", "valid dictionary")),
        ("workload.habits={histroy: append}", ("unknown key 'histroy'", "did you mean 'history'", "system_prompt, dynamic_fields, history")),
        ("workload.habits.history=windows", ("workload.habits.history", "'windows'", "'append', 'window', 'summarise', 'edit'")),
        ("workload.habits.history={kind: window, tokens: 3}", ("unknown key 'tokens'", "allowed: kind, turns")),
        ("workload.habits.history={kind: window, turns: 0}", ("workload.habits.history.turns = 0", "greater than 0")),
        ("workload.habits.history={kind: edit, turn: 0}", ("workload.habits.history", "turn 0 does not exist; allowed: 1, 2, ...")),
        ("workload.habits.history={kind: summarise, turns: 1}", ("keep_turns (2) must not exceed turns (1)",)),
        ("workload.habits.system_prompt={kind: clock, at_token: 11}",
         ("workload: habits.system_prompt.at_token (11) lies behind", "allowed: 0 to system_prompt.tokens (10)")),
        ("workload.habits.dynamic_fields=assistant", ("workload.habits.dynamic_fields", "'none', 'user', 'system'")),
        ("twins.x={good: {history: append}}", ("twins.x.bad", "Field required")),
        ("twins.x={bad: {history: append}}", ("twins.x: good and bad are the same habits",)),
        ("twins.x={bad: {system_prompt: {kind: clock, at_token: 11}}}", ("twins.x.bad: habits.system_prompt.at_token (11)", "allowed: 0 to")),
        ("twins.x={bad: {system_prompt: clok}}", ("twins.x.bad.system_prompt", "'fixed', 'clock'")),
        ("seed=true", ("seed = 'true'", "valid integer")),
        ("workload.sessions=yes", ("workload.sessions = 'true'", "valid integer")),
        ("workload.arrival.rate_per_s=true", ("workload.arrival.rate_per_s = 'true'", "valid number")),
        ("workload.turns={distribution: geometric, mean: true}", ("workload.turns.mean = 'true'", "valid number")),
        ("systems.one={kind: provider, provider: anthropic, model: claude-opus-5, price: {write_usd_per_1m: {5m: true}}}", ("price.write_usd_per_1m.5m = 'true'", "valid number")),
        ("workload.sessions=9223372036854775808", ("workload.sessions = 9223372036854775808", "less than or equal to 1000000000000")),
        ("workload.tenants=10000000000000000000000", ("workload.tenants = 10000000000000000000000", "less than or equal to 1000000000000")),
        ("workload.turns=1e300", ("workload.turns: draws reach 1e+300", "allowed: up to 1e+12")),
        ("workload.turns=9e11", ("workload.turns: 2.7e+12 in all sessions", "allowed: up to 1e+12")),
        ("workload.user_tokens=1e22", ("workload.user_tokens: draws reach 1e+22", "allowed: up to 1e+12")),
        ("workload.reply_tokens={distribution: lognormal, median: 1, sigma: 99}", ("workload.reply_tokens: draws reach", "allowed: up to 1e+12")),
        ("workload.reply_tokens={distribution: lognormal, mean: 1, sigma: 1e200}", ("workload.reply_tokens.sigma = 1e+200", "less than or equal to 100")),
        ("workload.system_prompt.tokens=1e12", ("(session 0, turn 2): prompt and reply have 1,000,000,000,020 tokens", "allowed: up to 1,000,000,000,000")),
        ("systems.one.replicas=1000000000", ("systems.one.replicas = 1000000000", "less than or equal to 100000")),
        ("systems.one.latency={kind: constant, iteration_s: 1e300}", ("systems.one.latency.iteration_s = 1e+300", "less than or equal to 1000000")),
        ("systems.one.latency={kind: constant, iteration_s: 1e-300}", ("systems.one.latency: an iteration of one token takes 1e-300 s", "allowed: at least 1e-09 s")),
        ("systems.one.latency={kind: linear, token_s: 1e308}", ("systems.one.latency.token_s = 1e+308", "less than or equal to 1000000")),
        ("systems.one.latency={mfu: 1e-300}", ("systems.one.latency.mfu = 1e-300", "greater than or equal to 0.001")),
        ("systems.one.sample_s=1e-9", ("systems.one.sample_s = 1e-09", "greater than or equal to 0.001")),
        ("systems.one.failures=[{replica: 0, at_s: 0, back_s: 1e300}]", ("systems.one.failures.0.back_s = 1e+300", "less than or equal to 10000000000")),
        ("systems.one.memory.reserved_gib=1e300", ("systems.one.memory.reserved_gib = 1e+300", "less than or equal to 1000000")),
        ("systems.one.kv_link={gb_per_s: 1e-300}", ("systems.one.kv_link.gb_per_s = 1e-300", "greater than or equal to 0.000001")),
        ("systems.one.kv_link={gb_per_s: 1, latency_ms: 1e300}", ("systems.one.kv_link.latency_ms = 1e+300", "less than or equal to 1000000000")),
        ("systems.one.price={gpu_hour_usd: 1e308}", ("systems.one.price.gpu_hour_usd = 1e+308", "less than or equal to 1000000000")),
        ("systems.one.price={gpu_hour_usd: 1, output_usd_per_1m: 2}", ("systems.one.price: gpu_hour_usd pays for everything", "allowed: no price per token")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a}, {name: b}]}}", ("systems.one.cache.tiers.0.capacity_blocks is missing", "allowed: a number of blocks")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: b}, {name: c}]}}", ("systems.one.cache: tiers.1.capacity_blocks is missing", "allowed: unlimited in the last tier only")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: ''}]}}", ("systems.one.cache.tiers.1.name = ''", "at least 1 character")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: b, latency_ms: 5}]}}", ("tiers.1.latency_ms goes with gb_per_s",)),
        ("systems.one.model=~nobody-of-this-name/config.json", ("~nobody-of-this-name/config.json: Could not determine home directory",)),
        ("systems.one.latency={profile: %s}" % ("x" * 300), ("xxx: File name too long; allowed: the path of a file",)),
        ("systems.one.²=3", ("systems.one", "unknown key '²'")),
        ("systems.one.cache={kind: block, kind: radix}", ("--set systems.one.cache={kind: block, kind: radix}: kind is given twice", "allowed: once")),
        ("workload=&a {kind: *a}", ("workload",)),
        ("workload.sessions=" + "[" * 3000, ("nested too deeply",)),
        ('claims=[{system: one, quantity: cost, saved: 0.5, source: "\\ud800"}]', ("'\\ud800' is not text", "allowed: whole characters")),
        ("=3", ("--set =3", "dotted.key=value")),
        ("workload.sessions.x=3", ("--set workload.sessions.x=3", "not a section")),
    ],
)  # fmt: skip
def test_settings(cli_here, tmp_path: Path, setting: str, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A wrong value anywhere in the configuration."""
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, "--out", "out", said=said)


def test_habits_need_a_chat(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The study of habits refuses what has none, and a folder that it cannot write, before it runs."""
    script = {"kind": "script", "messages": {"a": 1}, "requests": [{"prompt": ["a"], "reply": "a"}]}
    path = _write(tmp_path, text=json.dumps(GOOD | {"workload": script}))
    _fails(cli_here, tmp_path, "habits", path, said=("workload.kind = 'script'", "allowed: chat"))
    (tmp_path / "taken").write_text("mine")
    _fails(cli_here, tmp_path, "habits", _write(tmp_path), "--out", "taken", said=("--out taken",))


def test_capacity_needs_limits_and_a_rate(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The study of capacity says what it lacks before it runs; nothing is written."""
    path, slo = _write(tmp_path), ("--set", "slo={ttft_ms: 500}")
    closed = ("--set", "workload.arrival={process: closed_loop, concurrency: 2}")
    replay = ("--set", "systems={x: {kind: cache, cache: {kind: ideal}}}")
    _fails(cli_here, tmp_path, "capacity", path, said=("slo is missing; allowed: limits",))
    _fails(cli_here, tmp_path, "capacity", path, *slo, *closed, said=("'closed_loop'", "allowed: poisson"))
    _fails(cli_here, tmp_path, "capacity", path, *slo, *replay, said=("at least one of kind engine",))
    _fails(cli_here, tmp_path, "capacity", path, *slo, "--precision", "0", said=("--precision 0; allowed",))
    _fails(
        cli_here, tmp_path, "capacity", path, "--set", "slo={ttft_ms: 5, share: 2}", said=("slo.share = 2",)
    )
    (tmp_path / "taken").write_text("mine")
    _fails(cli_here, tmp_path, "capacity", path, *slo, "--out", "taken", said=("--out taken",))


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
        ("systems.one={kind: provider, provider: qwen, model: qwen3-max}", ("systems.one.price.input_usd_per_1m is missing",)),
        ("systems.one={kind: provider, provider: openai, model: gpt-5, caching: {mode: explicit}}", ("systems.one.caching.mode = 'explicit'", "allowed: automatic, off")),
        ("systems.one={kind: provider, provider: openai, model: gpt-5, caching: {marks: last}}", ("systems.one.caching.marks = 'last'", "allowed: none")),
        ("systems.one={kind: provider, provider: bedrock, model: claude-opus-5, caching: {mode: explicit}, tier: batch}", ("systems.one.tier = 'batch'", "allowed: standard")),
        ("systems.one={kind: provider, provider: anthropic, model: claude-opus-5, rules: {batch: false}, tier: batch}", ("systems.one.tier = 'batch'", "caches no batch requests")),
        (HOSTED % "caching: {ttl: 2h}", ("systems.one.caching.ttl = '2h'", "does not sell", "allowed: 5m, 1h")),
        (HOSTED % "caching: {mode: explicit, marks: window, window: 5}", ("5 marks in a request", "allowed: at most 4")),
        (HOSTED % "caching: {marks: window}", ("5 marks in a request", "and the automatic one", "allowed: at most 4")),
        (HOSTED % "caching: {marks: everywhere}", ("systems.one.caching.marks = 'everywhere'", "'window'")),
        (HOSTED % "caching: {marks: system, system_ttl: 5m, ttl: 1h}", ("systems.one.caching.system_ttl = '5m'", "longer ones come first")),
        (HOSTED % "caching: {system_ttl: 1h}", ("systems.one.caching.system_ttl = '1h'", "allowed: with marks system or all")),
        (HOSTED % "price: {input_usd_per_1m: -1}", ("systems.one.price.input_usd_per_1m = -1", "greater than or equal to 0")),
        (HOSTED % "price: {write_usd_per_1m: {5m: -2}}", ("systems.one.price.write_usd_per_1m.5m = -2", "greater than or equal to 0")),
        (HOSTED % "price: {write_usd_per_1m: {7m: 2}}", ("systems.one.price.write_usd_per_1m.7m", "allowed: 5m, 1h")),
        (HOSTED % "tier: flex", ("systems.one.tier = 'flex'", "allowed: standard, batch, fast")),
        (HOSTED % "start: 1999-01-01", ("systems.one.start", "2000 to 2100")),
        (HOSTED % "rules: {min_tokens: -1}", ("systems.one.rules.min_tokens = -1", "greater than or equal to 0")),
        (HOSTED % "rules: {min_token: 1}", ("systems.one.rules", "unknown key 'min_token'", "did you mean 'min_tokens'")),
        (HOSTED % "latency: {base_s: -1}", ("systems.one.latency.base_s = -1", "greater than or equal to 0")),
        (CUSTOM % "price: {input_usd_per_1m: 1}", ("systems.one.rules.kind", "Field required")),
        (CUSTOM % "rules: {kind: grid, lifetimes: [{name: a, seconds: 300}]}", ("systems.one.price.input_usd_per_1m is missing",)),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 9, longest_s: 3}]}", ("systems.one.rules.lifetimes.0", "longest_s (3) must be at least seconds (9)")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 9}, {name: a, seconds: 5}]}", ("systems.one.rules: lifetimes a, a", "each name once")),
        (HOSTED % "price: {multiply: 1e308}", ("systems.one.price.multiply = 1e+308", "less than or equal to 1000000")),
        (HOSTED % "price: {input_usd_per_1m: 1e308}", ("systems.one.price.input_usd_per_1m = 1e+308", "less than or equal to 1000000000")),
        ("systems.one={kind: provider, provider: groq, model: whisper-large-v3}", ("systems.one.model = 'whisper-large-v3' has no price of input tokens", "allowed: a model that reads text")),
        (GRID % "storage_usd_per_mtok_hour: [{match: '[', usd: 1}]", ("systems.one.rules.storage_usd_per_mtok_hour.0.match = '['", "allowed: a regular expression")),
        (GRID % "peak: {windows_utc: [['10:00Z', '11:00Z']], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc.0", "allowed: [begin, end] of one day in UTC")),
        (GRID % "peak: {windows_utc: [['11:00', '10:00']], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc.0", "allowed: [begin, end] of one day in UTC")),
        (GRID % "peak: {windows_utc: [['11:00', '12:00']], weekdays: [7], mult: 2}", ("systems.one.rules.peak.weekdays.0 = 7", "less than or equal to 6")),
        (GRID % "peak: {windows_utc: [], weekdays: [0], mult: 2}", ("systems.one.rules.peak.windows_utc", "at least 1")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: a, seconds: 1e300}]}", ("systems.one.rules.lifetimes.0.seconds = 1e+300", "less than or equal to 1000000000000000")),
        (CUSTOM % "price: {input_usd_per_1m: 1}, rules: {kind: grid, lifetimes: [{name: '', seconds: 1}]}", ("systems.one.rules.lifetimes.0.name = ''", "at least 1 character")),
        ("systems.one.start=2026-13-01", ("--set systems.one.start=2026-13-01", "not YAML")),
    ],
)  # fmt: skip
def test_providers(cli_here, tmp_path: Path, setting: str, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A hosted API that does not exist, does not sell what is asked for, or has impossible prices."""
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, "--out", "out", said=said)


def test_marks_on_messages_that_the_trace_lacks(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A mark at the end of the system message needs a trace with system messages."""
    (tmp_path / "trace.jsonl").write_text(json.dumps(LINE) + "\n")
    config = _write(tmp_path, text=json.dumps(GOOD | {"workload": TRACE}))
    said = ("systems.one.caching.marks = 'system'", "no system messages", "allowed: none, last, window")
    setting = HOSTED % "caching: {marks: system}"
    _fails(cli_here, tmp_path, "run", config, "--set", setting, said=said)


def test_line_of_the_key(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The message names the line on which the key stands; every problem is listed at once."""
    text = "name: x\nseed: -1\nworkload:\n  kind: script\n  messages: {a: 0}\n  requests: []\nsystems: {}\n"
    path = _write(tmp_path, text=text)
    said = ("bad.yaml:2: seed = -1", "bad.yaml:5: workload.messages.a = 0", "bad.yaml:6: workload.requests")
    _fails(cli_here, tmp_path, "check", path, said=said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", (":1: not YAML",)),
        ("", ("keys and values",)),
        ("- 1\n", ("keys and values",)),
        ("name: a\nname: b\n", (":2: name is given twice",)),
        ("a: &a [*a]\n", ("unknown key 'a'",)),
        ("name: \x00", ("not YAML",)),
        ("a: " + "[" * 3000, ("bad.yaml: nested too deeply",)),
        ('name: "\\udc00"\n', (":1: '\\udc00' is not text",)),
    ],
)
def test_files(cli_here, tmp_path: Path, text: str, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A file that is not a configuration."""
    _fails(cli_here, tmp_path, "run", _write(tmp_path, text=text), said=said)


def test_missing_config(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The file named on the command line does not exist, or is no text."""
    _fails(cli_here, tmp_path, "run", "none.yaml", said=("none.yaml: No such file",))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    _fails(cli_here, tmp_path, "run", "binary.yaml", said=("binary.yaml: not UTF-8",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", ("trace.jsonl:2: not JSON", "one JSON object a line")),
        ("[1, 2]", ("trace.jsonl:2:", "not a JSON object")),
        (json.dumps(LINE | {"input_length": -1}), ("trace.jsonl:2: input_length = -1", "at least 1")),
        (json.dumps(LINE | {"output_length": 0}), ("trace.jsonl:2: output_length = 0", "at least 1")),
        (json.dumps(LINE | {"output_length": "5"}), ("trace.jsonl:2: output_length = '5'", "whole number")),
        (json.dumps(LINE | {"timestamp": None}), ("trace.jsonl:2: timestamp = None",)),
        (json.dumps(LINE | {"timestamp": float("nan")}), ("trace.jsonl:2: timestamp = nan",)),
        (json.dumps(LINE | {"hash_ids": [0]}), ()),
        ("[" * 100_000, ("trace.jsonl:2: not JSON",)),
        (json.dumps(LINE | {"timestamp": 10**400}), ("trace.jsonl:2: timestamp = 1000", "a number of at least 0")),
        (json.dumps(LINE | {"timestamp": 10**20}), ("workload: times reach 1e+17 s", "allowed: arrivals")),
        (json.dumps(LINE | {"input_length": 10**400}), ("trace.jsonl:2: input_length = 1000", "at least 1, up to 1e+12")),
        (json.dumps(LINE | {"output_length": 10**13}), ("trace.jsonl:2: output_length = 10000000000000", "up to 1e+12")),
        (json.dumps(LINE | {"hash_ids": []}), ("trace.jsonl:2: hash_ids has 0 ids", "1 to 2")),
        (json.dumps(LINE | {"hash_ids": [0, 1, 2]}), ("trace.jsonl:2: hash_ids has 3 ids", "1 to 2")),
        (json.dumps(LINE | {"hash_ids": [0, "1"]}), ("trace.jsonl:2: hash_ids", "a list of integers")),
        (json.dumps(LINE | {"input_length": 20_000_000, "hash_ids": list(range(39063))}),
         ("trace.jsonl:2: a prompt of 20000000 tokens", "KV blocks", "allowed: at most", "KV memory of systems.one")),
    ],
)  # fmt: skip
def test_trace_lines(cli_here, tmp_path: Path, line: str, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A bad line of a trace is named by file and line; a missing partial id is not bad."""
    (tmp_path / "trace.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n")
    config = _write(tmp_path, text=json.dumps(GOOD | {"workload": TRACE}))
    if said:
        _fails(cli_here, tmp_path, "run", config, said=said)
    else:
        assert cli_here("check", config).returncode == 0


def test_trace_missing_or_empty(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """No file, and a file without requests."""
    config = _write(tmp_path, text=json.dumps(GOOD | {"workload": TRACE}))
    _fails(cli_here, tmp_path, "run", config, said=("trace.jsonl: no such file; looked for",))
    (tmp_path / "trace.jsonl").write_text("\n")
    _fails(cli_here, tmp_path, "run", config, said=("trace.jsonl: no requests",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arrival": 10**400}, ("arrival = 1000", "a number of at least 0")),
        ({"session": 10**30}, ("session = 1000", "up to 1e+12")),
        ({"turn": 10**30}, ("turn = 1000", "up to 1e+12")),
        ({"id": "\ud800"}, ("id = '\\ud800'", "allowed: printable text")),
    ],
)
def test_token_trace_lines(
    cli_here, tmp_path: Path, change: dict[str, object], said: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    """What no table of requests can hold."""
    line = {"id": "a", "tokens": [1, 2], "output_tokens": [3], "arrival": 0}
    (tmp_path / "trace.jsonl").write_text(json.dumps(line | change) + "\n")
    config = _write(tmp_path, text=json.dumps(GOOD | {"workload": TRACE | {"format": "tokens"}}))
    _fails(cli_here, tmp_path, "run", config, said=("trace.jsonl:1: ", *said))


def test_curve_options(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The curve refuses the same workloads as a run, and blocks that no prompt fills."""
    path = _write(tmp_path)
    _fails(
        cli_here, tmp_path, "curve", path, "--block-size", str(10**30), said=("--block-size 1000", "up to")
    )
    for setting, said in (
        ("workload.system_prompt.tokens=1e12", "prompt and reply have"),
        ("workload.arrival.rate_per_s=1e-300", "workload: times reach"),
    ):
        _fails(cli_here, tmp_path, "curve", path, "--set", setting, said=(said,))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("anthropic", "--day", "2026-11-24T10:00+05:00"), "--day 2026-11-24T10:00+05:00: not a date"),
        (("anthropic", "--day", "0001-01-01"), "--day 0001-01-01: allowed: from 2000 to 2100"),
        (("groq:whisper-large-v3",), "groq.model = 'whisper-large-v3' has no price of input tokens"),
    ],
)
def test_breakeven(cli_here, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:  # type: ignore[no-untyped-def]
    """A day that is none, and a model whose prompts have no price."""
    _fails(cli_here, tmp_path, "breakeven", *arguments, said=(said,))


def test_ids_without_ids(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The cache of block ids needs a trace that has them."""
    setting = "systems.one={kind: cache, cache: {kind: ids}}"
    _fails(
        cli_here,
        tmp_path,
        "run",
        _write(tmp_path),
        "--set",
        setting,
        said=("systems.one.cache.kind = 'ids'",),
    )


def test_out_is_a_file(cli_here, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The output folder cannot be made: said before anything is simulated."""
    (tmp_path / "taken").write_text("mine")
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--out", "taken", said=("--out taken",))
    assert (tmp_path / "taken").read_text() == "mine"


SLO = ("--set", "slo={ttft_ms: 500}")


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x" * 300, "File name too long"),
        ("dangling", "dangling is not a folder"),
        ("/proc/nothing-can-be-made-here", ""),
    ],
)
@pytest.mark.parametrize("command", ["run", "curve"])
def test_out_cannot_be_made(cli_here, tmp_path: Path, command: str, out: str, said: str) -> None:  # type: ignore[no-untyped-def]
    """Whatever keeps the folder from being made is one message."""
    (tmp_path / "dangling").symlink_to("nowhere")
    _fails(cli_here, tmp_path, command, _write(tmp_path), "--out", out, said=(f"--out {out}", said))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(("run",), "summary.json"), (("curve",), "curve.png"), (("capacity", *SLO), "capacity.json")],
)
def test_a_folder_where_a_file_belongs(  # type: ignore[no-untyped-def]
    cli_here, tmp_path: Path, arguments: tuple[str, ...], name: str
) -> None:
    """Then no file is written, not even those before it."""
    (tmp_path / "out" / name).mkdir(parents=True)
    command, *options = arguments
    said = (f"--out out: {name} is a folder there", "allowed: a file")
    _fails(cli_here, tmp_path, command, _write(tmp_path), *options, "--out", "out", said=said)


@pytest.mark.parametrize("arguments", [("run",), ("habits",), ("capacity", *SLO)])
def test_the_experiment_is_not_overwritten(cli_here, tmp_path: Path, arguments: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """Results go beside an experiment called config.yaml only if it would stay as it is."""
    text = json.dumps(GOOD)
    (tmp_path / "config.yaml").write_text(text)
    command, *options = arguments
    said = ("--out .: the resolved experiment would overwrite config.yaml", "allowed: another folder")
    _fails(cli_here, tmp_path, command, "config.yaml", *options, "--out", ".", said=said)
    assert (tmp_path / "config.yaml").read_text() == text


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_local_experts": 8}, ("num_local_experts = 8", "dense models")),
        ({"kv_lora_rank": 512}, ("kv_lora_rank = 512",)),
        ({"sliding_window": 4096}, ("sliding_window = 4096",)),
        ({"num_hidden_layers": None}, ("num_hidden_layers = None",)),
        ({"torch_dtype": "int4"}, ("dtype = 'int4'", "bfloat16")),
        ({"torch_dtype": ["bfloat16"]}, ("dtype = ['bfloat16']", "bfloat16")),
        ({"hidden_size": "64x"}, ("hidden_size = '64x'", "valid integer")),
        ({"layer_types": [{}]}, ("layer_types = [{}]", "dense models")),
        (
            {"num_key_value_heads": 3},
            ("num_attention_heads (4) must be a multiple of num_key_value_heads (3)",),
        ),
        ({"num_hidden_layers": 10**9}, ("parameters; at most 1e+13",)),
        ({"name": "\ud800"}, ("name ('\\ud800') must be printable",)),
    ],
)
def test_hugging_face_config(
    cli_here, tmp_path: Path, config: dict[str, object], said: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    """A model that the arithmetic does not describe is refused by name, not computed wrongly."""
    base = {
        "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128,
        "vocab_size": 1000, "max_position_embeddings": 512,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(base | config))
    setting = "systems.one.model=config.json"
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, said=("config.json", *said))


def test_exit_code_of_the_process(cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The same through a real process: exit code 2, one message, no traceback, nothing written."""
    _fails(cli, tmp_path, "run", _write(tmp_path), "--set", "workload.sessions=0", said=("greater than 0",))


def test_a_profile_of_another_model(cli_here, tmp_path: Path, root: Path) -> None:  # type: ignore[no-untyped-def]
    """Measured times go with the model that they were measured for."""
    path = next((root / "calibration" / "profiles").glob("*.tiny-40m.*.yaml"))
    setting = f"systems.one.latency={{profile: {path}}}"
    said = ("systems.one.latency.profile", "measured for Tiny 40M in float32", "not for Meta Llama 3 8B")
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, said=said)
    other = tmp_path / "p.yaml"
    other.write_text(path.read_text().replace("kvprofile/1", "kvprofile/0"))
    setting = "systems.one.latency={profile: p.yaml}"
    said = ("p.yaml: schema = kvprofile/0", "kvprofile/1")
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, said=said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_nowhere_to_print_to(tmp_path: Path, root: Path) -> None:
    """A full disk behind the redirected output is one message too."""
    command = [sys.executable, "-m", "sim", "check", str(root / "configs" / "quickstart.yaml")]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "No space left" in done.stderr
    assert "Traceback" not in done.stderr
