# ruff: noqa: E501 (tables of cases)
"""Bad input: one message with place, key, value and what is allowed; exit code 2; nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.refusing import Cli, refused
from tests.sim.bad import GOOD, written

PROFILE = Path(__file__).parents[2] / "calibration/profiles/epyc-1-thread.tiny-40m.float32.yaml"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("workload.sesions=3", ("unknown key 'sesions'", "did you mean 'sessions'", "allowed: kind, sessions")),
        ("workload.sessions=three", ("workload.sessions = 'three'", "allowed: a whole number")),
        ("workload.sessions=0", ("workload.sessions = 0", "above 0")),
        ("workload.user_tokens=-5", ("workload.user_tokens = -5", "at least 0")),
        ("workload.kind=chats", ("workload", "'chats'", "did you mean 'chat'?", "mix, script, trace")),
        ("workload.turns={distribution: normal}", ("workload.turns", "'normal'", "geometric, lognormal")),
        ("workload.arrival.rate_per_s=.nan", ("workload.arrival.rate_per_s = nan",)),
        ("systems.one.model=llama-3-9b", ("systems.one.model = 'llama-3-9b'", "did you mean 'llama-3-8b'", "qwen")),
        ("systems.one.hardware=h300", ("systems.one.hardware = 'h300'", "h200", "l4")),
        ("systems.one.model=llama-3.1-70b", ("systems.one.model", "Llama 3.1 70B does not fit", "on each GPU; allowed: less than")),
        ("systems.one.cache.kind=redis", ("systems.one.cache", "'redis'", "did you mean 'radix'? allowed: block, ids")),
        ("systems.one.latency={profile: no.yaml}", ("no.yaml: no such file; looked for",)),
        ("systems.one.memory.kv_blocks=1", ("systems.one.memory.kv_blocks = 1: vLLM's null block is one of them", "at least 2")),
        ("systems.one.price={}", ("systems.one.price", "give either gpu_hour_usd or input_usd_per_1m")),
        ("systems={}", ("systems", "at least 1")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: ideal}, engine: {scheduler_reserve_full_isl: false}}",
         ("systems.one.engine.scheduler_reserve_full_isl = False", "allowed: true")),
        ("systems.one.cache={block_size: 4}", ("systems.one.cache: the key kind is missing", "allowed: block, ids",)),
        ("workload.sessions=1000000000000", ("not enough memory", "make the workload smaller")),
        ("workload.arrival.rate_per_s=1e-300", ("workload: times reach", "allowed: arrivals and think times up to")),
        ("systems.one.engine={max_num_batched_tokens: 4, max_num_seqs: 8}",
         ("systems.one.engine: max_num_batched_tokens (4) must be at least max_num_seqs (8)",)),
        ("systems.one.engine={kind: trt}", ("systems.one.engine", "'trt'", "allowed: vllm, sglang")),
        ("systems.one.engine={kind: sglang, schedule_policy: best}",
         ("systems.one.engine.schedule_policy = 'best'", "allowed: fcfs, lpm, dfs-weight")),
        ("systems.one.engine={kind: sglang, max_num_seqs: 4}",
         ("systems.one.engine: unknown key 'max_num_seqs'", "allowed: kind, max_model_len, chunked_prefill_size")),
        ("systems.one.engine={kind: sglang, chunked_prefill_size: 0}",
         ("systems.one.engine.chunked_prefill_size = 0", "allowed: at least 1, or -1")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: radix, page_size: 3}, engine: {kind: sglang}}",
         ("systems.one.engine.chunked_prefill_size = 8192 is not divisible by the cache's page_size (3)", "a multiple of it")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: block}, engine: {kind: sglang}}",
         ("systems.one.cache.kind = 'block' does not go with engine.kind sglang", "allowed: radix, none")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, cache: {kind: radix, page_size: 16, capacity_tokens: 9}, engine: {kind: sglang}}",
         ("systems.one.cache.capacity_tokens = 9", "at least a page (16)")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, memory: {gpu_memory_utilization: 0.9}, engine: {kind: sglang}}",
         ("systems.one.memory.gpu_memory_utilization = 0.9 is vLLM's", "allowed with engine.kind sglang: mem_fraction_static")),
        ("systems.one.memory.mem_fraction_static=0.8", ("systems.one.memory.mem_fraction_static = 0.8 is SGLang's", "gpu_memory_utilization")),
        ("systems.one.memory={kv_blocks: 900, reserved_gib: 2, gpu_memory_utilization: 0.8}",
         ("systems.one.memory: gpu_memory_utilization and reserved_gib would change nothing: kv_blocks = 900 is given", "kv_blocks alone")),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, memory: {reserved_gib: 2}, cache: {kind: block, capacity_blocks: 900}}",
         ("systems.one.memory: reserved_gib would change nothing: the cache's capacity of 900 blocks is given", "one of both")),
        ("systems.one.memory.estimate=true", ("systems.one.memory: estimate goes with kv_blocks", "both or none")),
        ("systems.one.engine={version: 0.19}", ("systems.one.engine.version = 0.19: not a release", "in quotes")),
        ("systems.one.hardware=no-gpu.yaml", ("no-gpu.yaml: no such file; looked for",)),
        ("systems.one={kind: engine, model: llama-3-8b, hardware: h200, engine: {kind: sglang, max_new_tokens: 3}}",
         ("request 0 (session 0, turn 1): a reply of", "allowed: at most systems.one.engine.max_new_tokens (3)")),
        ("systems.one.router=[]", ("systems.one.router = []: allowed: round_robin", "or a mapping with kind and parameters")),
        ("systems.one.router={kind: prefixes}", ("systems.one.router: kind = 'prefixes'; did you mean 'prefix'? allowed: round_robin",)),
        ("systems.one.router={kind: [prefix]}", ("systems.one.router: kind = \"['prefix']\"", "allowed: round_robin")),
        ("systems.one.pools=3", ("systems.one.pools = 3: allowed: a list",)),
        ("systems.one.pools=[3]", ("systems.one.pools.0 = 3: allowed: a mapping",)),
        ("systems.one.pools=[{role: prefil}]", ("systems.one.pools.0.role = 'prefil': did you mean 'prefill'? allowed: both, prefill, decode",)),
        ("systems.one={kind: provider, provider: anthropic}", ("systems.one.model is missing",)),
        ("systems.one.kv_link={}", ("systems.one.kv_link.gb_per_s is missing",)),
        ("systems.one.deadline_s=[]", ("systems.one.deadline_s = []: allowed: a number, or a mapping with distribution",)),
        ("systems.one.gpu_memory_utilization=0.9", ("systems.one: unknown key 'gpu_memory_utilization' (it is memory.gpu_memory_utilization of a system)",)),
        ("systems.one.engine={scheduling_policy: priority}", ("systems.one.engine: unknown key 'scheduling_policy' (it is engine.policy of a system)",)),
        ("systems.one.engine={kind: sglang, max_num_seqs: 3}", ("unknown key 'max_num_seqs' (SGLang's is max_running_requests)",)),
        ("workload.rate_per_s=3", ("workload: unknown key 'rate_per_s' (it is arrival.rate_per_s of the workload)",)),
        ("systems.one.engine={disable_overlap_schedule: true}", ("systems.one.engine: unknown key 'disable_overlap_schedule'; allowed: kind",)),
        ("systems.one.router=magic", ("systems.one.router = 'magic'", "round_robin", "kv_aware")),
        ("systems.one.router=prefixes", ("systems.one.router = 'prefixes': did you mean 'prefix'? allowed:",)),
        ("systems.one.router=3", ("systems.one.router = 3", "allowed: round_robin", "or a mapping with kind and parameters")),
        ("systems.one.router={kind: prefixes}", ("systems.one.router", "'prefixes'", "prefix, kv_aware")),
        ("systems.one.router={cache_threshold: 0.2}", ("systems.one.router: the key kind is missing", "allowed: round_robin",)),
        ("systems.one.router={kind: prefix, cache_threshold: 2}", ("systems.one.router.cache_threshold = 2", "at most 1")),
        ("systems.one.router={kind: prefix, cache_treshold: 0.2}", ("systems.one.router: unknown key 'cache_treshold' (did you mean 'cache_threshold'?)",)),
        ("systems.one.router={kind: random, points: 3}", ("systems.one.router: unknown key 'points'", "allowed: kind")),
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
        ("systems.one.deadline_s=-1", ("systems.one.deadline_s = -1",)),
        ("systems.one.retries={max_retries: 1}", ("systems.one.retries: every request waits until it is served", "with deadline_s, max_queued_requests or")),
        ("systems.one.max_queued_requests=0", ("systems.one.max_queued_requests = 0", "above 0")),
        ("systems.one={kind: engine, model: qwen2.5-7b, hardware: h200, tensor_parallel: 7}", ("systems.one.tensor_parallel = 7 neither divides the 4 KV heads",)),
        ("systems.one.sample_s=0", ("systems.one.sample_s = 0", "at least 0.001")),
        ("systems.one.cache={kind: tiered, tiers: [{name: a}, {name: b, gb_per_s: 1}, {name: c}]}", ("gb_per_s is given for some tiers only",)),
        ("systems.one.cache={kind: tiered, tiers: [{name: a}, {name: a}]}", ("two tiers have the same name",)),
        ("systems.one={kind: engine, memory: {kv_blocks: 99}, latency: {kind: constant, iteration_s: 1}, cache: {kind: tiered, tiers: [{name: a}, {name: b, gb_per_s: 1}]}}",
         ("systems.one.model is missing, and KV travels", "allowed: a model")),
        ("warmup_s=-1", ("warmup_s = -1", "at least 0")),
        ("until_s=0", ("until_s = 0", "above 0")),
        ("workload.arrival={process: profile, rates_per_s: [0, 0]}", ("workload.arrival", "rates_per_s: all are 0; allowed: at least one above")),
        ("workload.arrival={process: profile, rates_per_s: [1, -1]}", ("workload.arrival.rates_per_s.1 = -1", "at least 0")),
        ("workload.arrival={process: profile, rates_per_s: []}", ("workload.arrival.rates_per_s", "at least 1")),
        ("workload.arrival={process: closed_loop, concurrency: 0}", ("workload.arrival.concurrency = 0", "above 0")),
        ("name=a/b", ("name = 'a/b'", "allowed: letters, digits, - and _")),
        ("workload.habits=polite", ("workload.habits = 'polite'", "allowed: a mapping")),
        ("workload.habits={histroy: append}", ("unknown key 'histroy'", "did you mean 'history'", "system_prompt, dynamic_fields, history")),
        ("workload.habits.history=windows", ("workload.habits.history", "'windows'", "append, window, summarise, edit")),
        ("workload.habits.history={kind: window, tokens: 3}", ("unknown key 'tokens'", "allowed: kind, turns")),
        ("workload.habits.history={kind: window, turns: 0}", ("workload.habits.history.turns = 0", "above 0")),
        ("workload.habits.history={kind: edit, turn: 0}", ("workload.habits.history", "turn 0 does not exist; allowed: 1, 2, ...")),
        ("workload.habits.history={kind: summarise, turns: 1}", ("keep_turns (2) must not exceed turns (1)",)),
        ("workload.habits.system_prompt={kind: clock, at_token: 11}",
         ("workload: habits.system_prompt.at_token (11) lies behind", "allowed: 0 to system_prompt.tokens (10)")),
        ("workload.habits.dynamic_fields=assistant", ("workload.habits.dynamic_fields", "allowed: none, user, system")),
        ("habit_pairs.x={good: {history: append}}", ("habit_pairs.x.bad is missing",)),
        ("habit_pairs.x={bad: {history: append}}", ("habit_pairs.x: good and bad are the same habits",)),
        ("habit_pairs.x={bad: {system_prompt: {kind: clock, at_token: 11}}}", ("habit_pairs.x.bad: habits.system_prompt.at_token (11)", "allowed: 0 to")),
        ("habit_pairs.x={bad: {system_prompt: clok}}", ("habit_pairs.x.bad.system_prompt", "allowed: fixed, clock")),
        ("seed=true", ("seed = 'true'", "allowed: a whole number")),
        ("workload.sessions=yes", ("workload.sessions = 'true'", "allowed: a whole number")),
        ("workload.arrival.rate_per_s=true", ("workload.arrival.rate_per_s = 'true'", "allowed: a number")),
        ("workload.turns={distribution: geometric, mean: true}", ("workload.turns.mean = 'true'", "allowed: a number")),
        ("systems.one={kind: provider, provider: anthropic, model: claude-opus-5, price: {write_usd_per_1m: {5m: true}}}", ("price.write_usd_per_1m.5m = 'true'", "allowed: a number")),
        ("workload.sessions=9223372036854775808", ("workload.sessions = 9223372036854775808", "at most 1e12")),
        ("workload.tenants=10000000000000000000000", ("workload.tenants = 10000000000000000000000", "at most 1e12")),
        ("workload.turns=1e300", ("workload.turns: draws reach 1e+300", "allowed: up to 1e+12")),
        ("workload.turns=9e11", ("workload.turns: 2.7e+12 in all sessions", "allowed: up to 1e+12")),
        ("workload.user_tokens=1e22", ("workload.user_tokens: draws reach 1e+22", "allowed: up to 1e+12")),
        ("workload.reply_tokens={distribution: lognormal, median: 1, sigma: 99}", ("workload.reply_tokens: draws reach", "allowed: up to 1e+12")),
        ("workload.reply_tokens={distribution: lognormal, mean: 1, sigma: 1e200}", ("workload.reply_tokens.sigma = 1e+200", "at most 100")),
        ("workload.system_prompt.tokens=1e12", ("(session 0, turn 2): prompt and reply have 1,000,000,000,020 tokens", "allowed: up to 1,000,000,000,000")),
        ("systems.one.replicas=1000000000", ("systems.one.replicas = 1000000000", "at most 100000")),
        ("systems.one.latency={kind: constant, iteration_s: 1e300}", ("systems.one.latency.iteration_s = 1e+300", "at most 1e6")),
        ("systems.one.latency={kind: constant, iteration_s: 1e-300}", ("systems.one.latency: an iteration of one token takes 1e-300 s", "allowed: at least 1e-09 s")),
        ("systems.one.latency={kind: linear, token_s: 1e308}", ("systems.one.latency.token_s = 1e+308", "at most 1e6")),
        ("systems.one.latency={mfu: 1e-300}", ("systems.one.latency.mfu = 1e-300", "at least 0.001")),
        ("systems.one.sample_s=1e-9", ("systems.one.sample_s = 1e-09", "at least 0.001")),
        ("systems.one.failures=[{replica: 0, at_s: 0, back_s: 1e300}]", ("systems.one.failures.0.back_s = 1e+300", "at most 1e10")),
        ("systems.one.memory.reserved_gib=1e300", ("systems.one.memory.reserved_gib = 1e+300", "at most 1e6")),
        ("systems.one.kv_link={gb_per_s: 1e-300}", ("systems.one.kv_link.gb_per_s = 1e-300", "at least 1e-6")),
        ("systems.one.kv_link={gb_per_s: 1, latency_ms: 1e300}", ("systems.one.kv_link.latency_ms = 1e+300", "at most 1e9")),
        ("systems.one.price={gpu_hour_usd: 1e308}", ("systems.one.price.gpu_hour_usd = 1e+308", "at most 1e9")),
        ("systems.one.price={gpu_hour_usd: 1, output_usd_per_1m: 2}", ("systems.one.price: gpu_hour_usd pays for everything", "allowed: no price per token")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a}, {name: b}]}}", ("systems.one.cache.tiers.0.capacity_blocks is missing", "allowed: a number of blocks")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: b}, {name: c}]}}", ("systems.one.cache: tiers.1.capacity_blocks is missing", "allowed: unlimited in the last tier only")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: ''}]}}", ("systems.one.cache.tiers.1.name = ''", "at least 1 character")),
        ("systems.one={kind: cache, cache: {kind: tiered, tiers: [{name: a, capacity_blocks: 9}, {name: b, latency_ms: 5}]}}", ("tiers.1.latency_ms goes with gb_per_s",)),
        ("systems.one.model=~nobody-of-this-name/config.json", ("~nobody-of-this-name/config.json: Could not determine home directory",)),
        ("systems.one.latency={profile: %s}" % ("x" * 300), ("xxx...: File name too long; allowed: the path of a file",)),
        ("systems.one.²=3", ("systems.one", "unknown key '²'")),
        ("systems.one.cache={kind: block, kind: radix}", ("--set systems.one.cache={kind: block, kind: radix}: kind is given twice", "allowed: once")),
        ("workload=&a {kind: *a}", ("workload",)),
        ("workload.sessions=" + "[" * 3000, ("nested too deeply",)),
        ('claims=[{system: one, quantity: cost, saved: 0.5, source: "\\ud800"}]', ("'\\ud800' is not text", "allowed: whole characters")),
        ("=3", ("--set =3", "dotted.key=value")),
        ("workload.sessions.x=3", ("--set workload.sessions.x=3", "not a section")),
    ],
)  # fmt: skip
def test_settings(cli_here: Cli, tmp_path: Path, setting: str, said: tuple[str, ...]) -> None:
    """A wrong value anywhere in the configuration."""
    refused(cli_here, tmp_path, "run", written(tmp_path), "--set", setting, "--out", "out", said=said)


def test_a_window_has_a_length(cli_here: Cli, tmp_path: Path) -> None:
    """What is measured ends after it begins."""
    settings = ("--set", "warmup_s=9", "--set", "until_s=9")
    said = ("bad.yaml: until_s = 9; allowed: above warmup_s (9)",)
    refused(cli_here, tmp_path, "run", written(tmp_path), *settings, said=said)


def test_habits_need_a_chat(cli_here: Cli, tmp_path: Path) -> None:
    """The study of habits refuses what has none, and a folder that it cannot write, before it runs."""
    script = {"kind": "script", "messages": {"a": 1}, "requests": [{"prompt": ["a"], "reply": "a"}]}
    path = written(tmp_path, json.dumps(GOOD | {"workload": script}))
    refused(cli_here, tmp_path, "habits", path, said=("workload.kind = 'script'", "allowed: chat"))
    (tmp_path / "taken").write_text("mine")
    refused(cli_here, tmp_path, "habits", written(tmp_path), "--out", "taken", said=("--out taken",))


def test_capacity_needs_limits_and_a_rate(cli_here: Cli, tmp_path: Path) -> None:
    """The study of capacity says what it lacks before it runs; nothing is written."""
    path, slo = written(tmp_path), ("--set", "slo={ttft_ms: 500}")
    closed = ("--set", "workload.arrival={process: closed_loop, concurrency: 2}")
    replay = ("--set", "systems={x: {kind: cache, cache: {kind: ideal}}}")
    refused(cli_here, tmp_path, "capacity", path, said=("slo is missing; allowed: limits",))
    refused(cli_here, tmp_path, "capacity", path, *slo, *closed, said=("'closed_loop'", "allowed: poisson"))
    refused(cli_here, tmp_path, "capacity", path, *slo, *replay, said=("at least one of kind engine",))
    refused(
        cli_here,
        tmp_path,
        "capacity",
        path,
        *slo,
        "--precision",
        "0",
        said=("--precision 0; allowed: 1e-06 to",),
    )
    refused(
        cli_here, tmp_path, "capacity", path, "--set", "slo={ttft_ms: 5, share: 2}", said=("slo.share = 2",)
    )
    (tmp_path / "taken").write_text("mine")
    refused(cli_here, tmp_path, "capacity", path, *slo, "--out", "taken", said=("--out taken",))


def test_line_of_the_key(cli_here: Cli, tmp_path: Path) -> None:
    """The message names the line on which the key stands; every problem is listed at once."""
    text = (
        f"name: x\nseed: -1\nworkload:\n  kind: script\n  messages: {{a: 0, b: {10**30}}}\n  requests: []\n"
        "systems: {}\n"
    )
    path = written(tmp_path, text)
    said = (
        "bad.yaml:2: seed = -1",
        "bad.yaml:5: workload.messages.a = 0",
        f"bad.yaml:5: workload.messages.b = {10**30}: allowed: at most 1e12",
        "bad.yaml:6: workload.requests",
    )
    refused(cli_here, tmp_path, "check", path, said=said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", (":1: not YAML",)),
        ("", ("keys and values",)),
        ("- 1\n", ("keys and values",)),
        ("name: a\nname: b\n", (":2: name is given twice",)),
        ("a: &a [*a]\n", (":1: an alias stands inside what it names",)),
        ("name: \x00", ("not YAML",)),
        ("a: " + "[" * 3000, ("bad.yaml: nested too deeply",)),
        ('name: "\\udc00"\n', (":1: '\\udc00' is not text",)),
    ],
)
def test_files(cli_here: Cli, tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    """A file that is not a configuration."""
    refused(cli_here, tmp_path, "run", written(tmp_path, text), said=said)


def test_missing_config(cli_here: Cli, tmp_path: Path) -> None:
    """The file named on the command line does not exist, or is no text."""
    refused(cli_here, tmp_path, "run", "none.yaml", said=("none.yaml: No such file",))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    refused(cli_here, tmp_path, "run", "binary.yaml", said=("binary.yaml: not UTF-8",))


def test_curve_options(cli_here: Cli, tmp_path: Path) -> None:
    """The curve refuses the same workloads as a run, and blocks that no prompt fills."""
    path = written(tmp_path)
    refused(
        cli_here, tmp_path, "curve", path, "--block-size", str(10**30), said=("--block-size 1000", "up to")
    )
    for setting, said in (
        ("workload.system_prompt.tokens=1e12", "prompt and reply have"),
        ("workload.arrival.rate_per_s=1e-300", "workload: times reach"),
    ):
        refused(cli_here, tmp_path, "curve", path, "--set", setting, said=(said,))


def test_ids_without_ids(cli_here: Cli, tmp_path: Path) -> None:
    """The cache of block ids needs a trace that has them."""
    setting = "systems.one={kind: cache, cache: {kind: ids}}"
    refused(
        cli_here,
        tmp_path,
        "run",
        written(tmp_path),
        "--set",
        setting,
        said=("systems.one.cache.kind = 'ids'",),
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "t5"}, ("model_type = 't5'", "allowed: ", "llama", "qwen3")),
        ({"model_type": None}, ("model_type = None", "llama")),
        ({"num_hidden_layers": None}, ("num_hidden_layers = None",)),
        ({"torch_dtype": "int4"}, ("dtype = 'int4'", "bfloat16")),
        ({"torch_dtype": ["bfloat16"]}, ("dtype = ['bfloat16']", "bfloat16")),
        ({"hidden_size": "64x"}, ("hidden_size = '64x'", "valid integer")),
        ({"layer_types": [{}]}, ("layer_types = [{}]", "a list of 4 of sliding_attention, full_attention")),
        (
            {"num_key_value_heads": 3},
            ("num_attention_heads (4) must be a multiple of num_key_value_heads (3)",),
        ),
        ({"num_hidden_layers": 10**9}, ("num_hidden_layers = 1000000000", "at most 2000")),
        ({"intermediate_size": 10**9, "hidden_size": 10**7}, ("parameters; at most 1e+13",)),
        ({"name": "\ud800"}, ("name ('\\ud800') must be printable",)),
    ],
)
def test_hugging_face_config(
    cli_here: Cli, tmp_path: Path, config: dict[str, object], said: tuple[str, ...]
) -> None:
    """A model that the arithmetic does not describe is refused by name, not computed wrongly."""
    base = {
        "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128,
        "vocab_size": 1000, "max_position_embeddings": 512,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(base | config))
    setting = "systems.one.model=config.json"
    refused(cli_here, tmp_path, "run", written(tmp_path), "--set", setting, said=("config.json", *said))


def test_a_profile_of_another_model(cli_here: Cli, tmp_path: Path, root: Path) -> None:
    """Measured times go with the model that they were measured for."""
    path = next((root / "calibration" / "profiles").glob("*.tiny-40m.*.yaml"))
    setting = f"systems.one.latency={{profile: {path}}}"
    said = ("systems.one.latency.profile", "measured for Tiny 40M in float32", "not for Meta Llama 3 8B")
    refused(cli_here, tmp_path, "run", written(tmp_path), "--set", setting, said=said)
    other = tmp_path / "p.yaml"
    other.write_text(path.read_text().replace("kvprofile/1", "kvprofile/0"))
    setting = "systems.one.latency={profile: p.yaml}"
    refused(
        cli_here, tmp_path, "run", written(tmp_path), "--set", setting,
        said=("p.yaml: schema = 'kvprofile/0'", "kvprofile/1"),
    )  # fmt: skip


def test_exit_code_of_the_process(cli: Cli, tmp_path: Path) -> None:
    """The same through a real process: exit code 2, one message, no traceback, nothing written."""
    refused(cli, tmp_path, "run", written(tmp_path), "--set", "workload.sessions=0", said=("above 0",))
