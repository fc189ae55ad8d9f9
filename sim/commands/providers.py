"""``python -m sim providers``: the hosted APIs whose rules and prices ship."""

from __future__ import annotations

from reports import terminal
from sim.commands.options import AsJson, Day, day_of


def providers(day: Day = "2026-11-24", as_json: AsJson = False) -> None:
    """The hosted APIs that ship: modes, lifetimes, prices.

    `python -m sim rules PROVIDER` has all of one's caching rules with their sources.
    """
    from dataclasses import asdict

    from sim.providers.listing import listed

    found = listed(day_of(day))
    if as_json:
        terminal.show_json([asdict(one) for one in found])
        return
    from reports import catalogue

    terminal.show(catalogue.providers(found))
