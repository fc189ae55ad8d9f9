"""Published figures of providers beside what their rules give (docs/validation.md)."""

from __future__ import annotations

from fractions import Fraction as F

from sim import Result, load_config, run
from sim.providers import bills, breakeven
from tests.docs.examples import ROOT
from tests.docs.made import Cells, Made, Table, percent


def anthropic_2024(name: str, *settings: str) -> Result:
    """A row of Anthropic's table of 2024-08-14."""
    return run(load_config(ROOT / f"configs/validation/anthropic-2024-{name}.yaml", settings))


def ten_turns(system: int, *settings: str) -> Result:
    """Ten turns behind a system prompt of so many tokens."""
    return anthropic_2024("ten-turns", f"workload.system_prompt.tokens={system}", *settings)


def saved(result: Result) -> float:
    """Share of the bill that caching saves."""
    share = result.summary()["savings"]["claude"]["cost_usd_total"]["saved_ratio"]
    assert share is not None
    return share


def saved_by_the_second(result: Result) -> tuple[float, float]:
    """Shares that the request that reads saves: latency, cost."""
    found = result.runs["claude"]
    ttft, ttft_off = (r.first_token_s[1] - r.arrival_s[1] for r in (found.records, found.twin))
    cost, cost_off = (float(bills.exact(r, [1]).total_usd) for r in (found.records, found.twin))
    return 1 - float(ttft / ttft_off), 1 - cost / cost_off


def saved_later(result: Result) -> float:
    """Share of the mean latency of all turns but the first, which writes."""
    found = result.runs["claude"]
    ttft, off = ((r.first_token_s - r.arrival_s)[1:].mean() for r in (found.records, found.twin))
    return 1 - float(ttft / off)


def _table() -> Cells:
    rows: Cells = [
        [
            None,
            None,
            ", ".join(f"-{percent(share)}" for share in saved_by_the_second(anthropic_2024(name))),
            None,
        ]
        for name in ("book", "many-shot")
    ]
    cost = [100 * saved(ten_turns(system)) for system in (2_000, 3_000)]
    latency = [100 * saved_later(ten_turns(system)) for system in (30_000, 86_000)]
    rows.append([None, None, f"-{cost[0]:.1f} to -{cost[1]:.1f} %", None])
    rows.append([None, None, f"-{latency[0]:.0f} to -{latency[1]:.0f} %", None])
    return rows


def _others() -> Cells:
    """Closed forms; rows that are held to their source request by request are a person's words."""
    read, low, write = F(1, 10), F(1, 20), F(5, 4)
    grown = [1 - 1100 * breakeven.input_factor(F(hits, 100), F(1), read) / 900 for hits in (50, 70)]
    warm = [breakeven.keep_warm_s(price, read) / 60 for price in (write, F(1))]
    cheaper = [
        1 / breakeven.input_factor(F(hits, 100), write, price)
        for hits, price in ((79, read), (90, read), (90, low))
    ]
    least, most, lower = (f"{float(times):.1f}" for times in cheaper)
    untouched: list[str | None] = [None, None, None]
    return [
        untouched,
        [None, None, ", ".join(percent(float(share)) for share in grown)],
        untouched,
        untouched,
        [None, None, ", ".join(str(minutes) for minutes in warm)],
        [None, None, f"{least} to {most} (r 0.1), {lower} (r 0.05)"],
    ]


MADE: dict[str, Made] = {
    "Anthropic, 2024": Table("docs/validation.md", "configs/validation/anthropic-2024-*.yaml", _table),
    "published": Table("docs/validation.md", "tests/providers/test_breakeven.py", _others),
}
