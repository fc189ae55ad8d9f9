"""What every importer keeps: its contract, and what it says about files that are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from tests.workloads.other_files import ALL, BINARY
from tests.workloads.two_sessions import Row, turns
from workloads.base import Workload
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.guessed import GuessedTrace
from workloads.registry import FORMATS, WorkloadConfig
from workloads.trace import NONE, Trace

CLOSED = {"process": "closed_loop", "concurrency": 2}
WITHOUT_TIMES = {"sharegpt"}
ONE_CLOCK = {"claude_code_compact"}
"""Sessions of these files have clocks of their own."""
LENGTHS_ONLY = {"azure", "burstgpt", "vllm_bench"}


def _config(kind: str, path: Path, **settings: Any) -> Workload:
    if kind in WITHOUT_TIMES:
        settings = {"arrival": CLOSED} | settings
    config = {"kind": "trace", "format": kind, "path": str(path)} | settings
    importer: Workload = FORMATS[kind].model_validate(config)
    return importer


def _build(kind: str, path: Path, **settings: Any) -> Trace:
    trace = _config(kind, path, **settings).build(0, path.parent)
    check(trace)
    return trace


def test_every_format_has_a_file_here() -> None:
    """So that nothing is left out below."""
    assert set(ALL) == set(FORMATS) - {"weka"}  # another name


@pytest.mark.parametrize("kind", ALL)
def test_contract(tmp_path: Path, kind: str) -> None:
    """Six requests of known lengths by time; the same trace every time; notes that say how it was read."""
    path = ALL[kind](tmp_path)
    trace, again = _build(kind, path), _build(kind, path)
    assert len(trace) == 6
    inputs = sorted(turn.input_tokens for turn in turns())
    if kind == "tokens":  # every letter is one there
        inputs = [4 * tokens for tokens in inputs]
    assert sorted(trace.input_tokens) == inputs
    if kind not in WITHOUT_TIMES:
        assert trace.arrival_s == sorted(trace.arrival_s, key=lambda at: at or 0.0)
        assert trace.arrival_s[0] == (
            turns()[0].sent_s if kind == "tokens" else 0.0
        )  # those keep their zero
    for name in ("prompt", "reply", "arrival_s", "think_s", "follower", "session", "turn", "continues"):
        assert getattr(trace, name) == getattr(again, name)
    assert trace.content.parent == again.content.parent and trace.content.end == again.content.end
    assert trace.notes and all(note.startswith(trace.origin) for note in trace.notes)
    assert trace.where(0).startswith(trace.origin)
    if trace.request_ids is not None:
        assert all(name.isprintable() for name in trace.request_ids)
    if kind in LENGTHS_ONLY:
        assert any("lengths only" in note and "cannot be had" in note for note in trace.notes)
        assert all(trace.content.parent[prompt] == 0 for prompt in trace.prompt)


@pytest.mark.parametrize("kind", ALL)
def test_closed_loop(tmp_path: Path, kind: str) -> None:
    """Sessions that begin when others end; no turn has a time of its own, and each waits for its reply."""
    closed: dict[str, Any] = {"arrival": CLOSED}
    if kind == "claude_code_compact":
        closed |= {"loop": "closed", "subagents": "exclude"}
    trace = _build(kind, ALL[kind](tmp_path), **closed)
    assert trace.concurrency == 2
    before = {after: i for i, after in enumerate(trace.follower) if after != NONE}
    for request, earlier in enumerate(trace.continues):
        assert earlier == NONE or kind == "tokens" or before[request] == earlier  # those are held back
    assert all(at in (0.0, None) for at in trace.arrival_s)


@pytest.mark.parametrize("kind", ALL)
def test_recognised(tmp_path: Path, kind: str) -> None:
    """No format is taken for another one; two names of one importer are told together."""
    path = ALL[kind](tmp_path)
    arrival = CLOSED if kind in WITHOUT_TIMES else None
    config = {"kind": "trace", "path": str(path)} | ({"arrival": arrival} if arrival else {})
    trace = GuessedTrace.model_validate(config).build(0, tmp_path)
    said = trace.notes[0].split("format ")[1].split(",")[0].split(" or ")
    assert said == [name for name, importer in FORMATS.items() if importer is FORMATS[kind]]


def test_recognised_in_a_folder(tmp_path: Path) -> None:
    """Whose first files are of another kind, as in ~/.claude."""
    ALL["claude_code"](tmp_path)
    (tmp_path / "history.jsonl").write_text('{"display": "hello", "timestamp": 1}\n')
    trace = GuessedTrace(kind="trace", path=tmp_path).build(0, tmp_path)
    assert "format claude_code, by" in trace.notes[0] and len(trace) == 6


def test_every_example_of_the_page_is_a_workload(root: Path) -> None:
    """And every format is on it."""
    page = (root / "docs/workloads.md").read_text("utf-8")
    examples = [line for line in page.splitlines() if line.startswith("workload: ")]
    for line in examples:
        TypeAdapter[Any](WorkloadConfig).validate_python(yaml.safe_load(line)["workload"])
    assert len(examples) > 15
    assert not [name for name in FORMATS if f"`{name}`" not in page]


def test_not_recognised(tmp_path: Path) -> None:
    """A file of something else: its fields are shown, and the formats."""
    (tmp_path / "x.jsonl").write_text('{"colour": "red", "size": 3}\n')
    with pytest.raises(
        InputError, match=r"x.jsonl: the format is none .*\(colour, size\); allowed: format:"
    ):
        GuessedTrace(kind="trace", path=tmp_path / "x.jsonl").build(0, tmp_path)
    path = ALL["azure"](tmp_path)
    with pytest.raises(
        InputError, match=r"workload: unknown key 'loop'; allowed: kind, path.*\(format azure, guessed\)"
    ):
        GuessedTrace(kind="trace", path=path, loop="closed").build(0, tmp_path)


def _lines(kind: str, folder: Path) -> tuple[Path, list[str]]:
    """One file of the format and its lines; documents that are arrays as JSON Lines."""
    path = ALL[kind](folder)
    file = path if path.is_file() else sorted(path.rglob("*.jsonl"))[0]
    content = file.read_text()
    if content.startswith("["):
        content = "".join(json.dumps(row) + "\n" for row in json.loads(content))
        file.write_text(content)
    return file, content.splitlines()


@pytest.mark.parametrize("kind", sorted(set(ALL) - BINARY - {"vllm_bench"}))
def test_a_cut_line(tmp_path: Path, kind: str) -> None:
    """Named by file and line, or skipped, counted and told."""
    file, lines = _lines(kind, tmp_path)
    cut = lines[-1][: len(lines[-1]) // 2] if not file.name.endswith("csv") else "2023-11-16,7"
    file.write_text("\n".join([*lines, cut]) + "\n")
    with pytest.raises(InputError, match=rf"{file.name}:{len(lines) + 1}: "):
        _build(kind, file)
    trace = _build(kind, file, skip_bad_lines=1)
    assert any("1 bad line was skipped, the first: " in note for note in trace.notes)
    assert len(trace) in (3, 6)  # a transcript's file has one session


@pytest.mark.parametrize("kind", sorted(set(ALL) - BINARY))
def test_an_empty_file(tmp_path: Path, kind: str) -> None:
    """No requests is an error, as is no file."""
    file, lines = _lines(kind, tmp_path)
    file.write_text(lines[0] + "\n" if file.suffix == ".csv" else "\n")
    with pytest.raises(InputError, match=re.escape(f"{file}: no requests; allowed: ")):
        _build(kind, file)
    with pytest.raises(InputError, match=re.escape(f"{file}: no requests; allowed: ")):
        GuessedTrace(kind="trace", path=file).build(0, tmp_path)
    with pytest.raises(InputError, match=r"absent.jsonl: no such file; looked for"):
        _build(kind, file.with_name("absent.jsonl"))


SPOILED: list[tuple[str, str, object, str]] = [
    ("openai_messages", "timestamp", "yesterday", "timestamp = 'yesterday'; allowed: a time such as"),
    ("openai_messages", "response.usage.prompt_tokens", -5, "prompt_tokens = -5; allowed: a whole number"),
    ("openai_messages", "session_id", ["a"], "session ['a']; allowed: printable text or a number"),
    (
        "anthropic_messages",
        "response.usage.input_tokens",
        "many",
        "input_tokens = 'many'; allowed: a whole",
    ),
    ("sharegpt", "conversations", "hello", "conversations = 'hello'; allowed: a list of objects"),
    ("litellm", "startTime", True, "startTime = True; allowed: a time"),
    ("litellm", "startTime", None, "no time; allowed: a time in every row, or in none"),
    ("langfuse", "usageDetails.input", 1.5, "input = 1.5; allowed: a whole number"),
    ("langfuse", "startTime", "2026-13-40", "startTime = '2026-13-40'; allowed: a time"),
    ("langsmith", "outputs.usage_metadata.input_tokens", -1, "input_tokens = -1; allowed"),
    ("helicone", "request_created_at", "", "no time; allowed: a time in every row"),
    (
        "otel_genai",
        "resourceSpans.0.scopeSpans.0.spans.0.startTimeUnixNano",
        "x",
        "startTimeUnixNano = 'x'",
    ),
    ("claude_code", "message.id", None, "message: id = None; allowed: printable text"),
    ("claude_code", "message.usage.output_tokens", -1, "message.usage: output_tokens = -1; allowed"),
    ("claude_code", "timestamp", "noon", "timestamp = 'noon'; allowed: a time"),
    (
        "codex",
        "payload.info.total_token_usage.input_tokens",
        "x",
        "token_count: input_tokens = 'x'; allowed",
    ),
    ("mooncake_text", "timestamp", 0.2, "timestamp = 0.2 has a fraction"),
    ("mooncake_text", "output_length", None, "output_length = None; allowed: a whole number"),
    ("sglang_requests", "out.meta_info.prompt_tokens", "x", "prompt_tokens = 'x'; allowed: a whole"),
    ("agent_text_logs", "input", None, "input = None; allowed: text"),
    ("agent_text_logs", "timestamp", "now", "timestamp = 'now'; allowed: a number of at least 0"),
    ("mooncake", "hash_ids", [1, 2, 3, 4], "hash_ids has 4 ids for input_length"),
    ("mooncake", "timestamp", 0.5, "timestamp = 0.5 has a fraction"),
    ("claude_code_compact", "requests.0.in", None, "request 1: in = None; allowed: a whole number"),
    ("tokens", "tokens", [1.5], "tokens = [1.5]; allowed: a list of integers"),
    ("tracelab", "input_tokens_total", -2, "input_tokens_total = -2; allowed: a whole number"),
    ("tracelab", "timing_events", [], "timing_events have no timestamp; allowed: at least one"),
    ("lmcache_hashes", "seq_len", 9999, "for seq_len = 9999; allowed: 156 (full chunks of 64 tokens)"),
    ("anthropic_messages", "timestamp", None, "no time; allowed: a time in every row, or in none"),
    ("openai_messages", "timestamp", None, "no time; allowed: a time in every row, or in none"),
    ("helicone", "request_created_at", None, "no time; allowed: a time in every row, or in none"),
    ("langfuse", "startTime", None, "no time; allowed: a time in every row, or in none"),
    ("langsmith", "start_time", None, "no time; allowed: a time in every row, or in none"),
    ("sglang_requests", "timestamp", None, "no time; allowed: a time in every row, or in none"),
    (
        "otel_genai",
        "resourceSpans.0.scopeSpans.0.spans.0.startTimeUnixNano",
        None,
        "no time; allowed: a time in every row, or in none",
    ),
    ("lmcache_hashes", "chunk_hashes", None, "chunk_hashes = None; allowed: a list of hashes"),
    ("mooncake", "input_length", None, "input_length = None; allowed: a whole number of at least 1"),
    ("mooncake", "hash_ids", None, "no hash_ids; allowed: in all lines, or in none"),
    ("sharegpt", "conversations", None, "conversation = None; allowed: a list of objects"),
    ("tokens", "output_tokens", None, "output_tokens = None; allowed: a list of integers"),
    ("tracelab", "session_id", None, "session_id = None; allowed: printable text"),
    ("vllm_bench", "output_lens", None, "input_lens and output_lens; allowed: two lists of one length"),
    ("vllm_kv_events", "events.0.token_ids", None, "token_ids = None; allowed: a list of integers"),
    ("vllm_kv_events", "events.0.block_size", 2, "event 1: token_ids has 1 for 1 blocks; allowed: 2"),
    ("vllm_kv_events", "events.0.token_ids", ["x"], "token_ids = ['x']; allowed: a list of integers"),
    ("vllm_kv_events", "events.0.block_hashes", [], "block_hashes = []; allowed: a list of hashes"),
    ("vllm_kv_events", "events.0.parent_block_hash", [1], "parent_block_hash = [1]; allowed: a hash"),
    ("vllm_kv_events", "ts", -1, "ts = -1; allowed: a number of at least 0"),
    ("vllm_kv_events", "events.0.type", "X", "event 1: type = 'X'; allowed: BlockStored"),
    ("vllm_bench", "input_lens.0", 0.5, "input_lens[0] = 0.5; allowed: a whole number"),
    ("vllm_bench", "output_lens", [1], "input_lens and output_lens; allowed: two lists of one length"),
    ("vllm_bench", "start_times.1", "soon", "start_times = 'soon'; allowed: a number of at least 0"),
    ("vllm_bench", "start_times", {"a": 1}, "start_times = {'a': 1}; allowed: a list of 7 entries"),
    ("vllm_bench", "errors", [""], "errors = ['']; allowed: a list of 7 entries"),
    ("otel_genai", "resourceSpans.0.scopeSpans", ["x"], "scopeSpans = ['x']; allowed: a list of objects"),
    ("claude_code", "sessionId", "a\nb", "session 'a\\nb'; allowed: printable text"),
    (
        "sglang_requests",
        "out.meta_info.e2e_latency",
        -1,
        "e2e_latency = -1; allowed: a number of at least 0",
    ),
    ("helicone", "response_body.usage.prompt_tokens", "9" * 5000, "prompt_tokens = '999"),
    (
        "openai_messages",
        "response.usage.prompt_tokens",
        "\u00b2",
        "prompt_tokens = '\u00b2'; allowed: a whole",
    ),
]


def _spoil(row: Row, place: str, value: object) -> None:
    at: Any = row
    *steps, last = place.split(".")
    for step in steps:
        at = at[int(step) if step.isdigit() else step]
    if value is None:
        at.pop(last, None)
    else:
        at[int(last) if last.isdigit() else last] = value


def _spoil_last(lines: list[str], place: str, value: object) -> int:
    """Put ``value`` at ``place`` of the last line that has such a place; returns the line from 0."""
    for number in reversed(range(len(lines))):
        row = json.loads(lines[number])
        try:
            _spoil(row, place, value)
        except (KeyError, TypeError, IndexError):
            continue
        lines[number] = json.dumps(row)
        return number
    raise AssertionError(f"no line has {place}")


@pytest.mark.parametrize(("kind", "place", "value", "said"), SPOILED)
def test_a_field_that_is_wrong(tmp_path: Path, kind: str, place: str, value: object, said: str) -> None:
    """The message has file, line, field, value and what is allowed."""
    file, lines = _lines(kind, tmp_path)
    number = _spoil_last(lines, place, value)
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as error:
        _build(kind, file)
    assert f"{file.name}:{number + 1}" in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        ("azure", "2023-11-16 18:15:46.6805900,x,5", "ContextTokens = 'x'; allowed: a whole number"),
        ("azure", "16:15,4,5", "TIMESTAMP = '16:15'; allowed: a time"),
        ("azure", "2023-11-16 18:15:46.6805900,4,-5", "GeneratedTokens = '-5'; allowed: a whole number"),
        ("azure", "2023-11-16 18:15:46.6805900,4,5,6", "4 columns; allowed: 3, as in the header"),
        ("burstgpt", "-1,a,1,GPT-4,5,5,10,x", "Timestamp = '-1'; allowed: a number of at least 0"),
        ("burstgpt", "1,a,1,GPT-4,5,5.5,10,x", "Response tokens = '5.5'; allowed: a whole number"),
        (
            "burstgpt",
            "1,a,1,GPT-4,10000000000000,5,10,x",
            "allowed: a whole number of at least 0, up to 1e+12",
        ),
    ],
)
def test_a_cell_that_is_wrong(tmp_path: Path, kind: str, line: str, said: str) -> None:
    """The same for tables."""
    file, lines = _lines(kind, tmp_path)
    file.write_text("\n".join([*lines, line]) + "\n")
    with pytest.raises(InputError, match=rf"t.csv:{len(lines) + 1}: ") as error:
        _build(kind, file)
    assert said in str(error.value)


def test_published_statistics_of_text_logs(shared_data: Path) -> None:
    """In characters: a token a character gives the rebuilt prompts and their reuse, to the last one."""
    trace = _build("agent_text_logs", shared_data / "agent_text_logs", tokens_per_character=1.0)
    content, repeated_task = trace.content, 5604
    assert (len(trace), len(set(trace.session))) == (402, 20)
    assert sum(trace.input_tokens) == 11_915_003
    assert sum(trace.output_tokens) == 182_975
    known: set[int] = set()
    reused = 0
    for prompt, reply in zip(trace.prompt, trace.reply, strict=True):
        reused += max((content.end[s] for s in content.path(prompt) if s in known), default=0)
        known.update(content.path(reply))
    assert reused == 11_298_050 + repeated_task  # one task was given twice, which the figure leaves out


def test_a_time_and_a_session_of_0_are_there(tmp_path: Path) -> None:
    """Clocks that start with the log, and sessions that are counted from 0."""
    body = {"messages": [{"role": "user", "content": "What is a prefix?"}]}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    rows = [
        {"session_id": s, "timestamp": t, "request": body, "response": {"usage": usage}}
        for s, t in ((0, 0.0), (1, 5.0), (0, 9.0))
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trace = _build("openai_messages", tmp_path / "log.jsonl")
    assert trace.arrival_s == [0.0, 5.0, 9.0]
    assert trace.request_ids == ["0/1", "1/1", "0/2"]
