"""The doctor's command line: its figures, its checks for CI, and what it refuses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from reports.doctor import how_exact
from sim.doctor.diagnose import diagnose
from sim.doctor.examine import examine
from sim.doctor.outcome import Diagnosis
from sim.doctor.what_if import price
from tests.doctor.logs import FIRST, Transcript, billed_file, call, rollout
from tests.refusing import Cli, refused


def test_on_the_command_line(cli_here: Cli, tmp_path: Path) -> None:
    """The figures as JSON; as text the first line says how far the bill is reproduced."""
    path = billed_file(tmp_path, [FIRST, call(60, 7000, 6400, [[1, 109]])])
    done = cli_here("doctor", path, "--json")
    assert done.returncode == 0, done.stderr
    found: Diagnosis = json.loads(done.stdout)
    log = examine(path)
    assert found == json.loads(json.dumps(diagnose(log, price(log))))
    assert "2 of 2 calls exact (100.0%)" in how_exact(found)[0]


def test_without_an_argument(cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logs of Claude Code and Codex in the user's folder, together; a message where there are none."""
    monkeypatch.setenv("HOME", str(tmp_path))
    refused(cli_here, tmp_path, "doctor", said=("neither ~/.claude/projects nor ~/.codex/sessions has",))
    talk = Transcript().ask(0, "hello").reply(5, 0, 6400, "one")
    talk.write(tmp_path / ".claude" / "projects" / "a" / "s.jsonl")
    rollout(tmp_path / ".codex" / "sessions" / "2026" / "rollout.jsonl")
    done = cli_here("doctor", "--json", "--no-what-if")
    assert done.returncode == 0, done.stderr
    found: Diagnosis = json.loads(done.stdout)
    assert (found["calls"], found["exact"], found["sessions"]) == (3, 3, 2)


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
