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
        ("systems.one.router=magic", ("systems.one.router = 'magic'", "round_robin", "kv_aware")),
        ("systems.one.cache={kind: block, eviction: belady}", ("systems.one.cache.eviction = 'belady'", "needs the future", "lru")),
        ("name=a/b", ("name = 'a/b'", "match pattern")),
        ("=3", ("--set =3", "dotted.key=value")),
        ("workload.sessions.x=3", ("--set workload.sessions.x=3", "not a section")),
    ],
)  # fmt: skip
def test_settings(cli_here, tmp_path: Path, setting: str, said: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A wrong value anywhere in the configuration."""
    _fails(cli_here, tmp_path, "run", _write(tmp_path), "--set", setting, "--out", "out", said=said)


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
