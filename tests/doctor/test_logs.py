"""Which logs the doctor reads: of any importer with counts, in a user's folder, with bad lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.what_if import price
from tests.doctor.logs import FIRST, Row, Transcript, billed_file, examined, rollout
from tests.refusing import Cli, refused
from tests.workloads.one_chat import WRITERS
from tests.workloads.two_sessions import turns
from workloads.errors import InputError


def test_calls_left_out_of_two_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a model without a price are counted in both."""
    monkeypatch.setenv("HOME", str(tmp_path))
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one").ask(60, "more")
    talk.reply(65, 0, 6400, "two", model="no-model").write(tmp_path / ".claude/projects/a/s.jsonl")
    path = rollout(tmp_path / ".codex" / "sessions" / "2026" / "rollout.jsonl")
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
    found = examined(rollout(tmp_path / "rollout.jsonl"))
    assert (found["calls"], found["exact"]) == (2, 2)
    assert any("ChatGPT plan" in note for note in found["notes"])


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
        examined(billed_file(tmp_path, [{**FIRST, "t": 5}, {**FIRST, "t": 1}]))
    (tmp_path / "empty.jsonl").write_text('{"id": "x", "requests": 3}\n')
    with pytest.raises(InputError, match="requests = 3; allowed: a list"):
        examined(tmp_path / "empty.jsonl")
