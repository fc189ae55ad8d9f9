"""``python -m sim rules``: a provider's caching rules."""

from __future__ import annotations

from typing import Annotated

import typer

from reports import terminal


def rules(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER[:MODEL]", help="One that ships with rules.")],
) -> None:
    """A provider's caching rules, each value with source and date.

    Alternatives and what contradicts a value, too.
    """
    from reports import rules as report
    from sim.providers import rulebook

    name, _, model = provider.partition(":")
    rulebook.require_shipped(name, "PROVIDER")
    terminal.show(report.table(name, rulebook.provenance(name, model or None)))
