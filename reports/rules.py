"""A provider's rules for a reader: value, source, date, alternatives."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.providers.rulebook import Sourced


def table(name: str, values: list[Sourced]) -> RenderableType:
    """One line per value, the sources numbered below; models and modes are told where they change."""
    out = Table(title=Text(f"Caching rules: {name}", style="bold"), title_justify="left")
    sources = list(dict.fromkeys(value.source for value in values))
    longest = max((len(value.rule) for value in values), default=0)
    out.add_column("rule", overflow="fold", width=longest)
    for heading in ("value", "source", "read on", "or"):
        out.add_column(heading, overflow="fold")
    before: tuple[str, str] | None = None
    for value in values:
        about = value.match, value.modes
        if about != before:
            out.add_section()
            out.add_row(Text(f"{value.match} ({value.modes})", style="bold"))
            before = about
        number = f"[{sources.index(value.source) + 1}]"
        source = f"{number} ({value.confidence})" if value.confidence else number
        out.add_row(
            *(Text(text) for text in (value.rule, value.value, source, value.seen, value.alternatives))
        )
    return Group(out, *(Text(f"[{i}] {source}") for i, source in enumerate(sources, 1)))
