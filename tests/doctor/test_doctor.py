"""Billed calls held against the rules: small logs of our own, and the shared ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.doctor import how_exact
from sim.doctor.billed import lanes
from sim.doctor.calls import shared_units
from sim.doctor.causes import CAUSES
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.outcome import GroupEntry
from tests.doctor.logs import FIRST, OPUS, Row, Transcript, billed_file, call, examined


@pytest.mark.parametrize(
    ("later", "cause", "exact"),
    [
        (call(60, 7000, 6400, [[1, 109]]), None, True),
        (call(309, 7000, 6400, [[1, 109]]), None, True),
        (call(311, 7000, 0, [[1, 109]]), "expired", True),
        (call(60, 7000, 0, [[1, 109]]), "lost", False),
        (call(60, 7000, 1000, [[1, 109]]), "lost_but_head", False),
        (call(60, 7000, 6000, [[1, 109]]), "partly_lost", False),
        (call(60, 7000, 6500, [[1, 109]]), "unlogged", False),
        (call(60, 5000, 0, [[1, 10], [500, 68]], how="compact_boundary"), "compaction", True),
        (call(60, 7000, 0, [[1, 50], [500, 59]], how="microcompact_boundary"), "microcompaction", True),
        (call(60, 7000, 0, [[1, 50], [500, 59]]), "shortened", True),
        (call(60, 7000, 0, [[1, 109]], model="claude-sonnet-4-5"), "model_changed", True),
        (
            call(60, 4000, 0, [[1, 62]])
            | {"billed": {"input": 4003, "write_5m": 0, "write_1h": 0, "read": 0}},
            "below_minimum",
            True,
        ),
    ],
)
def test_each_cause(tmp_path: Path, later: Row, cause: str | None, exact: bool) -> None:
    """What the rules foresee is exact, causes or not; what is lost inside the lifetime is named alone."""
    found = examined(billed_file(tmp_path, [FIRST, later]))
    assert [one["cause"] for one in found["causes"] if one["cause"] != "first_call"] == [cause] * bool(
        cause
    )
    assert found["exact"] == 1 + exact
    assert found["calls"] == 2 and found["given"] == 1


def test_dollars_of_a_loss(tmp_path: Path) -> None:
    """6,400 tokens of Opus 4.5 written at 6.25 instead of read at 0.50 a million: 36.8 thousandths."""
    found = examined(billed_file(tmp_path, [FIRST, call(60, 7000, 0, [[1, 109]])]))
    loss = next(one for one in found["causes"] if one["cause"] == "lost")
    assert loss == {
        "cause": "lost",
        "provider_reason": "unavailable",
        "calls": 1,
        "tokens": 6400,
        "usd": pytest.approx(0.0368),
    }
    assert found["absolute_error_usd"] == pytest.approx(0.0368)
    assert found["billed_usd"] == pytest.approx((6400 + 7000) * 6.25e-6 + 6 * 5e-6)
    assert found["predicted_usd"] == pytest.approx(found["billed_usd"] - 0.0368)
    assert found["within_1_percent"] == 1


def test_a_read_keeps_an_entry_and_an_hour_lasts(tmp_path: Path) -> None:
    """Calls 200 s apart keep each other's five minutes; an entry of an hour outlives half of one."""
    calls = [FIRST, *(call(200 * i, 6400, 6400, [[1, 100]]) for i in range(1, 5))]
    assert examined(billed_file(tmp_path, calls))["exact"] == 5
    hour = {"input": 3, "write_5m": 0, "write_1h": 6400, "read": 0}
    long = [FIRST | {"ttl": "1h", "billed": hour}, call(1800, 6400, 6400, [[1, 100]], ttl="1h")]
    assert examined(billed_file(tmp_path, long))["exact"] == 2


def test_shared_blocks_are_counted_across_runs() -> None:
    assert shared_units(((1, 4),), ((1, 2), (3, 2), (9, 1))) == 4
    assert shared_units(((1, 4),), ((2, 4),)) == 0
    assert shared_units((), ((1, 1),)) == 0


@pytest.mark.parametrize(
    ("name", "exact", "near", "error"), [("claude_code", 0.93, 0.97, 0.10), ("pi", 0.95, 0.95, 0.27)]
)
def test_the_shared_bills_are_reproduced(
    shared_data: Path, name: str, exact: float, near: float, error: float
) -> None:
    """Call by call; every call that is not exact has a cause that says so."""
    path = shared_data / "billed_sessions" / f"{name}.jsonl.gz"
    found = examined(path)
    assert found["calls"] == sum(len(lane.calls) for lane in lanes(path))
    assert found["exact"] >= exact * found["calls"]
    assert found["within_1_percent"] >= near * found["calls"]
    assert found["absolute_error_usd"] <= error * found["billed_usd"]
    assert {one["cause"] for one in found["causes"]} <= set(CAUSES)
    if name == "claude_code":
        assert found["billed_usd"] == pytest.approx(910.0, abs=0.01)
    else:  # what was lost although alive carries 27 % of that bill: found and named, not predicted
        lost = next(one for one in found["causes"] if one["cause"] == "lost")
        assert (lost["calls"], round(lost["usd"] / found["billed_usd"], 2)) == (39, 0.27)


def test_losses_as_an_expectation_meet_the_other_half(shared_data: Path) -> None:
    """Fitted by kind of turn and version on every other lane, the rest is met within 3 %."""
    found = examined(shared_data / "billed_sessions" / "claude_code.jsonl.gz")
    halves = found["expected"]
    assert [half["lanes"] for half in halves] == [129, 129]
    for half in halves:
        assert abs(half["expected_usd"] / half["billed_usd"] - 1) <= 0.03
        assert half["predicted_usd"] / half["billed_usd"] - 1 < -0.03, "the rules alone are too low"
    every = {one["turn"]: one for one in found["lost_alive"] if one["client"] == "all"}
    assert every["user"]["share"] > 5 * every["tool"]["share"]
    few = examined(shared_data / "billed_sessions" / "pi.jsonl.gz")
    assert few["expected"] == [], "two lanes foretell nothing"


def test_a_reply_in_three_rows_is_one_call(tmp_path: Path) -> None:
    """A transcript has a row for each block of a reply, all with the same usage."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one", "two", "three")
    talk.ask(60, "go on").reply(65, 6400, 600, "four", "five")
    found = examined(talk.write(tmp_path / "s.jsonl"))
    assert (found["calls"], found["exact"]) == (2, 2)
    assert found["billed_usd"] == pytest.approx(7000 * 6.25e-6 + 6400 * 0.5e-6 + 6 * 5e-6)


@pytest.mark.parametrize(
    ("change", "cause", "exact"),
    [
        (lambda talk: talk.ask(900, "late").reply(905, 0, 7000, "x"), "expired", True),
        (lambda talk: talk.ask(60, "soon").reply(65, 0, 7000, "x"), "lost", False),
        (
            lambda talk: talk.cut(50, "compact_boundary").ask(60, "sum").reply(65, 0, 5000, "x"),
            "compaction",
            True,
        ),
        (
            lambda talk: talk.cut(50, "microcompact_boundary").ask(60, "on").reply(65, 0, 6000, "x"),
            "microcompaction",
            True,
        ),
        (lambda talk: talk.ask(60, "less").reply(65, 0, 5000, "x"), "shortened", True),
        (
            lambda talk: talk.ask(60, "other").reply(65, 0, 7000, "x", model="claude-sonnet-4-5"),
            "model_changed",
            True,
        ),
    ],
)
def test_causes_in_a_transcript(
    tmp_path: Path, change: Callable[[Transcript], Transcript], cause: str, exact: bool
) -> None:
    """The same causes, told by what a transcript shows."""
    talk = change(Transcript().ask(0, "hello").reply(5, 0, 6400, "one"))
    found = examined(talk.write(tmp_path / "s.jsonl"))
    assert [one["cause"] for one in found["causes"] if one["cause"] != "first_call"] == [cause]
    assert found["exact"] == 1 + exact


def test_sub_agents_that_start_together(tmp_path: Path) -> None:
    """Two that start within the first one's reply each wrote the head; a third reads it later."""
    for name, begin, read in (("a", 0, 0), ("b", 2, 0), ("c", 60, 5000)):
        talk = Transcript(agent=name).ask(begin, f"task {name}").reply(begin + 9, read, 6000 - read, "done")
        talk.write(tmp_path / "0a0a0a0a" / "subagents" / f"agent-{name}.jsonl")
    found = examined(tmp_path)
    assert {one["cause"]: one["calls"] for one in found["causes"]} == {
        "subagent_start": 2,
        "parallel_start": 1,
    }
    assert (found["lanes"], found["sessions"]) == (3, 1)


def test_one_of_another_model_in_between(tmp_path: Path) -> None:
    """It starts at the same time, but there is nothing that it and the others could have shared."""
    for number, model in enumerate((OPUS, "claude-sonnet-4-5", OPUS)):
        talk = Transcript(agent=f"a{number}").ask(number, f"task {number}")
        talk.reply(5, 0, 6400, "done", model=model).write(
            tmp_path / "0a0a0a0a" / "subagents" / f"agent-a{number}.jsonl"
        )
    causes = {one["cause"]: one["calls"] for one in examined(tmp_path)["causes"]}
    assert causes == {"subagent_start": 2, "parallel_start": 1}


@pytest.mark.parametrize(("results", "cause"), [(1, "lost"), (25, "lost")])
def test_results_of_tools_are_one_position(tmp_path: Path, results: int, cause: str) -> None:
    """However many tools answer at once, a mark looks back over their results as over one place."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    talk.answer(20, [f"result {i}" for i in range(results)]).reply(25, 0, 7000, "x")
    found = examined(talk.write(tmp_path / "s.jsonl"))
    assert cause in {one["cause"] for one in found["causes"]}


def test_more_messages_than_a_mark_looks_back_over(tmp_path: Path) -> None:
    """Twenty questions in a row before the next reply: the entry lies outside of the lookback."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    for number in range(20):
        talk.ask(10 + number, f"question {number}")
    found = examined(talk.reply(40, 0, 7000, "x").write(tmp_path / "s.jsonl"))
    assert "lookback" in {one["cause"] for one in found["causes"]}


@pytest.mark.parametrize(("part", "cause"), [("tools", "tools_changed"), ("system", "system_changed")])
def test_what_changed_in_a_request(tmp_path: Path, part: str, cause: str) -> None:
    """A log with whole requests shows what is not as it was: the tools, or the system prompt."""
    rows: list[Row] = []
    for minute, word in enumerate(("one", "another")):
        sent: Row = {"model": "claude-opus-4-5", "system": "rules", "tools": [{"name": "t"}]}
        sent |= {"tools": [{"name": word}]} if part == "tools" else {"system": word}
        sent["messages"] = [{"role": "user", "content": "long " * 6000}]
        usage = {"input_tokens": 3, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7500}
        reply = {"content": [{"type": "text", "text": "yes"}], "role": "assistant", "usage": usage}
        stamp = f"2026-02-03T10:0{minute}:00Z"
        rows.append({"timestamp": stamp, "session_id": "s", "request": sent, "response": reply})
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = examined(path)
    assert [one["cause"] for one in found["causes"]] == ["first_call", cause]


def test_what_the_provider_says_itself_is_counted(tmp_path: Path) -> None:
    said = {"diagnostics": {"cache_miss_reason": {"type": "messages_changed"}}}
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one").ask(60, "less")
    found = examined(talk.reply(65, 0, 5000, "x", **said).write(tmp_path / "s.jsonl"))
    (reason,) = found["reasons"]
    assert (reason["reason"], reason["calls"], reason["said"]) == ("messages_changed", 1, 1)


def test_groups_add_up(tmp_path: Path) -> None:
    """Sessions, days and projects each have all that was billed; names are shown if asked for."""
    for number, folder in enumerate(("one", "two")):
        talk = Transcript(f"0{number}", f"/home/me/{folder}").ask(0, "a").reply(5, 0, 6400, "x")
        talk.ask(900, "b").reply(905, 0, 6500, "y").write(tmp_path / f"{number}.jsonl")
    log = examine(tmp_path)
    found = diagnose(log)
    for key in ("by_session", "by_day", "by_project", "by_version"):
        groups: list[GroupEntry] = found[key]
        assert sum(one["billed_usd"] for one in groups) == pytest.approx(found["billed_usd"])
        assert sum(one["lost_usd"] for one in groups) == pytest.approx(found["lost_usd"])
        assert {one["worst"] for one in groups} == {"expired"}
    assert [one["name"] for one in found["by_day"]] == ["2026-02-03"]
    assert [one["name"] for one in found["by_project"]] == ["project 1", "project 2"]
    named = diagnose(log, names=True)
    assert {one["name"] for one in named["by_project"]} == {"/home/me/one", "/home/me/two"}


def test_an_invoice_is_reconciled(tmp_path: Path) -> None:
    """A call that read 100 tokens more than was logged: somebody wrote them."""
    path = billed_file(tmp_path, [FIRST | {"out": 1000}, call(60, 7000, 6500, [[1, 109]])])
    found = diagnose(examine(path), invoice_usd=1.0)
    invoice = found["invoice"]
    assert invoice["input_usd"] == found["billed_usd"]
    assert invoice["output_usd"] == pytest.approx(1000 * 25e-6)
    assert invoice["difference_usd"] == pytest.approx(1 - found["billed_usd"] - 0.025)
    assert invoice["unlogged_at_least_usd"] == pytest.approx(100 * 6.25e-6)
    assert "at least" in how_exact(found)[-1]
    less = diagnose(examine(path), invoice_usd=0.01)
    assert "more than the invoice" in how_exact(less)[-1]
