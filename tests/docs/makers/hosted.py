"""Hosted APIs: bills side by side, break-even, and what vendors' claims are worth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from reports import side_by_side
from sim.providers import breakeven
from sim.providers.latency import HostedLatency
from sim.results.claims import turns_needed
from tests.docs.made import SESSIONS, Cells, Made, Sentences, Table, percent
from tests.docs.makers.first_run import summary

CLAIMS, PROVIDERS = "docs/claims.md", "docs/providers.md"
HOLDS = {
    r"needs a cached prompt of ([\d,]+) tokens": "a cached prompt of {} tokens",
    r"([\d.]+%) of the input tokens must be read": "{} of the input read",
    r"from (\d+) turns on": "{} equal turns",
}
"""Conditions of a claim in the words of the tool, and of the page."""


def _of_claims(name: str) -> Any:
    return summary(f"studies/claims-{name}.yaml")["claims"]


def _claims() -> Cells:
    """A claim's name is a person's words; so is the condition where nothing meets the claim."""

    def cell(claim: Any) -> str:
        share = percent(claim["derived_saved"])
        return f"{share}, holds" if claim["holds"] else share

    pairs = zip(_of_claims("chat"), _of_claims("book"), strict=True)
    return [[None, chat["system"], cell(chat), cell(book), _holds(book)] for chat, book in pairs]


def _holds(claim: Any) -> str | None:
    """When the claim holds on the trace, or None."""
    text = " ".join(claim["conditions"])
    for said, words in HOLDS.items():
        if found := re.search(said, text):
            return words.format(_thousands(found[1]).replace("%", " %"))
    return None


def _thousands(number: str) -> str:
    """Large numbers to a thousand: ``420,931`` is 421,000."""
    return f"{round(int(number.replace(',', '')), -3):,}" if "," in number else number


def _said_of_claims() -> dict[str, str]:
    line, (chat, *_), book = HostedLatency(), _of_claims("chat"), _of_claims("book")
    found = re.search(r"have ([\d,]+) tokens in the mean", " ".join(chat["conditions"]))
    read = _holds(book[4])
    assert found is not None and read is not None

    def needed(claim: Any) -> str:
        text = _holds(claim)
        assert text is not None
        return text.removeprefix("a cached prompt of ").removesuffix(" tokens")

    return {
        "prompts": f"{round(int(found[1].replace(',', '')), -2):,}",
        "at_85": needed(book[0]),
        "at_80": needed(book[5]),
        "most": percent(1 - line.per_cached_token_s / line.per_uncached_token_s),
        "read": read.removesuffix(" of the input read"),
        "turns": str(turns_needed(0.95)),
    }


def worlds() -> Any:
    """The summary of coding sessions on own GPUs and under every provider's rules."""
    return summary("studies/both_worlds.yaml", f"workload.path={SESSIONS}")


def _both_worlds() -> Cells:
    headings, found = side_by_side.table(worlds())
    wanted = ("system", "hit rate", "$ per 1,000", "$ per 1 M", "saved", "above the best")
    places = [i for want in wanted for i, heading in enumerate(headings) if heading.startswith(want)]
    return [[row[i] for i in places] for row in found]


def _said_of_worlds() -> dict[str, str]:
    usd = {row["system"]: row["usd_per_1000_sessions"] for row in worlds()["side_by_side"]}
    [capacity] = {pair["sessions_per_gpu_hour"] for pair in worlds()["crossovers"]}
    gains = []
    for entry in worlds()["systems"].values():
        bills = entry.get("regret", {}).get("cost_usd_by_strategy", {})
        for strategy, moving in bills.items():
            if strategy.startswith("explicit, marks window"):
                gains.append(1 - moving / bills[strategy.replace("window", "last")])
    return {
        "least": f"{100 * min(gains):.0f}",
        "most": percent(max(gains), 0),
        "longer": percent(1 - usd["anthropic-1h"] / usd["anthropic-5m"], 0),
        "capacity": f"{capacity:.1f}",
    }


def _hits_of_worlds() -> dict[str, str]:
    """Hit rates under a provider's rules, and as published for caches that find any prefix."""
    systems = worlds()["systems"]
    published = json.loads(SESSIONS.with_name("expected_stats.json").read_text("utf-8"))
    lifetimes = published["ttl_sweep_main_requests"]["ttl"]
    rates = {
        "short": systems["anthropic-5m"]["cache"]["prefix_cache_hit_rate"],
        "short_published": lifetimes["5min"]["token_hit_ratio"],
        "long": systems["anthropic-1h"]["cache"]["prefix_cache_hit_rate"],
        "long_published": lifetimes["1h"]["token_hit_ratio"],
    }
    return {name: percent(rate) for name, rate in rates.items()}


def _break_even() -> Cells:
    """Writes of 1.25 and 2 times the input price for five minutes and an hour, reads of a tenth."""
    read = Fraction(1, 10)
    offers = [(Fraction(5, 4), 300.0), (Fraction(2), 3600.0)]

    def span(seconds: float) -> str:
        return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"

    def cells(of: Callable[[Fraction, float], str]) -> list[str | None]:
        return [None, None, *(of(write, seconds) for write, seconds in offers)]

    pays = {2: "2nd", 3: "3rd"}
    longer = percent(float(breakeven.longer_pays(Fraction(5, 4), Fraction(2), read)))
    return [
        cells(lambda write, _: percent(float(breakeven.share_read(write, read)))),
        cells(lambda write, _: f"{float(breakeven.reads_per_write(write, read) or 0):.2f}"),
        cells(lambda write, _: pays[breakeven.request_that_pays(write, read) or 0]),
        cells(lambda write, seconds: span(breakeven.longest_mean_gap_s(write, read, seconds) or 0)),
        cells(lambda write, seconds: span(float(breakeven.keep_warm_s(write, read, 0.8 * seconds)))),
        [None, None, "", longer],
    ]


MADE: dict[str, Made] = {
    "claims": Table(CLAIMS, "configs/studies/claims-chat.yaml", _claims),
    "claims, limits": Sentences(
        CLAIMS,
        "configs/studies/claims-chat.yaml",
        _said_of_claims,
        (
            "prompts of {prompts} tokens in the mean",
            "85 % needs a cached prompt of {at_85} tokens, 80 % one of {at_80}, and no prompt saves "
            "more than {most}.",
            "it holds once {read} of the input is read",
            "95 % of the tokens need {turns} equal turns",
        ),
    ),
    "both worlds": Table(PROVIDERS, "configs/studies/both_worlds.yaml", _both_worlds, SESSIONS, slow=True),
    "both worlds, hits": Sentences(
        "docs/validation.md",
        "configs/studies/both_worlds.yaml",
        _hits_of_worlds,
        (
            "five minutes give {short} instead of {short_published} and an hour {long} instead of "
            "{long_published} (",
        ),
        SESSIONS,
        slow=True,
    ),
    "both worlds, said": Sentences(
        PROVIDERS,
        "configs/studies/both_worlds.yaml",
        _said_of_worlds,
        (
            "a moving window of four costs {least} to {most} less than one mark",
            "Five minutes or an hour makes {longer} of Anthropic's bill",
            "fit into 70 % of its time, {capacity} an hour here",
        ),
        SESSIONS,
        slow=True,
    ),
    "break-even": Table(PROVIDERS, "python -m sim breakeven", _break_even),
}
