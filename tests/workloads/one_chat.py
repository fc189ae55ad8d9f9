"""One conversation, two sessions of three turns, written as many kinds of logs have it.

Texts have four characters a token, so that logged counts and estimates agree and every format can be held
against every other one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
SYSTEM = "You answer questions about trains.  " * 20
OPENING = "Look at this timetable first: " + "07:10 Basel - 08:04 Bern; " * 7
ZERO_S = 1_790_000_000.0


def padded(text: str) -> str:
    """``text`` with a whole number of tokens."""
    text = text.strip()
    return text + "." * (-len(text) % 4)


def tokens(*texts: str) -> int:
    """Their length, four characters a token."""
    return sum(len(text.strip()) for text in texts) // 4


@dataclass(frozen=True)
class Turn:
    """One call: what was said before, what is asked, the reply and the times in s."""

    session: str
    number: int
    history: tuple[tuple[str, str], ...]
    question: str
    reply: str
    sent_s: float
    ended_s: float

    @property
    def messages(self) -> list[tuple[str, str]]:
        """(role, text) of the whole prompt."""
        return [("system", padded(SYSTEM.strip())), *self.history, ("user", self.question)]

    @property
    def input_tokens(self) -> int:
        """Of the whole prompt."""
        return tokens(*(text for _, text in self.messages))

    @property
    def output_tokens(self) -> int:
        """Of the reply."""
        return tokens(self.reply)


def turns() -> list[Turn]:
    """The six calls by time; the first messages of the two sessions begin alike."""
    found = []
    for s, session in enumerate(("alpha", "beta")):
        history: tuple[tuple[str, str], ...] = ()
        for t in range(3):
            start = OPENING if t == 0 else ""
            question = padded(f"{start}{session} asks: train {'IC ' * (5 + t + s)}to gate {t}?")
            reply = padded(f"{session}: platform {t + 3}. " + "Mind the gap. " * (2 + t))
            sent_s = ZERO_S + 5 * s + 30 * t
            found.append(Turn(session, t + 1, history, question, reply, sent_s, sent_s + 4))
            history = (*history, ("user", question), ("assistant", reply))
    return sorted(found, key=lambda turn: turn.sent_s)


def iso(at_s: float) -> str:
    """As most logs write times."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def chat(messages: list[tuple[str, str]]) -> list[Row]:
    """OpenAI's form of messages."""
    return [{"role": role, "content": text} for role, text in messages]


def openai_usage(turn: Turn) -> Row:
    """Inclusive counts."""
    total = turn.input_tokens + turn.output_tokens
    return {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": total,
    }


def anthropic_usage(turn: Turn) -> Row:
    """Exclusive counts: three parts of one prompt."""
    read = turn.input_tokens // 2
    return {
        "input_tokens": 5,
        "cache_creation_input_tokens": turn.input_tokens - read - 5,
        "cache_read_input_tokens": read,
        "output_tokens": turn.output_tokens,
    }


def completion(turn: Turn) -> Row:
    """OpenAI's response."""
    message = {"role": "assistant", "content": turn.reply}
    name = f"chatcmpl-{turn.session}-{turn.number}"
    return {"id": name, "choices": [{"index": 0, "message": message}], "usage": openai_usage(turn)}


def anthropic_request(turn: Turn) -> Row:
    """Anthropic's request, with blocks."""
    blocks = [
        {"role": role, "content": [{"type": "text", "text": text}]} for role, text in turn.messages[1:]
    ]
    return {"model": "m", "max_tokens": 99, "system": turn.messages[0][1], "messages": blocks}


def anthropic_response(turn: Turn) -> Row:
    """Anthropic's response."""
    content = [{"type": "text", "text": turn.reply}]
    return {"id": "msg", "role": "assistant", "content": content, "usage": anthropic_usage(turn)}


def lines(path: Path, rows: Iterator[Row] | list[Row]) -> Path:
    """JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def openai_messages(folder: Path) -> Path:
    """A log of requests and responses."""
    return lines(
        folder / "log.jsonl",
        [
            {
                "timestamp": iso(t.sent_s),
                "end_time": iso(t.ended_s),
                "session_id": t.session,
                "request": {"model": "m", "messages": chat(t.messages)},
                "response": completion(t),
            }
            for t in turns()
        ],
    )


def openai_without_sessions(folder: Path) -> Path:
    """Bodies with their times in ms; the conversation alone tells what belongs together."""
    return lines(
        folder / "log.jsonl",
        [
            {
                "timestamp": int(t.sent_s * 1000),
                "end_time": int(t.ended_s * 1000),
                "body": {"messages": chat(t.messages)},
                "response": {"status_code": 200, "body": completion(t)},
            }
            for t in turns()
        ],
    )


def openai_responses(folder: Path) -> Path:
    """The responses API: instructions and items; later turns name the response before."""
    rows = []
    for t in turns():
        body: Row = {"input": [{"role": "user", "content": [{"type": "input_text", "text": t.question}]}]}
        if t.number == 1:
            body["instructions"] = t.messages[0][1]
        else:
            body["previous_response_id"] = f"resp-{t.session}-{t.number - 1}"
        text = [{"type": "output_text", "text": t.reply}]
        used = {
            "input_tokens": t.input_tokens,
            "output_tokens": t.output_tokens,
            "input_tokens_details": {"cached_tokens": 3},
        }
        output = [
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": text},
        ]
        response = {"id": f"resp-{t.session}-{t.number}", "output": output, "usage": used}
        rows.append(
            {"created_at": t.sent_s, "completed_at": t.ended_s, "request": body, "response": response}
        )
    return lines(folder / "log.jsonl", rows)


def openai_batch(folder: Path) -> Path:
    """Two files joined by custom_id, results in another order; no times."""
    asked = [
        {
            "custom_id": f"{t.session}-{t.number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": chat(t.messages), "metadata": {"session_id": t.session}},
        }
        for t in turns()
    ]
    results = [
        {
            "id": "b",
            "custom_id": f"{t.session}-{t.number}",
            "error": None,
            "response": {"status_code": 200, "body": completion(t)},
        }
        for t in turns()[::-1]
    ]
    lines(folder / "batch" / "in.jsonl", asked)
    lines(folder / "batch" / "out.jsonl", results)
    return folder / "batch"


def anthropic_messages(folder: Path) -> Path:
    """A log of requests and responses."""
    return lines(
        folder / "log.jsonl",
        [
            {
                "timestamp": iso(t.sent_s),
                "end_time": iso(t.ended_s),
                "session_id": t.session,
                "request": anthropic_request(t),
                "response": anthropic_response(t),
            }
            for t in turns()
        ],
    )


def _whole(turn: Turn) -> list[tuple[str, str]]:
    return [*turn.messages, ("assistant", turn.reply)]


def sharegpt(folder: Path) -> Path:
    """Whole conversations; no times, no counts."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    rows = [
        {
            "id": t.session,
            "conversations": [{"from": names[role], "value": text} for role, text in _whole(t)],
        }
        for t in turns()
        if t.number == 3
    ]
    (folder / "chats.json").write_text(json.dumps(rows, indent=1))
    return folder / "chats.json"


def vllm_multi_turn(folder: Path) -> Path:
    """The same as OpenAI's messages."""
    rows = [{"id": t.session, "messages": chat(_whole(t))} for t in turns() if t.number == 3]
    (folder / "chats.json").write_text(json.dumps(rows))
    return folder / "chats.json"


def litellm(folder: Path) -> Path:
    """Rows of the spend logs: JSON in columns, ISO times."""
    rows: list[Row] = [
        {"call_type": "aembedding", "spend": 0, "startTime": iso(ZERO_S), "status": "success"}
    ]
    for t in turns():
        used = {"prompt_tokens": t.input_tokens, "cache_read_input_tokens": 7, **openai_usage(t)}
        rows.append(
            {
                "request_id": "r",
                "call_type": "acompletion",
                "spend": 0.1,
                "session_id": t.session,
                "startTime": iso(t.sent_s),
                "endTime": iso(t.ended_s),
                "status": "success",
                "cache_hit": "False",
                "metadata": json.dumps({"usage_object": used}),
                "messages": {},
                "proxy_server_request": json.dumps({"body": {"messages": chat(t.messages)}}),
                "response": completion(t),
                **openai_usage(t),
            }
        )
    (folder / "spend.json").write_text(json.dumps(rows))
    return folder / "spend.json"


def langfuse(folder: Path) -> Path:
    """Observations; the counts of half of them exclude cached tokens, of the others they do not."""
    rows: list[Row] = [{"id": "root", "traceId": "x", "type": "SPAN", "startTime": iso(ZERO_S)}]
    for t in turns():
        read, out = t.input_tokens // 2, t.output_tokens
        sent = t.input_tokens - read if t.number % 2 else t.input_tokens
        details = {"input": sent, "input_cached_tokens": read, "output": out, "total": t.input_tokens + out}
        rows.append(
            {
                "id": "o",
                "traceId": "x",
                "type": "GENERATION",
                "sessionId": t.session,
                "level": "DEFAULT",
                "startTime": iso(t.sent_s),
                "endTime": iso(t.ended_s),
                "input": chat(t.messages),
                "output": {"role": "assistant", "content": t.reply},
                "usageDetails": details,
            }
        )
    return lines(folder / "observations.jsonl", rows)


def langsmith(folder: Path) -> Path:
    """Runs; their session_id is the project."""
    rows: list[Row] = [{"id": "c", "run_type": "chain", "start_time": iso(ZERO_S), "trace_id": "x"}]
    for t in turns():
        names = {"user": "HumanMessage", "assistant": "AIMessage", "system": "SystemMessage"}
        sent = [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", names[role]],
                "kwargs": {"content": text},
            }
            for role, text in t.messages
        ]
        used = {
            "input_tokens": t.input_tokens,
            "output_tokens": t.output_tokens,
            "total_tokens": t.input_tokens + t.output_tokens,
            "input_token_details": {"cache_read": 3},
        }
        said = {"lc": 1, "id": ["langchain", "AIMessage"], "kwargs": {"content": t.reply}}
        rows.append(
            {
                "id": "r",
                "run_type": "llm",
                "start_time": iso(t.sent_s)[:-1],
                "end_time": iso(t.ended_s)[:-1],
                "trace_id": "x",
                "session_id": "project",
                "dotted_order": "1",
                "inputs": {"messages": [sent]},
                "outputs": {"generations": [[{"text": t.reply, "message": said}]], "usage_metadata": used},
                "extra": {"metadata": {"thread_id": t.session}},
                "status": "success",
            }
        )
    return lines(folder / "runs.jsonl", rows)


def helicone(folder: Path) -> Path:
    """Requests to Anthropic."""
    return lines(
        folder / "requests.jsonl",
        [
            {
                "request_id": "r",
                "request_created_at": iso(t.sent_s),
                "response_created_at": iso(t.ended_s),
                "request_properties": {"Helicone-Session-Id": t.session},
                "response_status": 200,
                "prompt_tokens": 5,
                "request_body": anthropic_request(t),
                "response_body": anthropic_response(t),
            }
            for t in turns()
        ],
    )


def _span(t: Turn) -> Row:
    parts = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in t.messages[1:]]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": t.reply}], "finish_reason": "stop"}]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": t.session,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": t.messages[0][1]}]),
        "gen_ai.input.messages": json.dumps(parts),
        "gen_ai.output.messages": json.dumps(said),
        "gen_ai.usage.input_tokens": t.input_tokens,
        "gen_ai.usage.output_tokens": t.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": 3,
    }


def otel_genai(folder: Path) -> Path:
    """OTLP JSON: typed values, times and whole numbers as text; an agent's span repeats the usage."""
    spans = []
    for t in turns():
        for kind in ("chat", "invoke_agent"):
            values = _span(t) | {"gen_ai.operation.name": kind}
            attributes = [
                {
                    "key": key,
                    "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
                }
                for key, value in values.items()
            ]
            spans.append(
                {
                    "traceId": "x",
                    "spanId": "y",
                    "name": kind,
                    "attributes": attributes,
                    "startTimeUnixNano": str(int(t.sent_s) * 10**9),
                    "endTimeUnixNano": str(int(t.ended_s) * 10**9),
                }
            )
    return lines(folder / "spans.jsonl", [{"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}])


def otel_flat(folder: Path) -> Path:
    """Flat spans, exclusive counts as some instrumentations copy them."""
    rows = []
    for t in turns():
        used = {"gen_ai.usage.prompt_tokens": 2, "gen_ai.usage.cache_read_input_tokens": t.input_tokens - 2}
        values = _span(t) | used
        del values["gen_ai.usage.input_tokens"], values["gen_ai.usage.cache_read.input_tokens"]
        rows.append(
            {
                "trace_id": "x",
                "span_id": "y",
                "start_time": iso(t.sent_s),
                "end_time": iso(t.ended_s),
                "attributes": values,
                "status": {"code": 1},
            }
        )
    return lines(folder / "spans.jsonl", rows)


def claude_code(folder: Path) -> Path:
    """Transcripts in their folders: replies in two rows each, the first with a partial count."""
    for session in ("alpha", "beta"):
        rows: list[Row] = [{"type": "summary", "summary": "s", "leafUuid": "l"}]
        for t in turns():
            if t.session != session:
                continue
            base = {"sessionId": session, "version": "2.1", "cwd": "/p", "isSidechain": False}
            rows.append(
                {
                    **base,
                    "type": "user",
                    "uuid": f"u{t.number}",
                    "timestamp": iso(t.sent_s),
                    "message": {"role": "user", "content": t.question},
                }
            )
            for part in (0, 1):
                content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": t.reply}][part]
                used = anthropic_usage(t) | ({"output_tokens": 1} if part == 0 else {})
                rows.append(
                    {
                        **base,
                        "type": "assistant",
                        "uuid": f"a{t.number}{part}",
                        "requestId": "r",
                        "timestamp": iso(t.ended_s - 1 + part),
                        "message": {
                            "id": f"msg_{session}{t.number}",
                            "model": "claude",
                            "role": "assistant",
                            "content": [content],
                            "usage": used,
                        },
                    }
                )
        lines(folder / "projects" / "p" / f"{session}.jsonl", rows)
    return folder / "projects"


def codex(folder: Path) -> Path:
    """Rollouts: items, then a token count that is written twice."""
    for session in ("alpha", "beta"):
        rows: list[Row] = [
            {"timestamp": iso(ZERO_S), "type": "session_meta", "payload": {"id": session, "cwd": "/p"}},
            {"timestamp": iso(ZERO_S), "type": "turn_context", "payload": {"model": "gpt"}},
        ]
        total = dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens"), 0)
        for t in turns():
            if t.session != session:
                continue
            last = {
                "input_tokens": t.input_tokens,
                "cached_input_tokens": 9,
                "output_tokens": t.output_tokens,
            }
            total = {key: total[key] + last[key] for key in total}
            user = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": t.question}],
            }
            said = [{"type": "output_text", "text": t.reply}]
            count = {"type": "token_count", "info": {"last_token_usage": last, "total_token_usage": total}}
            rows += [
                {"timestamp": iso(t.sent_s), "type": "response_item", "payload": user},
                {
                    "timestamp": iso(t.ended_s),
                    "type": "response_item",
                    "payload": {"type": "message", "role": "assistant", "content": said},
                },
                *[{"timestamp": iso(t.ended_s), "type": "event_msg", "payload": count}] * 2,
            ]
        lines(folder / "sessions" / f"rollout-{session}.jsonl", rows)
    return folder / "sessions"


def mooncake_text(folder: Path) -> Path:
    """AIPerf's: times in ms, what is new in every turn."""
    return lines(
        folder / "trace.jsonl",
        [
            {
                "session_id": t.session,
                "timestamp": round((t.sent_s - ZERO_S) * 1000),
                "output_length": t.output_tokens,
                **({"messages": chat(t.messages)} if t.number == 1 else {"text_input": t.question}),
            }
            for t in turns()
        ],
    )


def sglang_requests(folder: Path) -> Path:
    """Finished requests of the server's log."""
    return lines(
        folder / "sglang.log",
        [
            {
                "event": "request.finished",
                "rid": "r",
                "timestamp": iso(t.sent_s),
                "obj": {"messages": chat(t.messages), "session_params": {"id": t.session}},
                "out": {
                    "text": t.reply,
                    "meta_info": {
                        "prompt_tokens": t.input_tokens,
                        "cached_tokens": 1,
                        "completion_tokens": t.output_tokens,
                        "e2e_latency": 4.0,
                    },
                },
            }
            for t in turns()
        ],
    )


def agent_text_logs(folder: Path) -> Path:
    """The client's texts joined; the lines are not in the order of time."""
    rows = []
    for t in turns():
        said = "".join(text for role, text in t.messages if role != "assistant")
        rows.append(
            {"timestamp": int(t.sent_s * 1e6), "input": said, "output": t.reply, "session_id": t.session}
        )
    return lines(folder / "log.jsonl", rows[::-1])


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "openai_messages": ("openai_messages", openai_messages),
    "openai, no sessions": ("openai_messages", openai_without_sessions),
    "openai responses": ("openai_messages", openai_responses),
    "openai batch": ("openai_messages", openai_batch),
    "anthropic_messages": ("anthropic_messages", anthropic_messages),
    "sharegpt": ("sharegpt", sharegpt),
    "vllm multi-turn": ("openai_messages", vllm_multi_turn),
    "litellm": ("litellm", litellm),
    "langfuse": ("langfuse", langfuse),
    "langsmith": ("langsmith", langsmith),
    "helicone": ("helicone", helicone),
    "otel_genai": ("otel_genai", otel_genai),
    "otel, flat": ("otel_genai", otel_flat),
    "claude_code": ("claude_code", claude_code),
    "codex": ("codex", codex),
    "mooncake_text": ("mooncake_text", mooncake_text),
    "sglang_requests": ("sglang_requests", sglang_requests),
    "agent_text_logs": ("agent_text_logs", agent_text_logs),
}
"""Name: format and writer."""
UNTIMED = {"openai batch", "sharegpt", "vllm multi-turn"}
