"""Two sessions of three turns in the formats that have no messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.workloads.one_chat import WRITERS
from tests.workloads.two_sessions import Row, Turn, iso, lines, turns
from workloads.formats.api_log import ApiLog
from workloads.formats.own import write


def _ids(turn: Turn, size: int) -> list[int]:
    """A hundred for each session, one id for each block of the prompt, the last one partial."""
    base = 100 if turn.session == "alpha" else 200
    return [base + block for block in range(-(-turn.input_tokens // size))]


def mooncake(folder: Path) -> Path:
    """With AIPerf's sessions."""
    return lines(
        folder / "t.jsonl",
        [
            {
                "timestamp": round((t.sent_s - turns()[0].sent_s) * 1000),
                "session_id": t.session,
                "input_length": t.input_tokens,
                "output_length": t.output_tokens,
                "hash_ids": _ids(t, 512),
            }
            for t in turns()
        ],
    )


def weka(folder: Path) -> Path:
    """One session a line."""
    rows = []
    for session in ("alpha", "beta"):
        mine = [t for t in turns() if t.session == session]
        calls = [
            {
                "t": t.sent_s - mine[0].sent_s,
                "type": "s",
                "in": t.input_tokens,
                "out": t.output_tokens,
                "hash_ids": _ids(t, 64),
            }
            for t in mine
        ]
        rows.append({"id": session, "block_size": 64, "hash_id_scope": "local", "requests": calls})
    return lines(folder / "t.jsonl", rows)


def tokens(folder: Path) -> Path:
    """Token ids of prompts and replies."""
    rows = []
    for t in turns():
        said = [ord(letter) for role, text in t.messages for letter in text]
        rows.append(
            {
                "id": f"{t.session}{t.number}",
                "arrival": t.sent_s,
                "session": int(t.session == "beta"),
                "turn": t.number,
                "tokens": said,
                "output_tokens": [ord(x) for x in t.reply],
            }
        )
    return lines(folder / "t.jsonl", rows)


def tracelab(folder: Path) -> Path:
    """Rounds with their events."""
    rows = []
    for t in turns():
        events = [
            {"event_type": "user_message", "timestamp": iso(t.sent_s)},
            {"event_type": "usage_report", "timestamp": iso(t.ended_s)},
        ]
        rows.append(
            {
                "session_id": t.session,
                "round_index": t.number,
                "input_tokens_total": t.input_tokens,
                "prefix_tokens": 3,
                "output_tokens": t.output_tokens,
                "timing_events": events,
            }
        )
    return lines(folder / "t.jsonl", rows)


def lmcache_hashes(folder: Path) -> Path:
    """Full chunks of 64 tokens."""
    return lines(
        folder / "t.jsonl",
        [
            {
                "timestamp": t.sent_s,
                "request_id": f"{t.session}{t.number}",
                "seq_len": t.input_tokens,
                "chunk_size": 64,
                "chunk_hashes": [hex(i) for i in _ids(t, 64)[: t.input_tokens // 64]],
            }
            for t in turns()
        ],
    )


def azure(folder: Path) -> Path:
    """CRLF, seven digits, no line end after the last row."""
    rows = [
        f"{iso(t.sent_s)[:-1].replace('T', ' ')}.1234567,{t.input_tokens},{t.output_tokens}"
        for t in turns()
    ]
    (folder / "t.csv").write_text(
        "\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]), newline=""
    )
    return folder / "t.csv"


def burstgpt(folder: Path) -> Path:
    """The newer files' columns; one request failed."""
    rows = ["Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"]
    for t in turns():
        at_s, total = t.sent_s - turns()[0].sent_s + 7, t.input_tokens + t.output_tokens
        cells = [at_s, t.session, 4, "GPT-4", t.input_tokens, t.output_tokens, total, "Conversation log"]
        rows.append(",".join(map(str, cells)))
    rows.append("99,,1,GPT-4,50,0,50,API log")
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    return folder / "t.csv"


def vllm_bench(folder: Path) -> Path:
    """A detailed result; one request failed."""
    row: Row = {
        "input_lens": [*(t.input_tokens for t in turns()), 5],
        "output_lens": [*(t.output_tokens for t in turns()), 0],
        "start_times": [*(t.sent_s for t in turns()), turns()[-1].sent_s],
        "errors": [""] * 6 + ["timed out"],
        "request_rate": "inf",
    }
    (folder / "t.json").write_text(json.dumps(row))
    return folder / "t.json"


def vllm_kv_events(folder: Path) -> Path:
    """Blocks of one token: what is new of each prompt at once, its reply token by token."""
    rows: list[Row] = []
    for t in turns():
        mine = [other for other in turns() if other.session == t.session and other.number == t.number - 1]
        first = mine[0].input_tokens + mine[0].output_tokens if mine else 0
        name = t.session

        def store(at_s: float, start: int, stop: int, name: str = name) -> Row:
            return {
                "ts": at_s,
                "events": [
                    {
                        "type": "BlockStored",
                        "block_hashes": [f"{name}{i}" for i in range(start, stop)],
                        "parent_block_hash": f"{name}{start - 1}" if start else None,
                        "token_ids": list(range(start, stop)),
                        "block_size": 1,
                    }
                ],
            }

        rows.append(store(t.sent_s, first, t.input_tokens))
        for i in range(t.input_tokens, t.input_tokens + t.output_tokens):
            share = (i - t.input_tokens + 1) / t.output_tokens
            rows.append(store(t.sent_s + share * (t.ended_s - t.sent_s), i, i + 1))
    rows.append({"ts": turns()[-1].ended_s + 9, "events": [["BlockRemoved", ["alpha3"], "GPU"]]})
    rows.append({"ts": turns()[-1].ended_s + 9, "events": [["AllBlocksCleared"]]})
    return lines(folder / "t.jsonl", rows)


def prefixsim(folder: Path) -> Path:
    """The project's own file, of the same conversation."""
    log = WRITERS["openai_messages"][1](folder)
    trace = ApiLog(kind="trace", format="openai_messages", path=log).build(0, folder)
    write(trace, folder / "t.parquet")
    return folder / "t.parquet"


BINARY = {"prefixsim"}
ALL: dict[str, Callable[[Path], Path]] = {
    **{name: writer for name, (kind, writer) in WRITERS.items() if name == kind},
    "mooncake": mooncake,
    "claude_code_compact": weka,
    "tokens": tokens,
    "tracelab": tracelab,
    "lmcache_hashes": lmcache_hashes,
    "azure": azure,
    "burstgpt": burstgpt,
    "vllm_bench": vllm_bench,
    "vllm_kv_events": vllm_kv_events,
    "prefixsim": prefixsim,
}
"""A writer for every format."""
