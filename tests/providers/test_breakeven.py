# ruff: noqa: E501 (tables of cases)
"""Closed forms of when caching pays, with their published values."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction as F
from pathlib import Path

import pytest

from sim.providers import breakeven as be
from sim.providers.breakeven import Offer, offers
from tests.refusing import Cli
from workloads.errors import InputError

NOW = datetime(2026, 11, 24, tzinfo=UTC)
R, R20, R40 = F(1, 10), F(1, 20), F(1, 40)


@pytest.mark.parametrize(
    ("w", "r", "percent"),
    [
        (F(5, 4), R, 21.74),
        (F(5, 4), R20, 20.83),
        (F(5, 4), R40, 20.41),
        (F(2), R, 52.63),
        (F(5, 2), R, 62.50),
    ],
)
def test_break_even_share(w: F, r: F, percent: float) -> None:
    """(w - 1) / (w - r); at that share the input costs what it costs uncached."""
    assert round(float(be.share_read(w, r)) * 100, 2) == percent
    assert be.input_factor(be.share_read(w, r), w, r) == 1


def test_reads_per_write() -> None:
    """0.28 reads, so the second request pays (5m); 1.11, so the third does (1h); free writes pay at once."""
    assert round(float(be.reads_per_write(F(5, 4), R) or 0), 2) == 0.28
    assert round(float(be.reads_per_write(F(2), R) or 0), 2) == 1.11
    assert [be.request_that_pays(w, R) for w in (F(1), F(5, 4), F(2), F(5, 2))] == [2, 2, 3, 3]
    assert be.request_that_pays(F(5, 4), F(1)) is None
    assert be.reads_per_write(F(1), F(1)) == 0  # nothing is gained, but nothing had to be paid back


@pytest.mark.parametrize("w", [F(5, 4), F(2), F(5, 2)])
def test_the_request_that_pays_is_the_first(w: F) -> None:
    """n requests cost w + (n - 1) r against n: counted out."""
    n = be.request_that_pays(w, R)
    assert n is not None
    assert w + (n - 1) * R <= n
    assert w + (n - 2) * R > n - 1


def test_one_hour_against_five_minutes() -> None:
    """0.75 / (2 - r): 39.5 % of the long pauses at r 0.1, 38.0 % at r 0.025."""
    assert round(float(be.longer_pays(F(5, 4), F(2), R)) * 100, 1) == 39.5
    assert round(float(be.longer_pays(F(5, 4), F(2), R40)) * 100, 1) == 38.0


def test_keep_warm() -> None:
    """Pings every 4 minutes: 46 min for Anthropic, 36 where writes are free, 196 at r 0.025."""
    minutes = [be.keep_warm_s(w, r) / 60 for w, r in ((F(5, 4), R), (F(1), R), (F(5, 4), R40))]
    assert minutes == [46, 36, 196]
    assert F(5, 4) / R == F(25, 2)  # the next request is up to 12.5 times cheaper


def test_pings_cost_what_the_closed_form_says() -> None:
    """A pause just under four minutes needs no ping; every four minutes of pause is one more read."""
    assert [be.pinged_cost(gap, R) for gap in (239, 240, 241, 480, 2760)] == [R, R, 2 * R, 2 * R, 12 * R]
    last = float(be.keep_warm_s(F(5, 4), R))  # 11.5 pings: the twelfth read is still worth it
    assert be.pinged_cost(last, R) <= F(5, 4) < be.pinged_cost(last + be.PING_S, R)


def test_gap_cost() -> None:
    """Read within the lifetime, written at its end and after it."""
    assert [be.gap_cost(gap, F(5, 4), R, 300) for gap in (299.9, 300, 301)] == [R, F(5, 4), F(5, 4)]


def test_input_factor() -> None:
    """79 to 90 % read at r 0.1: 2.9 to 4.7 times cheaper; up to 5.9 at r 0.05."""
    cheaper = [1 / be.input_factor(F(h, 100), F(5, 4), r) for h, r in ((79, R), (90, R), (90, R20))]
    assert [round(float(x), 1) for x in cheaper] == [2.9, 4.7, 5.9]


def test_a_prompt_grown_to_the_minimum() -> None:
    """900 tokens grown to 1,100 (OpenAI cookbook): 32.8 % cheaper at half hits, 54.8 % at 70 %."""
    saved = [1 - 1100 * be.input_factor(F(h, 100), F(1), R) / 900 for h in (50, 70)]
    assert [round(float(x) * 100, 1) for x in saved] == [32.8, 54.8]


def test_mean_gap() -> None:
    """Exponential pauses: at the longest mean exactly the break-even share ends within the lifetime."""
    import math

    mean = be.longest_mean_gap_s(F(5, 4), R, 300)
    assert mean is not None
    assert 1 - math.exp(-300 / mean) == pytest.approx(float(be.share_read(F(5, 4), R)))
    assert be.longest_mean_gap_s(F(1), R, 300) is None


def test_rent_of_objects() -> None:
    """Without the creation: 2.5 full-prefix reads an hour for 3.1 Pro, 0.74 for 3.8 Flash."""
    found = {
        offer.model: offer
        for offer in offers(["gemini:gemini-3.1-pro-preview", "gemini:gemini-3.8-flash"], NOW)
        if offer.mode == "explicit" and offer.lifetime == "1h"
    }
    per_hour = {model: offer.reads_per_hour_for_rent for model, offer in found.items()}
    assert per_hour["gemini-3.1-pro-preview"] == F(5, 2)
    assert round(float(per_hour["gemini-3.8-flash"] or 0), 2) == 0.74


def test_offers_of_all_providers() -> None:
    """Each provider's lifetimes with the multiples of its price list."""
    from sim.providers import rulebook

    found = offers(rulebook.names(), NOW)
    assert {offer.provider for offer in found} == set(rulebook.names())
    multiples = {(o.provider, o.mode, o.lifetime): (o.write, o.read) for o in found}
    assert multiples["anthropic", "automatic", "5m"] == (F(5, 4), R)
    assert multiples["anthropic", "automatic", "1h"] == (F(2), R)
    assert multiples["openai", "automatic", "12h"] == (F(5, 2), R)
    assert multiples["qwen", "explicit", "5m"] == (F(5, 4), R)
    assert multiples["deepseek", "automatic", "default"] == (F(1), F(1, 30))
    assert multiples["qwen", "automatic", "default"] == (
        F(1),
        F(1, 5),
    )  # no price list: the rules' multiples
    assert {o.provider for o in found if not o.refreshed} == {"gemini"}
    assert ("anthropic", "explicit", "5m") not in multiples  # the same record, told once


def test_offers_of_unknown_names() -> None:
    with pytest.raises(InputError, match="did you mean 'anthropic'"):
        offers(["antropic"], NOW)
    with pytest.raises(InputError, match=r"claude-opus-9.*did you mean"):
        offers(["anthropic:claude-opus-9"], NOW)
    assert isinstance(offers(["groq"], NOW)[0], Offer)


def test_pings_of_other_lifetimes() -> None:
    """At four fifths of the lifetime: 4 min of 5 min, 48 min of an hour."""
    five, hour = (o for o in offers(["anthropic"], NOW))
    assert (five.ping_s, hour.ping_s) == (240, 2880)
    assert be.keep_warm_s(hour.write, hour.read, hour.ping_s) == 2880 * 19


def test_command(cli_here: Cli, tmp_path: Path) -> None:
    """Writes table and figure; an unknown provider, model or date is one message and nothing is written."""
    done = cli_here("breakeven", "anthropic", "--out", "out")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "out/breakeven.csv").read_text().splitlines()
    assert rows[1].startswith(
        "anthropic,claude-opus-5,automatic,5m,1.25,0.100,0.278,2,21.7%,20.4 min,46.0 min"
    )
    assert (tmp_path / "out/breakeven.png").stat().st_size > 10_000
    for arguments, said in (
        (["nobody"], "allowed: anthropic"),
        (["anthropic:claude-opus-9"], "no price is known (did you mean"),
        (["--day", "yesterday"], "--day yesterday: not a date"),
    ):
        done = cli_here("breakeven", *arguments, "--out", "other")
        assert done.returncode == 2
        assert said in done.stderr
        assert not (tmp_path / "other").exists()
