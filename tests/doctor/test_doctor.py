"""Billed calls held against the rules: small logs of our own, and the shared ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reports.doctor import how_exact
from sim.doctor.billed import lanes
from sim.doctor.calls import shared_units
from sim.doctor.causes import CAUSES
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.outcome import Diagnosis, GroupEntry
from sim.doctor.what_if import price
from tests.doctor.logs import FIRST, OPUS, Row, Transcript, billed_file, call
from tests.refusing import Cli, refused
from tests.workloads.conversation import turns
from tests.workloads.one_chat import WRITERS
from workloads.errors import InputError


def _examined(path: Path) -> Diagnosis:
    return diagnose(examine(path))


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
    found = _examined(billed_file(tmp_path, [FIRST, later]))
    assert [one["cause"] for one in found["causes"] if one["cause"] != "first_call"] == [cause] * bool(
        cause
    )
    assert found["exact"] == 1 + exact
    assert found["calls"] == 2 and found["given"] == 1


def test_dollars_of_a_loss(tmp_path: Path) -> None:
    """6,400 tokens of Opus 4.5 written at 6.25 instead of read at 0.50 a million: 36.8 thousandths."""
    found = _examined(billed_file(tmp_path, [FIRST, call(60, 7000, 0, [[1, 109]])]))
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
    assert _examined(billed_file(tmp_path, calls))["exact"] == 5
    hour = {"input": 3, "write_5m": 0, "write_1h": 6400, "read": 0}
    long = [FIRST | {"ttl": "1h", "billed": hour}, call(1800, 6400, 6400, [[1, 100]], ttl="1h")]
    assert _examined(billed_file(tmp_path, long))["exact"] == 2


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
    found = _examined(path)
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
    found = _examined(shared_data / "billed_sessions" / "claude_code.jsonl.gz")
    halves = found["expected"]
    assert [half["lanes"] for half in halves] == [129, 129]
    for half in halves:
        assert abs(half["expected_usd"] / half["billed_usd"] - 1) <= 0.03
        assert half["predicted_usd"] / half["billed_usd"] - 1 < -0.03, "the rules alone are too low"
    every = {one["turn"]: one for one in found["lost_alive"] if one["client"] == "all"}
    assert every["user"]["share"] > 5 * every["tool"]["share"]
    few = _examined(shared_data / "billed_sessions" / "pi.jsonl.gz")
    assert few["expected"] == [], "two lanes foretell nothing"


def test_a_reply_in_three_rows_is_one_call(tmp_path: Path) -> None:
    """A transcript has a row for each block of a reply, all with the same usage."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one", "two", "three")
    talk.ask(60, "go on").reply(65, 6400, 600, "four", "five")
    found = _examined(talk.write(tmp_path / "s.jsonl"))
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
    found = _examined(talk.write(tmp_path / "s.jsonl"))
    assert [one["cause"] for one in found["causes"] if one["cause"] != "first_call"] == [cause]
    assert found["exact"] == 1 + exact


def test_sub_agents_that_start_together(tmp_path: Path) -> None:
    """Two that start within the first one's reply each wrote the head; a third reads it later."""
    for name, begin, read in (("a", 0, 0), ("b", 2, 0), ("c", 60, 5000)):
        talk = Transcript(agent=name).ask(begin, f"task {name}").reply(begin + 9, read, 6000 - read, "done")
        talk.write(tmp_path / "0a0a0a0a" / "subagents" / f"agent-{name}.jsonl")
    found = _examined(tmp_path)
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
    causes = {one["cause"]: one["calls"] for one in _examined(tmp_path)["causes"]}
    assert causes == {"subagent_start": 2, "parallel_start": 1}


@pytest.mark.parametrize(("results", "cause"), [(1, "lost"), (25, "lost")])
def test_results_of_tools_are_one_position(tmp_path: Path, results: int, cause: str) -> None:
    """However many tools answer at once, a mark looks back over their results as over one place."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    talk.answer(20, [f"result {i}" for i in range(results)]).reply(25, 0, 7000, "x")
    found = _examined(talk.write(tmp_path / "s.jsonl"))
    assert cause in {one["cause"] for one in found["causes"]}


def test_more_messages_than_a_mark_looks_back_over(tmp_path: Path) -> None:
    """Twenty questions in a row before the next reply: the entry lies outside of the lookback."""
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    for number in range(20):
        talk.ask(10 + number, f"question {number}")
    found = _examined(talk.reply(40, 0, 7000, "x").write(tmp_path / "s.jsonl"))
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
    found = _examined(path)
    assert [one["cause"] for one in found["causes"]] == ["first_call", cause]


def test_what_the_provider_says_itself_is_counted(tmp_path: Path) -> None:
    said = {"diagnostics": {"cache_miss_reason": {"type": "messages_changed"}}}
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one").ask(60, "less")
    found = _examined(talk.reply(65, 0, 5000, "x", **said).write(tmp_path / "s.jsonl"))
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


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("lost_usd>5", False),
        ("lost_usd > 0.01", True),
        ("lost_share > 10%", True),
        ("lost_share>0.99", False),
        ("exact_share < 1", False),
        ("expired_usd >= 0.03", True),
        ("lost_but_head_usd > 0", False),
    ],
)
def test_a_check_for_ci(cli_here: Cli, tmp_path: Path, condition: str, fails: bool) -> None:
    """Exit code 1 if the condition holds, and a line that says by which figure."""
    path = billed_file(tmp_path, [FIRST, call(900, 6400, 0, [[1, 100]])])
    done = cli_here("doctor", path, "--json", "--no-what-if", "--fail-if", condition)
    assert done.returncode == fails, done.stderr
    assert (f"fails: {condition}" in done.stderr) == fails
    json.loads(done.stdout)


def test_bad_conditions_and_formats(cli_here: Cli, tmp_path: Path) -> None:
    path = billed_file(tmp_path, [FIRST])
    run = partial(refused, cli_here, tmp_path, "doctor", path)
    run("--fail-if", "lost_usd=5", said=("--fail-if lost_usd=5: not a condition; allowed: FIGURE",))
    run("--fail-if", "tokens > 5", said=("no figure 'tokens'; allowed: calls,",))
    run("--format", "nothing", said=("--format nothing; allowed: billed, agent_text_logs",))
    run("--format", "mooncake", said=("format mooncake has no counts of what a provider read",))
    run("--provider", "antropic", said=("did you mean 'anthropic'",))


def test_without_an_argument(cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of Claude Code and Codex in the user's folder, together; a message where there are none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    refused(cli_here, tmp_path, "doctor", said=("neither ~/.claude/projects nor ~/.codex/sessions has",))
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    talk.write(tmp_path / ".claude" / "projects" / "a" / "s.jsonl")
    _rollout(tmp_path / ".codex" / "sessions" / "2026" / "rollout.jsonl")
    done = cli_here("doctor", "--json", "--no-what-if")
    assert done.returncode == 0, done.stderr
    found: Diagnosis = json.loads(done.stdout)
    assert (found["calls"], found["exact"], found["sessions"]) == (3, 3, 2)


def test_calls_left_out_of_two_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a model without a price are counted in both."""
    monkeypatch.setenv("HOME", str(tmp_path))
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one").ask(60, "more")
    talk.reply(65, 0, 6400, "two", model="no-model").write(tmp_path / ".claude/projects/a/s.jsonl")
    path = _rollout(tmp_path / ".codex" / "sessions" / "2026" / "rollout.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:5], lines[1].replace("gpt-5.6-sol", "no-model"), *lines[5:]]))
    found = examine(None)
    assert found.left_out == {"no-model": 2} and len(found.calls) == 2


def test_bad_lines_are_skipped_if_asked(tmp_path: Path) -> None:
    path = Transcript().ask(0, "hello").reply(5, 0, 6400, "one").write(tmp_path / "s.jsonl")
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(InputError, match="not JSON"):
        examine(path)
    assert len(examine(path, skip=1).calls) == 1


@pytest.mark.parametrize(
    ("name", "model", "provider"),
    [
        ("openai responses", "gpt-5", "openai"),
        ("litellm", "claude-opus-4-5", "anthropic"),
        ("langfuse", "claude-opus-4-5", "anthropic"),
        ("langsmith", "claude-opus-4-5", "anthropic"),
        ("helicone", "gpt-5", "openai"),
        ("otel_genai", "claude-opus-4-5", "anthropic"),
    ],
)
def test_any_importer_with_counts(tmp_path: Path, name: str, model: str, provider: str) -> None:
    """One conversation of two sessions in many formats: six calls, every prompt token billed once."""
    kind, write = WRITERS[name]
    log = examine(write(tmp_path), kind, model=model)
    totals = sorted(judged.call.billed.total for judged in log.calls)
    assert totals == sorted(turn.input_tokens for turn in turns())
    found = diagnose(log, price(log))
    assert (found["calls"], found["given"], found["sessions"]) == (6, 2, 2)
    assert log.tariff(log.lanes[0]).provider_of(model) == provider
    assert found["what_if"]


def test_what_a_log_must_have(cli_here: Cli, tmp_path: Path) -> None:
    """Times, counts of what was read, and models whose prices are known."""
    for name, said in (
        ("openai_messages", "no call says how many tokens were read from a cache"),
        ("sharegpt", "the rows have no times; allowed: a log with the time of each call"),
        ("litellm", "no call names its model; allowed: --model M"),
    ):
        kind, write = WRITERS[name]
        folder = tmp_path / kind
        folder.mkdir()
        refused(cli_here, tmp_path, "doctor", write(folder), "--format", kind, said=(said,))


def test_codex_by_its_own_rules(tmp_path: Path) -> None:
    """A ChatGPT login reads in steps of 1,024 tokens behind the first 768; 115 are never stored."""
    found = _examined(_rollout(tmp_path / "rollout.jsonl"))
    assert (found["calls"], found["exact"]) == (2, 2)
    assert any("ChatGPT plan" in note for note in found["notes"])


def _rollout(path: Path) -> Path:
    """A session of Codex with two calls, the second of which reads what the rules let it."""
    rows: list[Row] = [
        {"type": "session_meta", "payload": {"id": "s", "cwd": "/home/me", "cli_version": "0.60"}},
        {"type": "turn_context", "payload": {"model": "gpt-5.6-sol", "effort": "high"}},
    ]
    total = {"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0}
    for number, (sent, cached) in enumerate(((10_000, 0), (12_000, 768 + 8 * 1024))):
        last = {"input_tokens": sent, "cached_input_tokens": cached, "output_tokens": 20}
        total = {key: total[key] + last[key] for key in total}
        info = {"last_token_usage": last, "total_token_usage": total}
        for kind, payload in (
            ("response_item", {"type": "message", "role": "user", "content": f"question {number}"}),
            ("response_item", {"type": "message", "role": "assistant", "content": f"answer {number}"}),
            ("event_msg", {"type": "token_count", "info": info}),
        ):
            rows.append({"type": kind, "payload": payload})
    for second, row in enumerate(rows):
        row["timestamp"] = f"2026-10-03T10:00:{second:02}.000Z"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_on_the_command_line(cli_here: Cli, tmp_path: Path) -> None:
    """The figures as JSON; as text the first line says how far the bill is reproduced."""
    path = billed_file(tmp_path, [FIRST, call(60, 7000, 6400, [[1, 109]])])
    done = cli_here("doctor", path, "--json")
    assert done.returncode == 0, done.stderr
    found: Diagnosis = json.loads(done.stdout)
    log = examine(path)
    assert found == json.loads(json.dumps(diagnose(log, price(log))))
    assert "2 of 2 calls exact (100.0%)" in how_exact(found)[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ttl": "2h"}, ("request 1: ttl = '2h'; allowed: 5m, 1h",)),
        ({"model": None}, ("request 1: model = None; allowed: the name of a model",)),
        ({"model": "claude-opus-51"}, ("'claude-opus-51': no price is known", "did you mean")),
        ({"billed": None}, ("request 1: billed = None; allowed: {input, write_5m",)),
        ({"billed": {"input": -1}}, ("request 1, billed: input = -1; allowed: a whole number",)),
        ({"in": "many"}, ("request 1: in = 'many'",)),
        ({"hash_runs": 1}, ("request 1: hash_runs = 1; allowed: a list of [first, count]",)),
        ({"hash_runs": [[1]]}, ("request 1: hash_runs contains [1]; allowed: [first, count], whole",)),
        ({"hash_runs": [[1, 10**30]]}, ("ids for in = 6400; allowed: 100 to 100 (64 tokens each)",)),
        ({"t": -5}, ("request 1: t = -5; allowed: a number of at least 0",)),
    ],
)
def test_bad_logs(cli_here: Cli, tmp_path: Path, change: Row, said: tuple[str, ...]) -> None:
    path = billed_file(tmp_path, [{**FIRST, **change}])
    refused(cli_here, tmp_path, "doctor", path, said=said)


def test_no_calls_and_times_that_go_back(tmp_path: Path) -> None:
    """A log without calls, and one whose second call came before its first."""
    with pytest.raises(InputError, match="no calls; allowed: one lane"):
        examine(billed_file(tmp_path, []))
    with pytest.raises(InputError, match="request 2: t = 1; allowed: at least 5"):
        _examined(billed_file(tmp_path, [{**FIRST, "t": 5}, {**FIRST, "t": 1}]))
    (tmp_path / "empty.jsonl").write_text('{"id": "x", "requests": 3}\n')
    with pytest.raises(InputError, match="requests = 3; allowed: a list"):
        _examined(tmp_path / "empty.jsonl")
