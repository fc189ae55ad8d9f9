"""One conversation, two sessions of three turns, written as many kinds of logs have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.workloads.one_chat_traced import helicone, langfuse, langsmith, litellm, otel_flat, otel_genai
from tests.workloads.two_sessions import (
    ZERO_S,
    Row,
    Turn,
    anthropic_request,
    anthropic_response,
    anthropic_usage,
    chat,
    completion,
    iso,
    lines,
    turns,
)


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
