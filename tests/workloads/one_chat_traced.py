"""The conversation as proxies and tracing tools have it in their exports."""

from __future__ import annotations

import json
from pathlib import Path

from tests.workloads.two_sessions import (
    ZERO_S,
    Row,
    Turn,
    anthropic_request,
    anthropic_response,
    chat,
    completion,
    iso,
    lines,
    openai_usage,
    turns,
)


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
