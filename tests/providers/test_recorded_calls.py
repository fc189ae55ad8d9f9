"""A replay of recorded calls: their times, tails and models decide, not a model of the latency."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.config import Config
from sim.experiment import load_trace
from sim.providers import bills
from tests.providers.script import SLOW, made, read, script, send, written
from tests.providers.small import A_BILL, Row, hosted, reads, recorded, recorded_file, total
from workloads.errors import InputError

# -- a replay of recorded times --------------------------------------------------------------------------

LONG = (
    "{kind: script, messages: {system: 2000, user-1: 98000, reply-1: 40, user-2: 200, reply-2: 40}, "
    "requests: [{prompt: [system, user-1], reply: reply-1, at_s: 0}, "
    "{prompt: [system, user-1, reply-1, user-2], reply: reply-2, at_s: 8, session: %d}]}"
)
FIVE = {
    "claude": "provider: anthropic, model: claude-opus-5",
    "gpt": "provider: openai, model: gpt-6-sol",
    "deepseek": "provider: deepseek, model: deepseek-v4-pro",
    "gemini": "provider: gemini, model: gemini-3.8-flash",
    "qwen": "provider: qwen, model: qwen3-max, caching: {mode: explicit}, price: {input_usd_per_1m: 1.2}",
}


def test_a_prompt_that_contains_the_reply_came_after_it(root: Path) -> None:
    """100,000 tokens at 0 s, the same and more at 8 s; the line says the first token took 11.5 s.

    In another session as well (a fork). DeepSeek keeps the end of the reply as well.
    """
    for session in (0, 1):
        found = reads(hosted(root, LONG % session, **FIVE))
        assert found == {name: [0, 100_040 if name == "deepseek" else 100_000] for name in FIVE}
    # Without the reply nothing is shown between sessions; the gpt's opening is too short a time ago, too.
    without = LONG.replace("user-1, reply-1, user-2", "user-1, user-2") % 1
    assert reads(hosted(root, without, **FIVE)) == {name: [0, 0] for name in FIVE}


def test_equal_and_forked_prompts_show_nothing() -> None:
    """A prompt sent again, or two that part, may be parallel; what goes on where one ended is not."""
    lengths = {"system": 2000, "a": 10, "b": 20}
    rules_ = made("breakpoint", auto_mark=True)
    equal = script(lengths, ("system a", 0.0), ("system a", 0.5), sessions=[1, 1])
    assert read(send(equal, rules_, SLOW)) == [0, 0]
    forked = script(lengths, ("system a", 0.0), ("system b", 0.5), sessions=[1, 1])
    assert read(send(forked, rules_, SLOW)) == [0, 0]
    longer = script(lengths, ("system a", 0.0), ("system a b", 0.5), ("system a", 0.7), sessions=[1, 1, 2])
    assert read(send(longer, rules_, SLOW)) == [0, 2010, 2010]


def test_recorded_times_of_replies_are_used(tmp_path: Path) -> None:
    """Two prompts that part behind block 10: the log says that the first reply took 0.4 s, the line 1 s."""
    calls: list[Row] = [
        {"t": 0, "in": 700, "hash_runs": [[1, 10]], "api_time": 0.4},
        {"t": 0.5, "in": 1400, "hash_runs": [[1, 10], [30, 11]]},
    ]
    grid = made("grid", granularity=64)
    fork: list[Row] = [
        {"t": 0, "in": 1400, "hash_runs": [[1, 10], [20, 11]], "api_time": 0.4},
        {"t": 0.5, "in": 1400, "hash_runs": [[1, 10], [30, 11]]},
    ]
    assert read(send(recorded(tmp_path, fork), grid, SLOW)) == [0, 640]
    del fork[0]["api_time"]
    assert read(send(recorded(tmp_path, fork), grid, SLOW)) == [0, 0]
    del calls[0]["api_time"]  # goes on where the first one ended: shown by the prompt itself
    assert read(send(recorded(tmp_path, calls), grid, SLOW)) == [0, 640]


def test_lifetimes_count_from_the_recorded_end(tmp_path: Path) -> None:
    """A clock that starts with the end of the reply: 300 s after one of 20 s are 320 s after the call."""
    lives = made("grid", granularity=64, clock="response_end", visible_at="response_end")
    for api_time, gap, found in ((20, 319, 640), (20, 321, 0), (2, 319, 0)):
        calls: list[Row] = [
            {"t": 0, "in": 700, "hash_runs": [[1, 10]], "api_time": api_time},
            {"t": gap, "in": 700, "hash_runs": [[1, 10]]},
        ]
        assert read(send(recorded(tmp_path, calls), lives, SLOW)) == [0, found]


def test_the_shared_sessions_cost_the_same_whatever_the_latency(shared_data: Path) -> None:
    """357 sessions: 8,783 dollars per 1,000 with five minutes, 7,901 with an hour (8,881 and 7,985 were the
    prompts' tails to decide), as if replies took no time at all.
    """
    file = shared_data / "claude_code_sessions" / "sessions.jsonl.gz"
    workload = {"kind": "trace", "format": "claude_code_compact", "path": str(file), "subagents": "exclude"}
    nothing = dict.fromkeys(
        ("base_s", "per_uncached_token_s", "per_cached_token_s", "hit_base_s", "tpot_s"), 0
    )
    base = {"kind": "provider", "provider": "anthropic", "model": "claude-opus-5", "regret": False}
    systems = {
        f"{ttl}-{name}": {**base, "caching": {"ttl": ttl}, **latency}
        for ttl in ("5m", "1h")
        for name, latency in (("default", {}), ("none", {"latency": nothing}))
    }
    config = Config.model_validate({"name": "x", "workload": workload, "systems": systems}).resolved()
    trace = load_trace(config)
    usd = {
        name: round(float(total(system.run(trace, name, Path(), lambda done: None))) / 357 * 1000)
        for name, system in config.systems.items()
    }
    assert usd == {"5m-default": 8783, "5m-none": 8783, "1h-default": 7901, "1h-none": 7901}


# -- the tail of a prompt --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "shared", "found"),
    [(640, 9, 576), (641, 9, 576), (642, 9, 0), (640, 10, 640), (641, 10, 640)],
)
def test_the_tail_behind_the_last_mark_does_not_decide(
    tmp_path: Path, tokens: int, shared: int, found: int
) -> None:
    """A prompt of 641 tokens whose tenth block holds two tokens of the tail is met at its ninth.

    Of 642 tokens the tenth block ends before them: if the next prompt lacks it, the message has changed.
    """
    calls: list[Row] = [
        {"t": 0, "in": tokens, "hash_runs": [[1, 10]]},
        {"t": 60, "in": 1000, "hash_runs": [[1, shared], [50, 15 - shared]]},
    ]
    trace = recorded(tmp_path, calls)
    done = send(trace, made("breakpoint", auto_mark=True))
    assert read(done) == [0, found]
    assert written(done) == [tokens, 1000 - found]


# -- the model of each request ---------------------------------------------------------------------------


def _models(folder: Path, names: list[str]) -> str:
    calls: list[Row] = [
        {"t": 60 * i, "in": 3200, "hash_runs": [[1, 50]], "model": name} for i, name in enumerate(names)
    ]
    return f"{{kind: trace, format: claude_code_compact, path: {recorded_file(folder, calls).path}}}"


def test_caches_and_prices_are_per_model(root: Path, tmp_path: Path) -> None:
    """3,200 tokens: Opus writes, Haiku (at least 4,096) does not, Sonnet writes; each reads its own."""
    names = ["claude-opus-5", "claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-5", "claude-sonnet-4-6"]
    workload = _models(tmp_path, names)
    (one,) = hosted(root, workload, x="provider: anthropic, model: recorded").runs.values()
    assert one.records.cache_read_input_tokens.tolist() == [0, 0, 0, 3200, 3200]
    assert one.records.cache_creation_input_tokens.tolist() == [3200, 0, 3200, 0, 0]
    micro = [3200 * 6.25 + 25, 3200 * 1 + 5, 3200 * 3.75 + 15, 3200 * 0.5 + 25, 3200 * 0.3 + 15]
    assert bills.request_usd(one.records) * 1e6 == pytest.approx(micro)
    assert total(one.records) * 10**6 == sum(map(Fraction, micro))
    (note,) = (note for note in one.notes if "under the minimum" in note)
    assert note.startswith("1 of 1 requests are under the minimum of 4,096 tokens for claude-haiku-4-5")


def test_logs_of_calls_name_their_models(root: Path, tmp_path: Path) -> None:
    """Each call of a client's log is billed by the model that its row names, here without any hit."""
    names = ["claude-opus-5", "claude-sonnet-4-6", "claude-opus-5"]
    for i, name in enumerate(names):
        usage = {"input_tokens": 2000, "output_tokens": 10}
        body = {"model": name, "messages": [{"role": "user", "content": f"question {i}"}]}
        row = {"timestamp": 60.0 * i, "request": body, "response": {"content": [], "usage": usage}}
        with (tmp_path / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
    workload = f"{{kind: trace, path: {tmp_path / 'log.jsonl'}}}"
    (one,) = hosted(
        root, workload, x="provider: anthropic, model: recorded, caching: {mode: off}"
    ).runs.values()
    micro = [2000 * 5 + 10 * 25, 2000 * 3 + 10 * 15, 2000 * 5 + 10 * 25]
    assert bills.request_usd(one.records) * 1e6 == pytest.approx(micro)


def test_models_that_do_not_go(root: Path, tmp_path: Path) -> None:
    """A trace without them, one that the provider does not sell, and ones with other lifetimes."""
    recorded = "model: recorded"
    with pytest.raises(
        InputError, match="does not name the model of every request; allowed: the name of one"
    ):
        hosted(root, A_BILL, x="provider: anthropic, " + recorded)
    claude = _models(tmp_path, ["claude-opus-5", "claude-opus-51"])
    with pytest.raises(InputError, match="'claude-opus-51': no price is known"):
        hosted(root, claude, x="provider: anthropic, " + recorded)
    with pytest.raises(InputError, match="no caching rules of openai"):
        hosted(root, claude, x="provider: openai, " + recorded)
    gpt = _models(tmp_path, ["gpt-5", "gpt-6-sol"])
    with pytest.raises(InputError, match=r"gpt-6-sol is sold with other lifetimes \(30m, 12h\)"):
        hosted(root, gpt, x="provider: openai, " + recorded)


# -- times are shown where a latency is given ------------------------------------------------------------


def test_no_time_is_shown_unless_given(root: Path) -> None:
    """Without a latency every figure of time is null, in summary and table; dollars are the same."""
    claude = "provider: anthropic, model: claude-opus-5"
    result = hosted(root, LONG % 0, silent=claude, given=claude + ", latency: {}")
    summary: Any = result.summary()
    for entries in (summary["systems"], summary["no_cache"]):
        silent, given = entries["silent"], entries["given"]
        times = [key for key in silent if key.endswith("_ms") and "itl" not in key] + ["duration"]
        assert len(times) > 20
        assert {key: silent[key] for key in times} == dict.fromkeys(times)
        assert all(given[key] is not None for key in times)
        assert (silent["calibrated"], given["calibrated"]) == (None, False)
        assert silent["cost"] == given["cost"]
    table = result.requests()
    hidden = table[table["system"] == "silent"]
    for column in ("ttft_ms", "tpot_ms", "e2el_ms", "queue_time_ms", "first_token_s", "finished_s"):
        assert hidden[column].isna().all()
    assert any(note.startswith("no times are shown") for note in result.runs["silent"].notes)


def test_follow_ups_wait_for_replies_all_the_same(root: Path) -> None:
    """The second turn of a chat comes after the default line's reply, with a latency and without."""
    chat = (
        "{kind: chat, sessions: 3, system_prompt: {tokens: 3000}, user_tokens: 100, reply_tokens: 200, "
        "think_time_s: 20, turns: 2, arrival: {process: poisson, rate_per_s: 0.1}}"
    )
    claude = "provider: anthropic, model: claude-opus-5"
    runs = hosted(root, chat, silent=claude, given=claude + ", latency: {}").runs
    arrivals = [one.records.arrival_s for one in runs.values()]
    assert np.array_equal(arrivals[0], arrivals[1])
    given = runs["given"].records
    first = given.turn == 1
    assert (arrivals[0][~first] - arrivals[0][first]).min() > 20 + 199 * 0.0171


def test_recorded_bills_are_read_as_recorded(shared_data: Path) -> None:
    """What real calls wrote and read, by the rules and the recorded times: nine in ten equal the bill."""
    path = shared_data / "billed_sessions" / "claude_code.jsonl.gz"
    workload = {"kind": "trace", "format": "claude_code_compact", "path": str(path), "sessions": 60}
    system = {"kind": "provider", "provider": "anthropic", "model": "recorded", "start": "2026-01-15"}
    config = Config.model_validate({"name": "x", "workload": workload, "systems": {"x": system}}).resolved()
    trace = load_trace(config)
    records = config.systems["x"].run(trace, "x", Path(), lambda done: None)
    with gzip.open(path, "rt") as file:
        lanes = [json.loads(line) for _, line in zip(range(60), file, strict=False)]
    billed = {
        f"{lane['id']}/{i}": call["billed"]["read"]
        for lane in lanes
        for i, call in enumerate(lane["requests"], start=1)
    }
    assert trace.request_ids is not None
    reads = records.cache_read_input_tokens.tolist()
    near = [abs(found - billed[name]) < 64 for name, found in zip(trace.request_ids, reads, strict=True)]
    assert sum(near) / len(near) > 0.9
