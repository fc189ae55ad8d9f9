"""A provider's rules for a reader: value, source, date, alternatives."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from sim.providers.catalogue import Sourced


def table(name: str, values: list[Sourced]) -> Table:
    """One line per value; models and modes are told where they change."""
    out = Table(title=Text(f"Caching rules: {name}", style="bold"), title_justify="left")
    for heading in ("rule", "value", "source", "read on", "or"):
        out.add_column(heading, overflow="fold")
    before: tuple[str, str] | None = None
    for value in values:
        about = value.match, value.modes
        if about != before:
            out.add_section()
            out.add_row(Text(f"{value.match} ({value.modes})", style="bold"))
            before = about
        source = f"{value.source} ({value.confidence})" if value.confidence else value.source
        out.add_row(
            *(Text(text) for text in (value.rule, value.value, source, value.seen, value.alternatives))
        )
    return out
