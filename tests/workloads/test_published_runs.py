"""Text logs, billed sessions, measured runs and the traces of engine recordings, as they are described.

Named and not computed, because no trace has it:

- Text logs: what was searched for in the texts.
- Billed sessions: all figures of "the whole source" are about 20,979 calls, of which 13,279 are here (the
  rules are held against these in providers/test_recorded_calls.py), and those of other tools.
- Measured runs: the predicted errors, which are the simulator's (calibration/test_layer_times.py); the
  layer times, which are no requests. "10/s" is the rate that arrivals were drawn with: drawn was 10.3.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.calibration import benches
from tests.workloads.published import at, raw, read, sessions, times
from workloads.describing import describe


def test_text_logs(shared_data: Path) -> None:
    """Calls, replies, gaps and spans."""
    trace = read("agent_text_logs", shared_data / "agent_text_logs", tokens_per_character=1.0)
    chains = sessions(trace)
    calls = [len(session) for session in chains]
    assert (len(chains), len(trace), max(calls)) == (20, 402, 30) and float(np.median(calls)) == 22
    assert sum(count == 30 for count in calls) == 10 and round(float(np.mean(calls)), 1) == 20.1
    replies = trace.output_tokens
    assert (sum(replies), max(replies)) == (182_975, 1560)
    assert [round(value) for value in at(replies, 10, 50, 90)] == [248, 393, 764]
    gaps = [after - before for session in chains for (before, _), (after, _) in pairwise(session)]
    assert len(gaps) == 382 and round(float(np.mean(gaps)), 2) == 1.21
    assert [round(value, 1) for value in (*at(gaps, 10, 50, 90), max(gaps))] == [0.7, 1.1, 2.0, 4.2]
    spans = [session[-1][0] - session[0][0] for session in chains]
    assert (round(float(np.median(spans)), 1), round(max(spans), 1)) == (21.3, 45.5)
    starts = sorted((session[0][0], session[-1][0]) for session in chains)
    assert all(end <= start for (_, end), (start, _) in pairwise(starts)), "one after another"
    assert round(describe(trace).span_s) == 552


def test_text_logs_as_they_were_sent(shared_data: Path) -> None:
    """Characters of the inputs, which are the prompts without the earlier replies, and their order.

    Reuse between rebuilt prompts, 11,298,050 of 11,915,003, is in test_importers.py.
    """
    inputs: list[int] = []
    back_s: list[float] = []
    reused = in_file_order = 0
    for file in sorted((shared_data / "agent_text_logs").glob("*.jsonl.gz")):
        trace = read("agent_text_logs", file, tokens_per_character=1.0)
        assert trace.lines is not None
        replies, sent, arrival_s = 0, {}, {}
        for at_s, i in trace.instant_order():
            sent[i], arrival_s[i] = trace.input_tokens[i] - replies, at_s
            replies += trace.output_tokens[i]
        ordered = list(sent)
        assert [trace.continues[i] for i in ordered[1:]] == ordered[:-1], "each contains the one before"
        reused += sum(sent[i] for i in ordered[:-1])
        inputs += sent.values()
        for before, after in pairwise(sorted(sent, key=trace.lines.__getitem__)):
            in_file_order += min(sent[before], sent[after])  # as one contains the other
            back_s.append(arrival_s[before] - arrival_s[after])
    assert (sum(step_s > 0 for step_s in back_s), len(back_s), round(max(back_s), 1)) == (115, 382, 5.5)
    assert [round(value) for value in at(inputs, 10, 50, 90, 99)] == [6992, 15_166, 49_191, 138_016]
    assert (max(inputs), sum(inputs), reused) == (145_122, 9_674_248, 9_057_295)
    assert round(reused / sum(inputs), 4) == 0.9362
    assert round(in_file_order / sum(inputs), 4) == 0.9110


def test_text_logs_by_their_text(shared_data: Path) -> None:
    """Of the text itself, which no trace keeps: blocks of 256 characters, and what all sessions share."""
    rows = sorted(raw(shared_data / "agent_text_logs"), key=lambda row: int(row["timestamp"]))
    firsts = {row["session_id"]: row["input"] for row in reversed(rows)}
    equal = [len(set(characters)) == 1 for characters in zip(*firsts.values(), strict=False)]
    assert equal.index(False) == 56
    known: set[int] = set()
    hits = blocks = 0
    for row in rows:
        text, block, leading = row["input"], 0, True
        for end in range(256, len(text) + 1, 256):
            block = hash((block, text[end - 256 : end]))
            leading &= block in known
            hits += leading
            blocks += 1
            known.add(block)
    assert (hits, blocks, round(hits / blocks, 4)) == (35_214, 37_580, 0.9370)


@pytest.mark.parametrize(
    ("name", "lanes", "models", "lifetimes", "months"),
    [
        (
            "claude_code", 258,
            {"opus-4-5-20251101", "opus-4-6", "sonnet-4-5-20250929", "haiku-4-5-20251001"},
            {"5m": 5362, "1h": 7007}, {"2026-01", "2026-02"},
        ),
        ("pi", 2, {"sonnet-4-5", "opus-4-5"}, {"5m": 910}, {None}),
    ],
)  # fmt: skip
def test_billed_sessions(
    shared_data: Path, name: str, lanes: int, models: set[str], lifetimes: dict[str, int],
    months: set[str | None],
) -> None:  # fmt: skip
    """The calls of real bills are sessions in WEKA's form: 12,369 and 910 of them.

    ``in`` is what was written and read, in all but the one call below the minimum of 4,096 tokens that the
    description mentions. The tokens behind the last mark are more than its 1 to 14 in some calls.
    """
    path = shared_data / "billed_sessions" / f"{name}.jsonl.gz"
    trace, rows = read("claude_code_compact", path), raw(path)
    assert (len(set(trace.session)), len(trace)) == (lanes, sum(lifetimes.values()))
    assert trace.models is not None
    assert {model.removeprefix("claude-") for model in trace.models} == models
    assert {row.get("month") for row in rows} == months
    calls = [call for row in rows for call in row["requests"]]
    assert Counter(call["ttl"] for call in calls) == lifetimes
    unmarked = [
        call["in"]
        for call in calls
        if call["in"] != sum(tokens for part, tokens in call["billed"].items() if part != "input")
    ]
    assert unmarked == ([2775] if name == "pi" else [])
    if name == "claude_code":
        assert sum(call["billed"]["input"] > 14 for call in calls) == 165


@pytest.mark.parametrize(
    ("name", "ttft_s", "tpot_ms", "e2e_s"),
    [
        ("rtx4090.llama-3.1-8b.tp1", 65.5, 32.4, 86.6),
        ("rtxpro6000.llama-3.1-8b.tp1", 7.1, 32.5, 28.2),
        ("rtxpro6000.qwen3-30b-a3b.dp2ep2", None, None, None),
    ],
)
def test_measured_runs(
    shared_data: Path, tmp_path: Path, name: str, ttft_s: float | None, tpot_ms: float | None,
    e2e_s: float | None,
) -> None:  # fmt: skip
    """300 requests at 10 a second; the measured means that errors are stated against."""
    file = shared_data / "real_runs" / "vllm_019_runs" / f"{name}.requests.jsonl"
    rows = sorted(raw(file), key=lambda row: float(row["arrival_s"]))  # written as sent
    trace = read("tokens", benches.expanded(file, tmp_path / "trace.jsonl"))
    rate_per_s = describe(trace).rate_per_s
    assert len(trace) == 300 and rate_per_s is not None and round(rate_per_s) == 10
    assert times(trace) == [row["arrival_s"] for row in rows]
    assert trace.input_tokens == [row["input_tokens"] for row in rows]
    assert trace.output_tokens == [row["output_tokens"] for row in rows]
    if ttft_s is None:
        return  # its times are not stated
    first, last = ([row[key] for row in rows] for key in ("first_token_s", "last_token_s"))
    gaps = [(b - a) / (tokens - 1) for a, b, tokens in zip(first, last, trace.output_tokens, strict=True)]
    assert round(float(np.mean(np.subtract(first, times(trace)))), 1) == ttft_s
    assert round(1000 * float(np.mean(gaps)), 1) == tpot_ms
    assert round(float(np.mean(np.subtract(last, times(trace)))), 1) == e2e_s


def test_aggregates_of_servers(shared_data: Path) -> None:
    """739 measurements and what of; they are means of runs, so no requests can be read from them."""
    rows = raw(shared_data / "real_runs" / "server_aggregates" / "h100_h200_tp1to4.csv.gz")
    assert sum(float(row["silicon_ttft_ms"]) > 0 < float(row["silicon_tpot_ms"]) for row in rows) == 739
    assert len(rows) == 739
    assert {row["backend"] for row in rows} == {"vllm", "sglang", "trtllm"}
    assert {row["system"] for row in rows} == {"h100_sxm", "h200_sxm"}
    assert {float(row["tp_size"]) for row in rows} == {1, 2, 4}
    models = {row["model_path"] for row in rows}
    for model in ("Llama-3.1-70B", "Llama-3.1-8B", "Qwen3-32B", "gpt-oss-120b"):
        assert any(model in path for path in models)


@pytest.mark.parametrize(
    ("name", "requests", "tenants"), [("normal-s1", 300, 0), ("tenants-s2", 300, 3), ("short-s3", 200, 0)]
)
def test_traces_of_engine_recordings(shared_data: Path, name: str, requests: int, tenants: int) -> None:
    """Requests, and tenants beside the sessions without a salt."""
    trace = read("tokens", shared_data / "conformance" / name / "trace.jsonl.gz")
    assert (len(trace), len(set(trace.tenant))) == (requests, tenants + 1)
