"""Prompts as tokens: what a chat sends next begins with what it sent and got before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.server.api.replies import Speaker
from sim.server.api.template import Message, call, render, text
from sim.server.api.tokens import FourCharacters, ModelTokens, Remembering, tokens_of
from sim.server.options import Replies
from tests.server import tokenizer
from workloads.errors import InputError

texts = st.text(max_size=30)
parts = st.one_of(
    texts.map(text),
    st.builds(call, st.sampled_from(["read", "write"]), st.dictionaries(texts, texts), texts),
)
messages = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.lists(parts, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=5,
)


@given(messages, messages, st.lists(parts, min_size=1, max_size=2).map(tuple))
def test_a_longer_history_extends_a_shorter_one(history: Any, more: Any, reply: Any) -> None:
    tokens = FourCharacters()
    history = [*history, Message("user", (text("Well?"),))]
    first = render(history, [text("tool")], tokens)
    said = render([Message("assistant", reply)], [], tokens).ids[1:]
    second = render(
        [*history, Message("assistant", reply), Message("user", ()), *more], [text("tool")], tokens
    )
    assert second.ids[: len(first.ids) + len(said)] == first.ids + said
    assert second.message_ends[: len(first.message_ends)] == first.message_ends
    assert (second.tools_end, second.message_ends[0]) == (first.tools_end, first.tools_end)


@given(texts, texts, texts)
def test_equal_beginnings_have_equal_tokens(head: str, one: str, other: str) -> None:
    tokens = Remembering(FourCharacters(), most_characters=40)
    same = len(head) // 4
    assert tokens.encode(head + one).ids[:same] == tokens.encode(head + other).ids[:same]
    found = tokens.encode(head + one)
    assert "".join(found.pieces) == head + one == tokens.decode(list(found.ids))


@given(st.integers(1, 300))
def test_filler_has_the_asked_length_and_survives_being_stripped(length: int) -> None:
    tokens = tokens_of(None)
    said = Speaker(Replies(), tokens, 1, Path()).filler(length)
    whole = "".join(said.pieces)
    assert len(said.ids) == len(said.pieces) == length
    assert whole == whole.strip() and tokens.encode(whole) == said


def test_a_models_tokenizer(tmp_path: Path) -> None:
    model_tokens = tokens_of(tokenizer.write(tmp_path))
    found = model_tokens.encode("the cat saw ünïcode 🙂 \ud800")
    assert "".join(found.pieces) == "the cat saw ünïcode 🙂 \ufffd" and model_tokens.note == ""
    assert model_tokens.marker("user") > max(found.ids)
    said = Speaker(Replies(), model_tokens, 1, Path()).filler(40)
    assert len(said.ids) == 40 and model_tokens.encode("".join(said.pieces)) == said
    assert model_tokens.decode(list(said.ids)) == "".join(said.pieces)
    with pytest.raises(KeyError):
        model_tokens.decode([10**6])


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match=r"t\.json: no tokenizer"):
        ModelTokens(tmp_path / "t.json")
