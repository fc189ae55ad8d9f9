"""The files that ship: every value has a source with a date, and they say what the reference says."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.providers import rulebook
from sim.providers.schema import is_sourced, plain
from tests.refusing import Cli
from workloads.errors import InputError

PLAIN = {"match", "modes", "notes"}
"""Keys that are choices of the file, not values of the provider."""


def _bare(data: Any, at: str) -> list[str]:
    """Paths of values without provenance."""
    if is_sourced(data):
        return []
    if isinstance(data, dict):
        return [p for key, value in data.items() if key not in PLAIN for p in _bare(value, f"{at}.{key}")]
    if isinstance(data, list):
        return [p for i, value in enumerate(data) for p in _bare(value, f"{at}[{i}]")]
    return [at]


def _sources(data: Any) -> set[str]:
    if is_sourced(data):
        return {data["source"]}
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return {source for child in children for source in _sources(child)}


@pytest.mark.parametrize("name", rulebook.names())
def test_every_value_has_a_source_and_a_date(name: str) -> None:
    known = yaml.safe_load(rulebook.FOLDER.joinpath(rulebook.SOURCES).read_text("utf-8"))
    records = rulebook.raw(name)["records"]
    assert _bare(records, name) == []
    for source in _sources(records):
        assert isinstance(known[source]["seen"], date)
        assert known[source]["url"]


def test_every_source_is_used() -> None:
    known = yaml.safe_load(rulebook.FOLDER.joinpath(rulebook.SOURCES).read_text("utf-8"))
    used = {source for name in rulebook.names() for source in _sources(rulebook.raw(name)["records"])}
    assert set(known) == used


def test_sourced_and_plain_values_are_the_same() -> None:
    assert plain({"a": {"value": [1], "source": "x"}, "b": [{"value": 2, "source": "y"}]}) == {
        "a": [1],
        "b": [2],
    }
    assert plain({"value": 3, "other": 4}) == {"value": 3, "other": 4}


@pytest.mark.parametrize(
    ("provider", "model", "mode", "kind"),
    [
        ("anthropic", "claude-opus-5", "automatic", "breakpoint"),
        ("openai", "gpt-5", "automatic", "grid"),
        ("openai", "gpt-5.5", "automatic", "grid"),
        ("openai", "gpt-4o", "automatic", "grid"),
        ("openai", "gpt-5.6-sol", "automatic", "breakpoint"),
        ("openai", "gpt-5.6", "explicit", "breakpoint"),
        ("openai", "gpt-6.1-sol", "automatic", "breakpoint"),
        ("gemini", "gemini-2.5-pro", "automatic", "chance"),
        ("gemini", "gemini-3.1-pro-preview", "explicit", "object"),
        ("bedrock", "global.anthropic.claude-opus-5", "explicit", "breakpoint"),
        ("bedrock", "claude-opus-5", "explicit", "breakpoint"),
        ("bedrock", "global.openai.gpt-5.6-sol", "explicit", "breakpoint"),
        ("deepseek", "deepseek-v4-pro", "automatic", "unit"),
    ],
)
def test_record_for(provider: str, model: str, mode: str, kind: str) -> None:
    assert rulebook.record(provider, model, mode, "x").kind == kind


def test_no_record() -> None:
    with pytest.raises(
        InputError,
        match=r"x\.caching\.mode = 'explicit': openai does not offer it for gpt-5; allowed: automatic, off",
    ):
        rulebook.record("openai", "gpt-5", "explicit", "x")
    with pytest.raises(InputError, match=r"x\.caching\.mode = 'automatic': bedrock does not offer"):
        rulebook.record("bedrock", "claude-opus-5", "automatic", "x")
    with pytest.raises(InputError, match="no caching rules of anthropic for it"):
        rulebook.record("anthropic", "gpt-5", "automatic", "x")
    with pytest.raises(InputError, match=r"'antropic' .did you mean 'anthropic'"):
        rulebook.require_known("antropic", "x.provider")


def test_read_multiples_are_those_of_the_price_library() -> None:
    """Where the library has the model, the rule's multiple is its read price over its input price."""
    from sim.providers.prices import price_list
    from tests.providers.test_bills import NOON

    for provider, model in [("anthropic", "claude-opus-5"), ("anthropic", "claude-opus-5-5"), ("anthropic", "claude-fable-5-2"), ("openai", "gpt-4o"), ("openai", "gpt-4.1"), ("openai", "gpt-5"), ("openai", "gpt-6-sol"), ("openai", "gpt-6.1-sol"), ("xai", "grok-4.7"), ("kimi", "kimi-k3"), ("gemini", "gemini-3.8-flash"), ("groq", "openai/gpt-oss-120b")]:  # fmt: skip  # noqa: E501
        rules = rulebook.record(provider, model, "automatic", "x")
        card = price_list(
            rules, rulebook.provider(provider).library, model, "standard", NOON, None, "x"
        ).cards[0]
        assert float(card.read / card.input) == pytest.approx(rules.read_mult)
        for lifetime, price in zip(rules.lifetimes, card.writes, strict=True):
            assert float(price / card.input) == (
                1.0 if lifetime.write_mult is None else lifetime.write_mult
            )


def _alternatives(data: Any) -> list[str]:
    if is_sourced(data):
        return [str(text) for text in data.get("alternatives", [])]
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [text for child in children for text in _alternatives(child)]


def test_alternatives_are_documented(root: Path) -> None:
    """Where sources disagree, the user documentation names what does not ship."""
    page = (root / "docs/providers.md").read_text("utf-8")
    for name in rulebook.names():
        for text in _alternatives(rulebook.raw(name)["records"]):
            assert text in page, (name, text)


def test_models_of_the_price_library_have_rules() -> None:
    """Every text model with a cached price, but for those of others that a provider sells too."""
    from sim.providers.prices import models
    from tests.providers.test_bills import NOON

    theirs = {
        "anthropic": "claude-",
        "openai": "gpt-[456]|o[134]",
        "gemini": "gemini-",
        "deepseek": "deepseek-",
        "xai": "grok-",
        "kimi": "kimi-",
        "bedrock": ".*(anthropic|gpt-[56][.][6-9])",
    }
    other = re.compile("gpt-4.5-preview|.*(image|realtime|audio|transcribe|tts|live)")
    for provider, pattern in theirs.items():
        library = rulebook.provider(provider).library
        assert library is not None
        for info in models(library):
            priced = info.get_prices(NOON).cache_read_mtok is not None
            if priced and re.match(pattern, info.id) and not other.match(info.id):
                known = (
                    rulebook.first_record(provider, info.id, mode) for mode in ("automatic", "explicit")
                )
                assert any(known), (provider, info.id)


def test_rules_are_printed_with_their_sources(cli_here: Cli) -> None:
    """Every value of the records that hold for a model, where it was read and when."""
    done = cli_here("rules", "anthropic:claude-opus-5-5")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.replace("│", " ").split())
    for text in ("min_tokens 512", "read_mult 0.05", "2026-09-26", "3600"):
        assert text in words
    assert "4096" not in words
    printed = rulebook.provenance("openai")
    assert {value.source for value in printed} <= {
        source["url"]
        for source in yaml.safe_load(rulebook.FOLDER.joinpath(rulebook.SOURCES).read_text("utf-8")).values()
    }
    assert len(printed) > 100
    for arguments, said in (
        (["antropic"], "did you mean 'anthropic'"),
        (["anthropic:gpt-5"], "models like"),
    ):
        done = cli_here("rules", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


def test_rules_of_a_model_are_those_that_hold() -> None:
    """The first record for each mode: two for GPT-6, one for GPT-5."""
    assert {value.modes for value in rulebook.provenance("openai", "gpt-6.1-sol")} == {
        "automatic",
        "explicit",
    }
    assert {value.match for value in rulebook.provenance("openai", "gpt-5")} == {"gpt-5.*"}
