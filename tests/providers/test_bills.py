# ruff: noqa: E501 (tables of cases)
"""Bills to the micro-dollar: published and hand-made examples, both styles of usage, the price library."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from sim.providers import rulebook
from sim.providers.prices import (
    PriceList,
    ProviderPrice,
    _at,
    deprecated,
    is_peak,
    price_list,
    priced_as,
)
from sim.providers.schema import Rules
from sim.providers.usage import Usage, charge
from workloads.errors import InputError

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def prices(
    provider: str,
    model: str,
    mode: str = "automatic",
    tier: Any = "standard",
    start: datetime = NOON,
    **given: Any,
) -> PriceList:
    rules = rulebook.record(provider, model, mode, "x")
    own = ProviderPrice(**given) if given else None
    return price_list(rules, rulebook.provider(provider).library, model, tier, start, own, "x")


def total(listed: PriceList, usage: Usage, at_s: float = 0.0) -> Fraction:
    return charge(usage, listed.cards[listed.card(usage.input_tokens, at_s)]).total_usd


def usd(text: str) -> Fraction:
    return Fraction(Decimal(text))


# V1 to V13 of the reference: (provider, model, mode, usage, dollars).
EXAMPLES = [
    ("V2", "anthropic", "claude-sonnet-4-5", Usage(100_000, 1_000, 50_000, (20_000, 0)), "0.195"),
    ("V3 5m", "anthropic", "claude-opus-5", Usage(10_000, 0, 0, (10_000, 0)), "0.0625"),
    ("V3 1h", "anthropic", "claude-opus-5", Usage(10_000, 0, 0, (0, 10_000)), "0.10"),
    ("V4", "anthropic", "claude-opus-5", Usage.reported("exclusive", 10, 7, 5_000, (500, 1_500)), "0.020850"),
    ("V5", "openai", "gpt-5", Usage.reported("inclusive", 2_006, 300, 1_920), "0.0033475"),
    ("V6", "openai", "gpt-5.6-sol", Usage(2_600, 0, 2_000, (400, 0)), "0.0036"),
    ("V7", "openai", "gpt-5.6-sol", Usage(100_000, 1_000, 50_000, (20_000, 0)), "0.26"),
    ("V8 read", "anthropic", "claude-sonnet-4-5", Usage(250_000, 0, 240_000, (0, 0)), "0.204"),
    ("V8 write", "anthropic", "claude-sonnet-4-5", Usage(250_000, 0, 0, (0, 240_000)), "2.94"),
    ("V9", "gemini", "gemini-2.5-pro", Usage(250_000, 0, 240_000), "0.085"),
    ("V10 off-peak", "deepseek", "deepseek-v4-pro", Usage(1_000_000, 0, 500_000), "0.341"),
    ("V11", "anthropic", "claude-fable-5-1", Usage(101_000, 500, 100_000), "0.060"),
    ("V12 kimi", "kimi", "kimi-k3", Usage(10_000, 0, 0, (0, 10_000)), "0.06"),
    ("V12 grok", "xai", "grok-4.7", Usage(250_000, 0, 200_000), "0.40"),
    ("V13", "openai", "gpt-5.6-sol", Usage(10_000, 0, 0, (0, 10_000)), "0.10"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "provider", "model", "usage", "dollars"), EXAMPLES, ids=[e[0] for e in EXAMPLES]
)
def test_billing_examples(name: str, provider: str, model: str, usage: Usage, dollars: str) -> None:
    """Equality, not closeness."""
    assert total(prices(provider, model), usage) == usd(dollars)


CUSTOM = {
    "match": ".*",
    "modes": ["automatic"],
    "kind": "grid",
    "lifetimes": [{"name": "x", "seconds": 300}],
}


def test_v1_generic_prices() -> None:
    """$0.01 per 1k input, $0.001 per 1k cached: 0.0065, uncached 0.02, saving 67.5 %."""
    given = ProviderPrice(input_usd_per_1m=10, cached_input_usd_per_1m=1)
    listed = price_list(Rules.model_validate(CUSTOM), None, "any", "standard", NOON, given, "x")
    with_cache, without = (total(listed, Usage(2_000, 0, read)) for read in (1_500, 0))
    assert (with_cache, without) == (usd("0.0065"), usd("0.0200"))
    assert 1 - with_cache / without == usd("0.675")


def test_spec_2_two_turns() -> None:
    """Turn 1: 120 tokens, 0.0012; turn 2: 0.0019 without cache, 0.00037 with 170 cached: 80.5 %."""
    given = ProviderPrice(input_usd_per_1m=10, cached_input_usd_per_1m=1)
    listed = price_list(Rules.model_validate(CUSTOM), None, "any", "standard", NOON, given, "x")
    assert total(listed, Usage(120)) == usd("0.0012")
    assert total(listed, Usage(190)) == usd("0.0019")
    assert total(listed, Usage(190, 0, 170)) == usd("0.00037")
    assert round(float(1 - total(listed, Usage(190, 0, 170)) / total(listed, Usage(190))), 3) == 0.805


def test_v10_peak_hours() -> None:
    """Tuesday 02:30 UTC is peak and doubles everything; Sunday 02:30 is not, whatever the library says."""
    usage = Usage(1_000_000, 0, 500_000)
    listed = prices("deepseek", "deepseek-v4-pro", start=datetime(2026, 11, 24, tzinfo=UTC))
    assert total(listed, usage, 2.5 * 3600) == usd("0.682")
    assert total(listed, usage, 5 * 3600) == usd("0.341")
    sunday = 5 * 86_400
    assert total(listed, usage, sunday + 2.5 * 3600) == usd("0.341")
    rules = rulebook.record("deepseek", "deepseek-v4-pro", "automatic", "x")
    assert rules.peak is not None
    for hour, peak in [
        (0.99, False),
        (1, True),
        (3.99, True),
        (4, False),
        (6, True),
        (9.99, True),
        (10, False),
    ]:
        at = datetime(2026, 11, 24, int(hour), int(hour % 1 * 60), tzinfo=UTC)
        assert is_peak(rules.peak, at) is peak
    holiday = rules.peak.model_copy(update={"holidays": [datetime(2026, 11, 24).date()]})
    assert not is_peak(holiday, datetime(2026, 11, 24, 2, tzinfo=UTC))


def test_peak_equals_the_librarys_peak() -> None:
    """Twice the off-peak price is what the library itself lists for those hours."""
    from genai_prices import Usage as LibraryUsage
    from genai_prices import calc_price

    usage = LibraryUsage(input_tokens=1_000_000, cache_read_tokens=500_000, output_tokens=1_000)
    at = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    theirs = calc_price(usage, "deepseek-v4-pro", provider_id="deepseek", genai_request_timestamp=at)
    listed = prices("deepseek", "deepseek-v4-pro", start=at)
    assert total(listed, Usage(1_000_000, 1_000, 500_000)) == Fraction(theirs.total_price)


def test_names_of_the_price_library() -> None:
    """Its own names are read as well; where it runs and what is deprecated is told."""
    assert prices("bedrock", "regional.anthropic.claude-opus-5", "explicit").cards[0].input == usd("5.5")
    assert priced_as("aws", "claude-opus-5") == (
        "priced as regional.anthropic.claude-opus-5: claude-opus-5 is taken for an endpoint of one region "
        "(+10 %); global.anthropic.claude-opus-5 names the price across regions"
    )
    assert priced_as("aws", "regional.anthropic.claude-opus-5") is None
    old = str(priced_as("aws", "anthropic.claude-3-7-sonnet-20250219-v1:0"))
    assert old.endswith("is taken for an endpoint of one region"), "it has no other price"
    assert "deprecated" in str(deprecated("google", "gemini-2.0-flash"))
    assert deprecated("google", "gemini-2.5-pro") is None


def test_storage_of_that_day() -> None:
    """Gemini 3.8 Flash: storage doubles with the year, as the price of its tokens does."""
    for start, usd_per_hour in (
        (datetime(2026, 12, 31, 23, tzinfo=UTC), "0.5"),
        (datetime(2027, 1, 1, tzinfo=UTC), "1"),
    ):
        listed = prices("gemini", "gemini-3.8-flash", "explicit", start=start)
        assert listed.cards[0].storage == usd(usd_per_hour)


def test_v14_explicit_object() -> None:
    """Gemini 3.1 Pro, 100k cached for an hour, n requests of 1k fresh: equal at n = 3.6."""
    listed = prices("gemini", "gemini-3.1-pro-preview", "explicit")
    first = Usage(101_000, 0, 100_000, created_tokens=100_000, storage_s=3600)
    later, plain = Usage(101_000, 0, 100_000), Usage(101_000)

    def costs(n: int) -> tuple[Fraction, Fraction]:
        return total(listed, first) + (n - 1) * total(listed, later), n * total(listed, plain)

    assert costs(4) == (usd("0.738"), usd("0.808"))
    assert costs(3)[0] > costs(3)[1]
    fixed = total(listed, first) - total(listed, later)
    assert fixed == usd("0.65")
    assert round(float(fixed / (total(listed, plain) - total(listed, later))), 1) == 3.6


def test_v15_a_real_invoice() -> None:
    """The price before August with 10 % regional uplift meets the invoice of openai/codex#35300 within 0.2 %."""
    july = datetime(2026, 7, 15, tzinfo=UTC)
    listed = prices("openai", "gpt-5.6-sol", start=july, multiply=1.1)
    assert listed.cards[0].writes[0] == usd("6.875")
    assert listed.cards[0].read == usd("0.55")
    written, read = (
        listed.cards[0].writes[0] * 258_800_000 / 10**6,
        listed.cards[0].read * 28_600_000 / 10**6,
    )
    assert abs(float(written) / 1780.33 - 1) < 0.002
    assert abs(float(read) / 15.71 - 1) < 0.002


def test_size_tier_is_strict_and_for_all_tokens() -> None:
    """272,000 tokens on gpt-5.6-sol cost $1.088, one more $2.176008."""
    listed = prices("openai", "gpt-5.6-sol")
    assert total(listed, Usage(272_000)) == usd("1.088")
    assert total(listed, Usage(272_001)) == usd("2.176008")
    assert total(prices("xai", "grok-4.7"), Usage(200_000)) == usd("0.8")  # from 200,000 on
    assert total(prices("xai", "grok-4.7"), Usage(199_999)) == 199_999 * usd("0.000002")


@pytest.mark.parametrize("size", [32_000, 32_001, 256_000, 256_001])
def test_several_size_tiers(size: int) -> None:
    """Two thresholds: each tier's price is the library's own."""
    from genai_prices import Usage as LibraryUsage
    from genai_prices import calc_price

    rules, model = Rules.model_validate(CUSTOM), "qwen/qwen3.7-flash"
    listed = price_list(rules, "openrouter", model, "standard", NOON, None, "x")
    assert listed.above_tokens == (32_000, 256_000)
    usage = LibraryUsage(input_tokens=size, output_tokens=77)
    theirs = calc_price(usage, model, provider_id="openrouter", genai_request_timestamp=NOON)
    assert total(listed, Usage(size, 77)) == Fraction(theirs.total_price)


def test_a_price_keeps_its_tier_beyond_the_thresholds_of_others() -> None:
    """From 100 tokens on it is 2; that another price changes at 300 does not bring back the first tier."""
    from genai_prices.types import Tier, TieredPrices

    price = TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(2))])
    assert [_at(price, above) for above in (None, 100, 300)] == [1, 2, 2]
    assert _at(price, 50) == 1


def test_dated_prices() -> None:
    """The price of the day of the trace: gpt-5.6-sol before and after 2026-08-21."""
    assert total(
        prices("openai", "gpt-5.6-sol", start=datetime(2026, 8, 20, tzinfo=UTC)), Usage(10**5)
    ) == usd("0.5")
    assert total(
        prices("openai", "gpt-5.6-sol", start=datetime(2026, 8, 22, tzinfo=UTC)), Usage(10**5)
    ) == usd("0.4")


def test_tiers() -> None:
    """Batch halves, priority doubles; a tier that the library would silently ignore is refused."""
    standard = total(prices("anthropic", "claude-opus-5"), Usage(10_000, 100, 1_000, (500, 500)))
    assert (
        total(prices("anthropic", "claude-opus-5", tier="batch"), Usage(10_000, 100, 1_000, (500, 500))) * 2
        == standard
    )
    assert total(prices("openai", "gpt-5", tier="priority"), Usage(1000)) == 2 * total(
        prices("openai", "gpt-5"), Usage(1000)
    )
    with pytest.raises(InputError, match=r"x\.tier = 'flex'.*allowed: standard, batch, fast"):
        prices("anthropic", "claude-opus-5", tier="flex")
    with pytest.raises(
        InputError, match="on 2026-09-01; allowed: standard, fast"
    ):  # batch price only from October
        prices("anthropic", "claude-opus-5", tier="batch", start=datetime(2026, 9, 1, tzinfo=UTC))


def test_both_styles_of_usage() -> None:
    """10 plain, 2,000 written, 5,000 read: the same bill from either style; a mix-up is refused."""
    exclusive = Usage.reported("exclusive", 10, 7, 5_000, (2_000, 0))
    inclusive = Usage.reported("inclusive", 7_010, 7, 5_000, (2_000, 0))
    assert exclusive == inclusive
    assert (inclusive.input_field("exclusive"), inclusive.input_field("inclusive")) == (10, 7_010)
    assert inclusive.uncached_tokens == 10
    with pytest.raises(InputError, match="5000 tokens read and 2000 written of 10"):
        Usage.reported("inclusive", 10, 7, 5_000, (2_000, 0))


def test_overrides_and_multiples() -> None:
    """A model that the library lacks: the input price is given, the rest follows by the rules' multiples."""
    listed = prices("anthropic", "claude-mythos-5-1", input_usd_per_1m=10, output_usd_per_1m=50)
    assert listed.cards[0].writes == (usd("12.5"), usd("20"))
    assert listed.cards[0].read == usd("0.25")
    given = prices("anthropic", "claude-opus-5", cached_input_usd_per_1m=1, write_usd_per_1m={"1h": 9})
    assert (given.cards[0].input, given.cards[0].read, given.cards[0].writes) == (
        Fraction(5),
        Fraction(1),
        (usd("6.25"), Fraction(9)),
    )
    with pytest.raises(InputError, match=r"write_usd_per_1m\.2h; allowed: 5m, 1h"):
        prices("anthropic", "claude-opus-5", write_usd_per_1m={"2h": 9})


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'claude-opus-5'"):
        prices("anthropic", "claude-opus-9")


@pytest.mark.parametrize(("provider", "model"), [("anthropic", "claude-opus-5"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5.6-sol"), ("openai", "gpt-4.1"), ("gemini", "gemini-3.1-pro-preview"), ("xai", "grok-4.7"), ("kimi", "kimi-k3"), ("bedrock", "claude-opus-5"), ("groq", "openai/gpt-oss-120b")])  # fmt: skip
@pytest.mark.parametrize("size", [1_000, 150_000, 199_999, 200_000, 200_001, 272_001, 900_000])
def test_equal_to_the_library(provider: str, model: str, size: int) -> None:
    """Any usage costs what the library's own function says, in every size tier."""
    from genai_prices import Usage as LibraryUsage
    from genai_prices import calc_price

    library = rulebook.provider(provider).library
    rules = rulebook.record(provider, model, "explicit" if provider == "bedrock" else "automatic", "x")
    listed = prices(provider, model, "explicit" if provider == "bedrock" else "automatic")
    read, written = size // 3, size // 5
    theirs_usage = LibraryUsage(
        input_tokens=size, cache_read_tokens=read, cache_write_tokens=written, output_tokens=77
    )
    theirs = calc_price(theirs_usage, model, provider_id=library, genai_request_timestamp=NOON)
    written_by_lifetime = (written,) + (0,) * (len(rules.lifetimes) - 1)
    assert total(listed, Usage(size, 77, read, written_by_lifetime)) == Fraction(theirs.total_price)
