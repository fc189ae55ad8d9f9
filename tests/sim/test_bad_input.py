# ruff: noqa: E501 (tables of cases)
"""Bad input: one message with place, key, value and what is allowed; exit code 2; nothing written."""

from __future__ import annotations

import json
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
        ("systems.one.sample_s=0", ("systems.one.sample_s = 0", "greater than 0")),
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


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_local_experts": 8}, ("num_local_experts = 8", "dense models")),
        ({"kv_lora_rank": 512}, ("kv_lora_rank = 512",)),
        ({"sliding_window": 4096}, ("sliding_window = 4096",)),
        ({"num_hidden_layers": None}, ("num_hidden_layers = None",)),
        ({"torch_dtype": "int4"}, ("dtype = 'int4'", "bfloat16")),
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
