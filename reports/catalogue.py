"""Tables of what ships: configurations and providers, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from reports import units
from sim.providers.listing import Listed


def examples(found: Iterable[tuple[str, str]]) -> RenderableType:
    """One line per configuration: (name, question)."""
    return _table("Configurations that ship: python -m sim run NAME", ("name", "question"), found)


def providers(found: Iterable[Listed]) -> RenderableType:
    """One line per provider and caching mode; USD per million tokens."""
    headings = ("provider", "model", "mode", "from", "lifetimes", "input", "read", "write", "output")
    rows = [
        (
            one.provider,
            one.model,
            "" if one.modes == ("automatic",) else one.modes[0] if len(one.modes) == 1 else "both",
            str(one.min_tokens),
            " ".join(one.lifetimes),
            _usd(one.input_usd_per_1m),
            _usd(one.cached_input_usd_per_1m),
            " ".join(dict.fromkeys(map(_usd, one.write_usd_per_1m))),
            _usd(one.output_usd_per_1m),
        )
        for one in found
    ]
    title = (
        "Providers: a model of today; caching mode (automatic where none is told);\n"
        "from how many tokens on prompts are cached; USD per million tokens"
    )
    return _table(title, headings, rows, numbers=("from", "input", "read", "output"))


def _table(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = ()
) -> Table:
    out = Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE, padding=0,
        show_edge=False, pad_edge=False,
    )  # fmt: skip
    for heading in headings:
        name = heading == headings[0]
        out.add_column(
            heading, justify="right" if heading in numbers else "left", overflow="fold", no_wrap=name
        )
    for row in rows:
        out.add_row(*(Text(units.printable(cell)) for cell in row))
    return out


def _usd(price: float | None) -> str:
    return "" if price is None else f"{price:.3g}"
