"""Dialects of Mooncake's format: sessions, delays, parents, block sizes, units."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from workloads.checking import check
from workloads.errors import InputError
from workloads.formats.mooncake import MooncakeTrace
from workloads.trace import NONE, Trace

Row = dict[str, Any]
CLOSED = {"process": "closed_loop", "concurrency": 2}


def _build(path: Path, **settings: Any) -> Trace:
    config = {"kind": "trace", "format": "mooncake", "path": str(path)} | settings
    trace = MooncakeTrace.model_validate(config).build(0, path.parent)
    check(trace)
    return trace


def _load(path: Path, rows: list[Row], **settings: Any) -> Trace:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _build(path, **settings)


def _row(ids: list[int], size: int = 512, **more: Any) -> Row:
    return {"input_length": size * len(ids), "output_length": 20, "hash_ids": ids} | more


TWO_SESSIONS = [
    _row([0], session_id="a", timestamp=0),
    _row([100], session_id="b", timestamp=1000),
    _row([0, 1], session_id="a", timestamp=20_000),
    _row([100, 101], session_id="b", timestamp=21_000),
    _row([0, 1, 2], session_id="a", timestamp=40_000),
    _row([100, 101, 102], session_id="b", timestamp=41_000),
]


def test_session_ids_are_sessions(tmp_path: Path) -> None:
    """Routers see two sessions of three turns; recorded times stay in open loop."""
    trace = _load(tmp_path / "t.jsonl", TWO_SESSIONS)
    assert trace.session == [0, 1, 0, 1, 0, 1]
    assert trace.turn == [1, 1, 2, 2, 3, 3]
    assert trace.continues == [NONE, NONE, 0, 1, 2, 3]
    assert trace.arrival_s == [0.0, 1.0, 20.0, 21.0, 40.0, 41.0]
    assert "6 requests in 41 s, 0.1463 a second" in trace.notes[0]
    assert "2 sessions" in trace.notes[1] and "lower bound" in trace.notes[1]


def test_keys_that_are_not_read_are_told(tmp_path: Path) -> None:
    """A dialect's own name of a session is not guessed, nor dropped without a word."""
    rows = [
        {"conversation_id" if key == "session_id" else key: v for key, v in row.items()}
        for row in TWO_SESSIONS
    ]
    trace = _load(tmp_path / "t.jsonl", [*rows, _row([5], timestamp=50_000, extra={}, type="text")])
    assert trace.session == list(range(7))
    assert (
        trace.notes[-1]
        == "t.jsonl: keys that are not read: 'conversation_id', 'extra' (sessions: session_id)"
    )
    assert not any("not read" in note for note in _load(tmp_path / "u.jsonl", TWO_SESSIONS).notes)


def test_closed_loop_waits_for_replies(tmp_path: Path) -> None:
    """In closed loop a turn comes after the reply before it, and none keeps a time of its own."""
    trace = _load(tmp_path / "t.jsonl", TWO_SESSIONS, arrival=CLOSED)
    assert trace.arrival_s == [0.0, 0.0, None, None, None, None]
    assert list(trace.follower) == [2, 3, 4, 5, NONE, NONE]
    assert trace.concurrency == 2


def test_turns_of_a_session_by_time_or_by_line(tmp_path: Path) -> None:
    """File order is not trusted where there are times; without them it is all there is."""
    trace = _load(tmp_path / "t.jsonl", TWO_SESSIONS[::-1])
    assert trace.turn == [1, 1, 2, 2, 3, 3]
    late = [_row([0], session_id=7, timestamp=5000), _row([0, 1], session_id=7, delay=3000)]
    late.append(_row([9], timestamp=6000))
    trace = _load(tmp_path / "t.jsonl", late)
    assert (trace.arrival_s, trace.session, trace.turn) == ([0.0, 1.0, None], [0, 1, 0], [1, 1, 2])


def test_delays(tmp_path: Path) -> None:
    """A turn with a delay only waits for the reply before it; with both, the loop decides."""
    rows = [_row([1], session_id="a", timestamp=0), _row([1, 2], session_id="a", delay=2000)]
    trace = _load(tmp_path / "t.jsonl", rows)
    assert (trace.arrival_s, list(trace.think_s), list(trace.follower)) == (
        [0.0, None],
        [0.0, 2.0],
        [1, NONE],
    )
    rows[1]["timestamp"] = 9000
    assert _load(tmp_path / "t.jsonl", rows).arrival_s == [0.0, 9.0]
    closed = _load(tmp_path / "t.jsonl", rows, arrival=CLOSED)
    assert (closed.arrival_s, list(closed.think_s)) == ([0.0, None], [0.0, 2.0])


def test_a_file_without_times(tmp_path: Path) -> None:
    """It can only be served in closed loop, in the order of its lines."""
    rows = [_row([1], session_id="a"), _row([1, 2], session_id="a"), _row([3], session_id="b")]
    trace = _load(tmp_path / "t.jsonl", rows, arrival=CLOSED)
    assert (trace.arrival_s, trace.session) == ([0.0, None, 0.0], [0, 0, 1])
    with pytest.raises(InputError, match=r"t.jsonl:1: timestamp = None; allowed: .*closed_loop"):
        _load(tmp_path / "t.jsonl", rows)


def _chat(number: int, parent: int, at: float, ids: list[int], turn: int = 1) -> Row:
    more = {"chat_id": number, "parent_chat_id": parent, "turn": turn, "type": "text", "timestamp": at}
    return _row(ids, size=16, **more)


def test_bailian(tmp_path: Path) -> None:
    """Parents link turns; times are seconds and blocks 16 tokens without being asked for."""
    rows = [
        _chat(5, -1, 0.25, [1]),
        _chat(6, -1, 0.5, [1, 9]),
        _chat(7, 5, 30.125, [1, 2], 2),
        _chat(8, 7, 60.75, [1, 2, 3], 3),
        _chat(9, 3, 61.0, [50], 4),  # its parent lies before the file
    ]
    trace = _load(tmp_path / "t.jsonl", rows)
    assert (trace.session, trace.turn) == ([0, 1, 0, 0, 2], [1, 1, 2, 3, 1])
    assert trace.arrival_s == [0.0, 0.25, 29.875, 60.5, 60.75]
    assert trace.block_id_tokens == 16
    assert "times read as s, ids as blocks of 16 tokens" in trace.notes[0]
    rows[0]["parent_chat_id"] = 8  # a circle, which no real file has
    assert _load(tmp_path / "t.jsonl", rows).session[0] == 0


def test_the_file_says_its_block_size(tmp_path: Path) -> None:
    """KVCache.AI's files do; a configuration that says otherwise counts; two sizes cannot be mixed."""
    rows = [_row([1, 2], size=64, block_size=64, timestamp=0)]
    assert _load(tmp_path / "t.jsonl", rows).block_id_tokens == 64
    with pytest.raises(InputError, match="1 to 2 at block_size 100"):
        _load(tmp_path / "t.jsonl", [_row([1], size=150, block_size=64, timestamp=0, hash_ids=[1, 2, 3])],
              block_size=100)  # fmt: skip
    with pytest.raises(InputError, match=r"blocks of \[16, 64\] tokens; allowed: one size"):
        _load(tmp_path / "t.jsonl", [*rows, _row([1], size=16, block_size=16, timestamp=0)])


def test_lengths_without_ids(tmp_path: Path) -> None:
    """AIPerf takes them; nothing is known of shared prefixes then. In all lines or in none."""
    rows = [{key: row[key] for key in row if key != "hash_ids"} for row in TWO_SESSIONS]
    trace = _load(tmp_path / "t.jsonl", rows)
    assert trace.lengths_only and trace.named_blocks is None
    assert trace.session == [0, 1, 0, 1, 0, 1]
    assert any("lengths only" in note for note in trace.notes)
    with pytest.raises(InputError, match=r"t.jsonl:1: no hash_ids; allowed: in all lines, or in none"):
        _load(tmp_path / "t.jsonl", [rows[0], *TWO_SESSIONS[1:]])


def test_texts_under_the_same_name(tmp_path: Path) -> None:
    """Text, messages or a payload in place of ids; delays as with ids."""
    rows: list[Row] = [
        {"session_id": "a", "timestamp": 0, "text_input": "x" * 400, "output_length": 10},
        {"session_id": "a", "delay": 2000, "text_input": "y" * 80, "output_length": 5},
        {
            "timestamp": 500,
            "payload": {"messages": [{"role": "user", "content": "x" * 400}]},
            "output_length": 7,
        },
    ]
    trace = _load(tmp_path / "t.jsonl", rows)
    assert (trace.input_tokens, trace.output_tokens) == ([100, 100, 130], [10, 7, 5])
    assert (trace.arrival_s, list(trace.think_s)) == ([0.0, 0.5, None], [0.0, 0.0, 2.0])
    assert trace.prompt[0] == trace.prompt[1] and list(trace.follower) == [2, NONE, NONE]
    assert _load(tmp_path / "t.jsonl", rows, arrival=CLOSED).concurrency == 2


def test_closed_loop_without_sessions_is_told(tmp_path: Path) -> None:
    """Nothing says which prompts belong together."""
    rows = [_row([0], timestamp=0), _row([0, 1], timestamp=5)]
    assert any("no sessions" in note for note in _load(tmp_path / "t.jsonl", rows, arrival=CLOSED).notes)


@pytest.mark.parametrize("key", ["timestamp", "delay"])
def test_fractions_are_no_milliseconds(tmp_path: Path, key: str) -> None:
    """Seconds read as milliseconds would replay two minutes in 0.12 s; a stated unit is believed."""
    first = _row([0], session_id="a", timestamp=0.0)
    rows = [first, _row([0, 1], session_id="a") | {"timestamp": 120.0, key: 0.2}]
    with pytest.raises(InputError, match=rf"t.jsonl:2: {key} = 0.2 has a fraction"):
        _load(tmp_path / "t.jsonl", rows)
    assert _load(tmp_path / "t.jsonl", rows, time_unit="ms")
    assert "read as s" in _load(tmp_path / "t.jsonl", rows, time_unit="s").notes[0]


def test_skip_bad_lines(tmp_path: Path) -> None:
    """As many as allowed are passed over and told; one more is an error."""
    lines = [json.dumps(row) for row in TWO_SESSIONS]
    lines[3:3] = ['{"timestamp": 5, "input_le', json.dumps(_row([1], timestamp=-1))]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines))
    trace = _build(path, skip_bad_lines=2)
    assert len(trace) == 6
    assert "2 bad lines were skipped, the first: " in trace.notes[-1] and "t.jsonl:4" in trace.notes[-1]
    with pytest.raises(InputError, match=r"t.jsonl:5: timestamp = -1.*\(1 bad lines were skipped"):
        _build(path, skip_bad_lines=1)


def test_compressed_files_and_folders(tmp_path: Path) -> None:
    """The same requests in one file, gzipped, with zstandard, as an array and in a folder of parts."""
    plain = _load(tmp_path / "t.jsonl", TWO_SESSIONS)
    text = (tmp_path / "t.jsonl").read_bytes()
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(text))
    with pa.output_stream(str(tmp_path / "t.jsonl.zst"), compression="zstd") as file:
        file.write(text)
    (tmp_path / "t.json").write_text(json.dumps(TWO_SESSIONS, indent=1))
    parts = tmp_path / "parts" / "deeper"
    parts.mkdir(parents=True)
    (parts / "1.jsonl.gz").write_bytes(gzip.compress(text[: text.index(b"\n") + 1]))
    (parts / "0.jsonl").write_bytes(text[text.index(b"\n") + 1 :])
    (parts / "notes.txt").write_text("not read")
    for name in ("t.jsonl.gz", "t.jsonl.zst", "t.json", "parts"):
        trace = _build(tmp_path / name)
        assert (trace.arrival_s, trace.session) == (plain.arrival_s, plain.session)
        assert trace.input_tokens == plain.input_tokens
    assert _build(tmp_path / "parts").where(1) == "parts request 1 (session 1, turn 1)"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no files in this folder; allowed: files ending in .json"):
        _build(tmp_path / "empty")


def test_broken_compressed_file(tmp_path: Path) -> None:
    """A download that broke off is named with the last line that could be read."""
    _load(tmp_path / "t.jsonl", TWO_SESSIONS)
    with pa.output_stream(str(tmp_path / "t.jsonl.zst"), compression="zstd") as file:
        file.write((tmp_path / "t.jsonl").read_bytes())
    whole = (tmp_path / "t.jsonl.zst").read_bytes()
    (tmp_path / "t.jsonl.zst").write_bytes(b"no" + whole[2:])
    with pytest.raises(InputError, match="cannot be read after line 0"):
        _build(tmp_path / "t.jsonl.zst")
