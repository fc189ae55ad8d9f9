"""The examples against a live server: the good client hits, its bad twins lose what they change."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest

from examples import bad_twins, chat, marks
from sim.config import load_config
from sim.server.opening import open_system
from tests.server.conftest import anthropic_client, openai_client
from tests.server.running import Up, up


@pytest.fixture(scope="module")
def vllm(root: Path) -> Iterator[Up[Any]]:
    with up(lambda: open_system(load_config(root / "configs/serve.yaml"), "vllm", inf)) as server:
        yield server


@pytest.fixture(scope="module")
def hosted_anthropic(root: Path) -> Iterator[Up[Any]]:
    with up(lambda: open_system(load_config(root / "configs/serve.yaml"), "anthropic", inf)) as server:
        yield server


def test_a_chat_that_only_appends_hits_its_whole_past(vllm: Up[Any]) -> None:
    with openai_client(vllm) as client:
        talk = chat.Chat(client)
        turns = [talk.ask(question) for question in chat.QUESTIONS]
    for before, after in pairwise(turns):
        past = before.prompt_tokens + len(before.reply) // 4
        assert after.cached_tokens == (past - 1) // 16 * 16, "but for the last token and the last block"


def test_bad_twins_lose_what_they_change(vllm: Up[Any]) -> None:
    random.seed(1)
    with openai_client(vllm) as client:
        shares = {name: bad_twins.cached_shares(client, name)[1:] for name in bad_twins.HABITS}
        tools = chat.Chat(client, habit=lambda prompt: chat.Prompt("", prompt.tools, prompt.messages[-1:]))
        of_tools = tools.ask("x").prompt_tokens
    assert min(shares["append only"]) > 0.9
    assert min(shares["clock in the question"]) > 0.85
    for name in ("clock in the system message", "edited history"):
        assert max(shares[name]) < min(shares["append only"]), name
    assert max(shares["clock in the system message"]) < of_tools / 400
    assert sum(shares["shuffled tools"]) / 9 < 0.3, "now and then an order comes again"
    late = shares["truncated history"][3:]
    assert max(late) < shares["append only"][3] and min(late) > 0.4, "tools and system are still found"


def test_a_mark_behind_what_changes_writes_what_nobody_reads(hosted_anthropic: Up[Any]) -> None:
    with anthropic_client(hosted_anthropic) as client:
        stable = marks.usages(client, "stable")
        changing = marks.usages(client, "changing")
        none = marks.usages(client, "none")
    long = 1 + -(-(9 + len(marks.RULES)) // 4)
    assert [(read, written) for read, written, _ in stable] == [(0, long)] + [(long, 0)] * (marks.TURNS - 1)
    assert all(written > long for _, written, _ in changing)
    assert {(read, written) for read, written, _ in none} == {(0, 0)}


@pytest.mark.parametrize(("module", "words"), [(chat, "turn 10"), (bad_twins, "edited history")])
def test_they_run_as_commands(
    vllm: Up[Any],
    module: Any,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["example", "--url", f"{vllm.url}/v1"])
    module.main()
    assert words in capsys.readouterr().out


def test_the_page_shows_what_bad_twins_find(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a server that has seen nothing yet; tools are shuffled anew in every run."""
    config = load_config(root / "configs/serve.yaml")
    assert config.server is not None
    with up(lambda: open_system(config, "vllm", inf), config.server.model_dump()) as server:
        monkeypatch.setattr("sys.argv", ["example", "--url", f"{server.url}/v1"])
        bad_twins.main()
    page = (root / "docs/server.md").read_text("utf-8").splitlines()
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("shuffled")]
    assert len(lines) == len(bad_twins.HABITS) and [line for line in lines if line not in page] == []


def test_marks_run_as_a_command(
    hosted_anthropic: Up[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["example", "--url", hosted_anthropic.url])
    marks.main()
    assert capsys.readouterr().out.count("read") == 3 * marks.TURNS
