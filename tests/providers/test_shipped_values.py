# ruff: noqa: E501 (tables of cases)
"""What each file that ships does to the same two prompts: a value changed there is a test failed here."""

from __future__ import annotations

import pytest

from sim.providers import rulebook
from tests.providers.script import INSTANT, SLOW, read, rules, script, send, written

# provider, model, mode, shared tokens, tokens found by the second prompt
SHARED = [
    ("bedrock", "claude-opus-4-7", "explicit", 4095, 0), ("bedrock", "claude-opus-4-7", "explicit", 4096, 4096),
    ("bedrock", "claude-opus-5", "explicit", 511, 0), ("bedrock", "claude-opus-5", "explicit", 512, 512),
    ("bedrock", "claude-sonnet-4-6", "explicit", 1023, 0), ("bedrock", "claude-sonnet-4-6", "explicit", 1024, 1024),
    ("bedrock", "claude-3-5-haiku", "explicit", 2047, 0), ("bedrock", "claude-3-5-haiku", "explicit", 2048, 2048),
    ("bedrock", "openai.gpt-5.6-sol", "explicit", 1023, 0), ("bedrock", "openai.gpt-5.6-sol", "explicit", 1024, 1024),
    ("openai", "gpt-6-sol", "automatic", 1023, 0), ("openai", "gpt-6-sol", "automatic", 1025, 1025),
    ("openai", "gpt-5.6-sol", "explicit", 1023, 0), ("openai", "gpt-5.6-sol", "explicit", 1024, 1024),
    ("openai", "gpt-4o", "automatic", 1200, 1152), ("openai", "gpt-4.1", "automatic", 1200, 1152),
    ("azure", "gpt-5", "automatic", 1023, 0), ("azure", "gpt-5", "automatic", 1200, 1152),
    ("azure", "gpt-6-sol", "explicit", 1023, 0), ("azure", "gpt-6-sol", "explicit", 1024, 1024),
    ("gemini", "gemini-2.5-flash", "automatic", 2047, 0), ("gemini", "gemini-2.5-flash", "automatic", 2050, 2050),
    ("gemini", "gemini-4-argon", "automatic", 4095, 0), ("gemini", "gemini-4-argon", "automatic", 4096, 4096),
    ("deepseek", "deepseek-v4-pro", "automatic", 63, 0), ("deepseek", "deepseek-v4-pro", "automatic", 100, 100),
    ("xai", "grok-4.7", "automatic", 100, 0), ("xai", "grok-4.7", "automatic", 300, 256),
    ("kimi", "kimi-k3", "automatic", 255, 0), ("kimi", "kimi-k3", "automatic", 600, 512),
    ("kimi", "kimi-k2", "automatic", 600, 512),
    ("qwen", "qwen3-max", "automatic", 1023, 0), ("qwen", "qwen3-max", "automatic", 1025, 1025),
    ("qwen", "qwen3-max", "explicit", 1023, 0), ("qwen", "qwen3-max", "explicit", 1024, 1024),
    ("groq", "openai/gpt-oss-120b", "automatic", 127, 0), ("groq", "openai/gpt-oss-120b", "automatic", 300, 256),
    ("mistral", "mistral-large-latest", "automatic", 63, 0), ("mistral", "mistral-large-latest", "automatic", 200, 192),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "mode", "shared", "found"), SHARED)
def test_minimum_and_granularity(provider: str, model: str, mode: str, shared: int, found: int) -> None:
    """A prompt, then the same with more behind it: what is shared and at least the minimum, in whole steps."""
    trace = script({"a": shared, "b": 5000}, ("a", 0), ("a b", 60))
    assert read(send(trace, rules(provider, model, mode)))[1] == found


# provider, model, mode, lifetime, longest pause that is found for sure, shortest that is not
LIVES = [
    ("anthropic", "claude-opus-5", "automatic", "5m", 299, 300), ("anthropic", "claude-opus-5", "automatic", "1h", 3599, 3600),
    ("bedrock", "claude-opus-5", "explicit", "5m", 299, 300), ("bedrock", "claude-opus-5", "explicit", "1h", 3599, 3600),
    ("bedrock", "openai.gpt-5.6-sol", "explicit", "30m", 1799, 1800),
    ("openai", "gpt-6-sol", "automatic", "30m", 1799, 1800), ("openai", "gpt-6-sol", "automatic", "12h", 43199, 43200),
    ("openai", "gpt-6-sol", "explicit", "30m", 1799, 1800), ("openai", "gpt-6.1-sol", "automatic", "30m", 1799, 1800),
    ("openai", "gpt-5", "automatic", "24h", 1799, 1800), ("openai", "gpt-5", "automatic", "in_memory", 299, 600),
    ("openai", "gpt-5.5", "automatic", "24h", 1799, 1800),
    ("azure", "gpt-5", "automatic", "in_memory", 299, 600), ("azure", "gpt-5", "automatic", "24h", 1799, 1800),
    ("azure", "gpt-6-sol", "automatic", "30m", 1799, 1800),
    ("gemini", "gemini-3.8-flash", "automatic", "implicit", 86399, 86400),
    ("deepseek", "deepseek-v4-pro", "automatic", "default", 3599, 86400),
    ("xai", "grok-4.7", "automatic", "default", 299, 3600), ("kimi", "kimi-k3", "automatic", "5m", 299, 300),
    ("kimi", "kimi-k3", "automatic", "1h", 3599, 3600), ("kimi", "kimi-k2", "automatic", "5m", 299, 300),
    ("qwen", "qwen3-max", "automatic", "default", 299, 300), ("qwen", "qwen3-max", "explicit", "5m", 299, 300),
    ("groq", "openai/gpt-oss-120b", "automatic", "default", 7199, 7200),
    ("mistral", "mistral-large-latest", "automatic", "default", 299, 300),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "mode", "ttl", "found", "missed"), LIVES)
def test_lifetimes(provider: str, model: str, mode: str, ttl: str, found: float, missed: float) -> None:
    for pause, hit in ((found, True), (missed, False)):
        trace = script({"a": 8192}, ("a", 0), ("a", pause))
        assert bool(read(send(trace, rules(provider, model, mode), INSTANT, ttl=ttl))[1]) is hit


@pytest.mark.parametrize(
    ("provider", "model", "mode", "read_mult", "write_mults"),
    [
        ("anthropic", "claude-opus-5", "automatic", 0.1, [1.25, 2]), ("anthropic", "claude-opus-5-5", "automatic", 0.05, [1.25, 2]),
        ("anthropic", "claude-sonnet-5-5", "automatic", 0.05, [1.25, 2]), ("anthropic", "claude-fable-5-1", "automatic", 0.025, [1.25, 2]),
        ("anthropic", "claude-fable-5-2", "automatic", 0.025, [1.25, 2]), ("anthropic", "claude-mythos-5-1", "automatic", 0.025, [1.25, 2]),
        ("bedrock", "claude-opus-5", "explicit", 0.1, [1.25, 2]), ("openai", "gpt-6-sol", "automatic", 0.1, [1.25, 2.5]),
        ("openai", "gpt-6.1-sol", "automatic", 0.05, [1.25, 2.5]), ("openai", "gpt-6.1-sol", "explicit", 0.05, [1.25, 2.5]),
        ("openai", "gpt-4o", "automatic", 0.5, [None, None]), ("openai", "o1", "automatic", 0.5, [None, None]),
        ("openai", "gpt-4.1", "automatic", 0.25, [None, None]), ("openai", "o3", "automatic", 0.25, [None, None]),
        ("openai", "gpt-5", "automatic", 0.1, [None, None]), ("azure", "gpt-4o", "automatic", 0.5, [None, None]),
        ("gemini", "gemini-3.8-flash", "automatic", 0.1, [None]), ("gemini", "gemini-4-argon", "automatic", 0.05, [None]),
        ("gemini", "gemini-2.0-flash", "explicit", 0.25, [1, 1, 1]), ("gemini", "gemini-3.8-flash", "explicit", 0.1, [1, 1, 1]),
        ("xai", "grok-4.7", "automatic", 0.25, [None]), ("kimi", "kimi-k3", "automatic", 0.1, [1, 2]),
        ("qwen", "qwen3-max", "automatic", 0.2, [None]), ("qwen", "qwen3-max", "explicit", 0.1, [1.25]),
        ("groq", "x", "automatic", 0.5, [None]), ("mistral", "x", "automatic", 0.1, [None]),
    ],
)  # fmt: skip
def test_multiples(
    provider: str, model: str, mode: str, read_mult: float, write_mults: list[float | None]
) -> None:
    """For models that the price library lacks these multiples are the prices."""
    found = rules(provider, model, mode)
    assert found.read_mult == read_mult
    assert [lifetime.write_mult for lifetime in found.lifetimes] == write_mults


@pytest.mark.parametrize(
    ("provider", "model", "mode", "first", "after"),
    [
        ("anthropic", "claude-opus-5", "automatic", 1, False), ("bedrock", "claude-opus-5", "explicit", 1, False),
        ("openai", "gpt-6-sol", "automatic", 1, False), ("openai", "gpt-5", "automatic", 1, False),
        ("gemini", "gemini-3.8-flash", "automatic", 10, True), ("deepseek", "deepseek-v4-pro", "automatic", 10, True),
        ("qwen", "qwen3-max", "automatic", 10, True), ("qwen", "qwen3-max", "explicit", 10, True),
        ("xai", "grok-4.7", "automatic", 1, False), ("kimi", "kimi-k3", "automatic", 1, False),
    ],
)  # fmt: skip
def test_visibility(provider: str, model: str, mode: str, first: float, after: bool) -> None:
    """Readable from the first token on (1 s), or only after the response (10 tokens: 10 s)."""
    trace = script({"a": 8192}, ("a", 0), ("a", first - 0.01), ("a", first), reply=10)
    assert [tokens > 0 for tokens in read(send(trace, rules(provider, model, mode), SLOW))] == [
        False,
        False,
        True,
    ]
    assert (rules(provider, model, mode).visible_at == "response_end") is after


def test_who_refreshes() -> None:
    """A read restarts the clock everywhere but at Gemini, where lifetimes are fixed."""
    for provider, model, mode, expected in (
        ("anthropic", "claude-opus-5", "automatic", True), ("bedrock", "claude-opus-5", "explicit", True),
        ("openai", "gpt-6-sol", "automatic", True), ("openai", "gpt-5", "automatic", True),
        ("deepseek", "deepseek-v4-pro", "automatic", True), ("qwen", "qwen3-max", "explicit", True),
        ("gemini", "gemini-3.8-flash", "automatic", False), ("gemini", "gemini-3.8-flash", "explicit", False),
    ):  # fmt: skip
        assert rules(provider, model, mode).refresh_on_read is expected


@pytest.mark.parametrize(("provider", "model", "scope"), [("anthropic", "claude-opus-5", "workspace"), ("bedrock", "claude-opus-5", "organisation"), ("openai", "gpt-6-sol", "organisation"), ("openai", "gpt-5", "organisation"), ("azure", "gpt-5", "subscription"), ("gemini", "gemini-3.8-flash", "project")])  # fmt: skip
def test_scope(provider: str, model: str, scope: str) -> None:
    mode = "explicit" if provider == "bedrock" else "automatic"
    assert rules(provider, model, mode).scope == scope


def test_four_marks_at_most() -> None:
    """Where marks are limited: refused, or the latest count."""
    for provider, model, mode, over in (
        ("anthropic", "claude-opus-5", "automatic", "reject"), ("bedrock", "claude-opus-5", "explicit", "reject"),
        ("qwen", "qwen3-max", "explicit", "reject"), ("openai", "gpt-6-sol", "explicit", "latest"),
    ):  # fmt: skip
        found = rules(provider, model, mode)
        assert (found.max_writes, found.over_limit) == (4, over)


def test_lookback_of_each() -> None:
    """An entry at the 20th position back is found, at the 21st it is not (OpenAI: 20 earlier ones, 50 marks)."""
    lengths = {"a": 8192, **{f"m{i}": 10 for i in range(60)}}
    for provider, model, mode, reach in (
        ("anthropic", "claude-opus-5", "automatic", 20), ("bedrock", "claude-opus-5", "explicit", 20),
        ("qwen", "qwen3-max", "explicit", 20), ("openai", "gpt-6-sol", "explicit", 50), ("openai", "gpt-6-sol", "automatic", 21), ("azure", "gpt-6-sol", "automatic", 50),
    ):  # fmt: skip
        for more, hit in ((reach - 1, True), (reach, False)):
            longer = " ".join(["a", *(f"m{i}" for i in range(more))])
            done = send(script(lengths, ("a", 0), (longer, 60)), rules(provider, model, mode))
            assert bool(read(done)[1]) is hit, (provider, mode, more)
            assert written(done)[0] == 8192


NEW = {"lookback_unit": "message", "over_limit": "latest", "max_writes": 4}
BEDROCK = {
    "usage_style": "exclusive",
    "batch": False,
    "scope": "organisation",
    "max_writes": 4,
    "read_mult": 0.1,
}
AZURE = {"usage_style": "inclusive", "scope": "subscription"}
# provider, model, mode, what the reference says of it beyond the tests above
SAID = [
    ("anthropic", "claude-opus-5", "automatic", {"usage_style": "exclusive", "lookback_unit": "position", "lookback": 20, "opening": False, "batch": True}),
    ("openai", "gpt-6-sol", "automatic", {**NEW, "lookback": 21, "opening": True, "auto_mark": True, "usage_style": "inclusive"}),
    ("openai", "gpt-6-sol", "explicit", {**NEW, "lookback": 50, "opening": False, "auto_mark": False}),
    ("openai", "gpt-6.1-sol", "automatic", {**NEW, "lookback": 21, "opening": True, "auto_mark": True}),
    ("openai", "gpt-6.1-sol", "explicit", {**NEW, "lookback": 50, "opening": False, "auto_mark": False}),
    ("azure", "gpt-6-sol", "automatic", {**NEW, **AZURE, "opening": True, "auto_mark": True}),
    ("azure", "gpt-6-sol", "explicit", {**NEW, **AZURE, "opening": False, "lookback": 50}),
    ("azure", "gpt-5.5", "automatic", {**AZURE, "granularity": 2048}), ("azure", "gpt-4.1", "automatic", {**AZURE, "read_mult": 0.25}),
    ("bedrock", "claude-opus-5", "explicit", {**BEDROCK, "lookback_unit": "position", "opening": False}),
    ("bedrock", "openai.gpt-5.6-sol", "explicit", {**BEDROCK, **NEW, "lookback": 21, "opening": True}),
    ("gemini", "gemini-3.8-flash", "automatic", {"hit_probability": 1, "scope": "project", "usage_style": "inclusive"}),
    ("gemini", "gemini-3.8-flash", "explicit", {"min_tokens": 0, "scope": "project", "max_writes": 1}),
    ("deepseek", "deepseek-v4-pro", "automatic", {"common_prefix_after": 2, "interval_tokens": None, "clock": "response_end", "usage_style": "inclusive"}),
    ("qwen", "qwen3-max", "explicit", {"clock": "response_end", "lookback_unit": "position", "usage_style": "inclusive"}),
    ("kimi", "kimi-k2", "automatic", {"granularity": 256, "read_mult": 0.1}), ("xai", "grok-4.7", "automatic", {"usage_style": "inclusive"}),
    ("groq", "x", "automatic", {"visible_at": "first_token", "scope": "organisation"}), ("mistral", "x", "automatic", {"visible_at": "first_token", "scope": "organisation"}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "mode", "said"), SAID)
def test_what_else_is_said(provider: str, model: str, mode: str, said: dict[str, object]) -> None:
    found = rules(provider, model, mode)
    assert {name: getattr(found, name) for name in said} == said


def test_caps_and_lifetimes_that_no_pause_shows() -> None:
    """Old OpenAI models: at most a day or an hour, whatever reads it. Objects: an hour, unless another is asked."""
    day, hour = 86_400, 3_600
    for provider, model, caps in (
        ("openai", "gpt-5", {"24h": day, "in_memory": hour}), ("openai", "gpt-5.5", {"24h": day}),
        ("azure", "gpt-5", {"in_memory": hour, "24h": day}), ("azure", "gpt-5.5", {"24h": day}),
    ):  # fmt: skip
        sold = rules(provider, model).lifetimes
        assert {lifetime.name: lifetime.cap_s for lifetime in sold} == caps
        assert sold[0].name == next(iter(caps))
    objects = rules("gemini", "gemini-3.8-flash", "explicit")
    assert [(lifetime.name, lifetime.seconds) for lifetime in objects.lifetimes] == [
        ("1h", hour), ("5m", 300), ("24h", day),
    ]  # fmt: skip
    rents = [(price.match, price.usd) for price in objects.storage_usd_per_mtok_hour]
    assert [usd for match, usd in rents if "3" in match] == [4.5, 0.5, 1.0]  # 3.1 Pro, 3.8 Flash until 2027
    assert [usd for match, usd in rents if "2" in match] == [4.5, 1.0]  # 2.5 Pro, 2.5 Flash


def test_who_routes() -> None:
    """A hash of the first 256 tokens and 15 requests a minute, at OpenAI and Azure; nowhere else."""
    for name in rulebook.names():
        for record in rulebook.provider(name).records:
            if name in ("openai", "azure"):
                assert record.routing is not None
                assert (record.routing.prefix_tokens, record.routing.rpm) == (256, 15)
                assert record.routing.budget == "prefix_key"
            else:
                assert record.routing is None


def test_deepseeks_read_multiple() -> None:
    """0.022 of 0.66: a thirtieth."""
    assert rules("deepseek", "deepseek-v4-pro").read_mult == pytest.approx(0.022 / 0.66)
