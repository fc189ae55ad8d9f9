"""Values that nobody expects in a log: each is read, or refused with one message."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.one_chat import WRITERS
from tests.workloads.other_files import ALL, BINARY, azure
from tests.workloads.two_sessions import Row
from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.guess import guess
from workloads.formats.jsonl import decoded, digits
from workloads.formats.reader import Reader
from workloads.registry import FORMATS
from workloads.shown import shown
from workloads.trace import Trace

WITHOUT_TIMES = {"sharegpt", "openai batch", "vllm multi-turn"}
TEXT_ONLY = BINARY | {"azure", "burstgpt"}
KINDS = {name: kind for name, (kind, _) in WRITERS.items()} | {kind: kind for kind in ALL}
MAKERS = {name: maker for name, (_, maker) in WRITERS.items()} | ALL


def _nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [{"content": value}]
    return value


VALUES: list[Any] = [
    None, True, 0, -5, 1.5, float("nan"), float("inf"), 10**30, 10**400, 1e300, "", "x", "-5", "9" * 5000,
    "\u00b2", "\ud800", "a\nb", [], {}, [None], ["x"], [[1]], [{}], {"a": [1]}, "[" * 3000, '{"a":' * 2000,
    [{"type": []}], {"type": {}}, {"role": "\ud800", "content": "x"}, [{"role": ["a"], "content": None}],
    {"tool_calls": ["x", 1, None], "role": "assistant"}, {"arrayValue": 3}, {"intValue": "x"},
    {"kvlistValue": {"values": [1]}}, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00",
    _nested(200),
]  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in held:
        yield from _places(inner, (*at, key))


def _strange(rows: list[Row], value: Any, draw: random.Random) -> list[Row]:
    """The same rows with ``value`` somewhere in one of them."""
    rows = json.loads(json.dumps(rows))
    at: Any = draw.choice(rows)
    *above, last = draw.choice(list(_places(at)))
    for step in above:
        at = at[step]
    at[last] = value
    return rows


def _build(name: str, path: Path, **settings: Any) -> Trace:
    if name in WITHOUT_TIMES:
        settings["arrival"] = {"process": "closed_loop", "concurrency": 2}
    config = {"kind": "trace", "format": KINDS[name], "path": str(path)} | settings
    trace: Trace = FORMATS[KINDS[name]].model_validate(config).build(0, path.parent)
    check(trace)
    return trace


@pytest.mark.parametrize("name", sorted(set(MAKERS) - TEXT_ONLY))
def test_a_strange_value_anywhere(tmp_path: Path, name: str) -> None:
    """Every value at a place drawn for it: a trace that is right, or one InputError; guessing too."""
    path, draw = MAKERS[name](tmp_path), random.Random(name)
    file = path if path.is_file() else sorted(path.rglob("*.jsonl"))[0]
    content = file.read_text()
    try:
        rows = json.loads(content)
        rows = rows if isinstance(rows, list) else [rows]
    except ValueError:
        rows = [json.loads(line) for line in content.splitlines()]
    read = 0
    for value in VALUES:
        lines = [json.dumps(row) for row in _strange(rows, value, draw)]
        file.write_text("\n".join(lines) + "\n")
        with suppress(InputError):
            guess(path, tmp_path, FORMATS)
        with suppress(InputError):
            _build(name, path)
            read += 1
    assert read < len(VALUES)


def test_a_prompt_of_no_tokens_was_not_counted(tmp_path: Path) -> None:
    """Nobody sends nothing: the length is estimated where the text is there, else the row is refused."""
    row: Row = {
        "id": "1", "traceId": "t", "type": "GENERATION", "startTime": "2026-11-28T09:30:00Z",
        "input": [{"role": "user", "content": "x" * 40}], "output": "fine", "usageDetails": {"input": 0},
    }  # fmt: skip
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(row) + "\n")
    assert _build("langfuse", path).input_tokens == [10]
    path.write_text(json.dumps({**row, "input": None}) + "\n")
    with pytest.raises(InputError, match=r"t.jsonl:1: neither messages nor a count of input tokens"):
        _build("langfuse", path)


def test_messages_that_are_none(tmp_path: Path) -> None:
    """A prompt has at least one."""
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"messages": 5, "output_length": 3, "timestamp": 0}) + "\n")
    with pytest.raises(InputError, match=r"t.jsonl:1: text_input = None; allowed: text"):
        _build("mooncake_text", path)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - TEXT_ONLY - {"vllm_bench"}))
def test_no_note_shows_a_text(tmp_path: Path, name: str) -> None:
    """A line that was passed over is named by its place alone: it may begin with what somebody wrote."""
    path = MAKERS[name](tmp_path)
    file = path if path.is_file() else sorted(path.rglob("*.jsonl"))[0]
    content = file.read_text()
    if content.startswith("["):
        content = "".join(json.dumps(row) + "\n" for row in json.loads(content))
    file.write_text(content + '{"role": "user", "content": "my secret plan')
    notes = " ".join(_build(name, path, skip_bad_lines=1).notes)
    assert f"1 bad line was skipped, the first: {file}:" in notes and "secret" not in notes


def test_a_header_with_a_blank(tmp_path: Path) -> None:
    """As pandas writes its index; rows with more or fewer cells are counted."""
    path = azure(tmp_path)
    first, *rest = path.read_text().splitlines()
    lines = [f",{first}", *(f"{i},{row}" for i, row in enumerate(rest))]
    path.write_text("\n".join(lines) + "\n")
    assert len(_build("azure", path)) == 6
    path.write_text("\n".join([*lines, "6,1,2,3,4,5"]) + "\n")
    with pytest.raises(InputError, match=r"t.csv:8: 6 columns; allowed: 4, as in the header \(,TIME"):
        _build("azure", path)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.jsonl.gz", "t.parquet"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """Cut or foreign bytes: named, whatever kind of file it is."""
    (tmp_path / name).write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc")
    with pytest.raises(InputError, match=rf"{name}: (cannot be read after line 0|no Parquet file)"):
        list(Reader(tmp_path / name, tmp_path, endings=(".csv", ".jsonl", ".parquet")).each(lambda *_: 0))


def test_numbers_and_json_in_texts() -> None:
    """What is no plain number, or no JSON, stays what it is; messages are short whatever they show."""
    assert [digits(value) for value in ("12", "\u00b2", "1_0", "9" * 21, 3, None)] == [
        12, "\u00b2", "1_0", "9" * 21, 3, None,
    ]  # fmt: skip
    assert (
        decoded(' {"a": 1}') == {"a": 1} and decoded("[1") == "[1" and decoded("[" * 10**5) == "[" * 10**5
    )
    assert shown(_nested(5000)) == "list of many levels" and shown("x" * 100) == "'" + "x" * 59 + "..."
