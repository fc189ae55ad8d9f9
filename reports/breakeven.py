"""When a cache write pays for itself: a table of all offers and what a pause costs under each choice."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reports import canvas, files, units
from reports.canvas import Picture
from reports.frame import Part, rows
from reports.frame import study as page
from reports.inline import image
from sim.providers import breakeven as be
from sim.providers.breakeven import Offer

Cell = Callable[[Offer], str]
COLUMNS: tuple[tuple[str, Cell], ...] = (
    ("provider", lambda o: o.provider),
    ("model", lambda o: o.model),
    ("mode", lambda o: o.mode),
    ("lifetime", lambda o: o.lifetime),
    ("write, x input", lambda o: units.significant(float(o.write))),
    ("read, x input", lambda o: units.significant(float(o.read))),
    ("reads per write", lambda o: _or(be.reads_per_write(o.write, o.read), "never")),
    ("pays at request", lambda o: str(be.request_that_pays(o.write, o.read) or "never")),
    ("hit rate needed", lambda o: units.percent(float(be.share_read(o.write, o.read)))),
    ("longest mean pause", lambda o: _time(be.longest_mean_gap_s(o.write, o.read, o.seconds))),
    ("keep warm up to", lambda o: _pings(o)),
    ("rent, reads per hour", lambda o: _or(o.reads_per_hour_for_rent, "")),
)
"""Heading and content of each column."""
NAMES = 4
"""So many of them name an offer; in a terminal all but the lifetime stand on a line of their own."""
NOTE = (
    "Write and read: price of a token as a multiple of the input price. Longest mean pause: with "
    "exponential pauses, the longest mean at which writing pays (any: writes are free). Keep warm "
    f"up to: the longest pause in which reads, one whenever {float(be.PING_SHARE):.0%} of the lifetime "
    "is over, are cheaper than writing again."
)


def _or(value: Fraction | None, otherwise: str) -> str:
    return otherwise if value is None else units.significant(float(value))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "any"
    hours = seconds / 3600
    return f"{units.significant(hours)} h" if hours >= 10 else f"{units.significant(seconds / 60)} min"


def _pings(offer: Offer) -> str:
    if not offer.refreshed or not offer.read:
        return ""
    return _time(float(be.keep_warm_s(offer.write, offer.read, offer.ping_s)))


def table(offers: list[Offer]) -> RenderableType:
    """The offers for the terminal, one a line below the model's name; it fits into 80 characters."""
    columns = COLUMNS[NAMES - 1 :]
    widths = [max(map(len, (*head.split(), *(cell(o) for o in offers)))) for head, cell in columns]
    headings = _grid(widths)
    headings.add_row(*(Text(heading, "bold") for heading, _ in columns))
    parts: list[RenderableType] = [Text("When a cache write pays for itself", "bold"), headings]
    for names, of_model in groupby(offers, lambda o: f"{o.provider}, {o.model}, {o.mode}"):
        lines = _grid(widths)
        for offer in of_model:
            lines.add_row(*(Text(cell(offer)) for _, cell in columns))
        parts += [Text(names, "bold"), lines]
    return Group(*parts, Text(NOTE, "dim"))


def _grid(widths: list[int]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for i, width in enumerate(widths):
        grid.add_column(width=width, justify="right" if i else "left", vertical="bottom")
    return grid


@canvas.styled
def figure(offers: list[Offer]) -> canvas.Figure:
    """What a prompt costs that is sent again after a pause, by pause and choice, for the first provider.

    x: pause in minutes (logarithmic); y: price of the prompt as a multiple of its uncached price.
    """
    first = offers[0]
    mine = [o for o in offers if (o.provider, o.model, o.mode) == (first.provider, first.model, first.mode)]
    figure, axes = canvas.new(
        f"What a pause costs: {units.shortened(first.model)}",
        "pause between two requests with the same prompt, minutes",
        "price of the prompt, x uncached",
    )
    pause_s = np.geomspace(30, 24 * 3600, 1200)
    axes.axhline(1, color=canvas.WITHOUT, linestyle="--", label="no caching")
    for i, offer in enumerate(mine):
        y = [float(be.gap_cost(gap, offer.write, offer.read, offer.seconds)) for gap in pause_s.tolist()]
        axes.plot(pause_s / 60, y, color=canvas.LINES[i], label=offer.lifetime)
    pinged = [float(be.pinged_cost(gap, first.read, first.ping_s)) for gap in pause_s.tolist()]
    axes.plot(
        pause_s / 60, pinged, color=canvas.BLACK, linewidth=1.2,
        label=f"{first.lifetime}, kept warm every {float(first.ping_s) / 60:g} min",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(0, 1.25 * max(1.0, *(float(offer.write) for offer in mine)))
    axes.xaxis.set_major_formatter(canvas.plain())
    canvas.legend(figure)
    return figure


def text(offers: list[Offer]) -> str:
    """The table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([heading for heading, _ in COLUMNS])
    writer.writerows([cell(offer) for _, cell in COLUMNS] for offer in offers)
    return out.getvalue()


CAPTION = (
    "What a prompt costs that is sent again after a pause, as a multiple of its uncached price: below "
    "the dashed line caching pays. Reads that keep an entry warm are in the black line."
)
DEFINITIONS = (
    (
        "Write, read",
        "The price of a token that is written into the cache, or read, as a multiple of the input price.",
    ),
    (
        "Reads per write",
        "How often what was written must be read until writing has cost no more than not caching.",
    ),
    (
        "Pays at request",
        "The request with the same prompt, counted from 1, from which on caching costs no more.",
    ),
    (
        "Hit rate needed",
        "The share of tokens that must be read, the others being written, for caching to pay.",
    ),
    (
        "Longest mean pause",
        "With exponential pauses, the longest mean at which writing pays; any: writes are free.",
    ),
    (
        "Keep warm up to",
        "The longest pause in which reads, one whenever "
        f"{float(be.PING_SHARE):.0%} of the lifetime is over, are cheaper than writing again.",
    ),
    ("Rent", "How many reads an hour pay for the storage of a cache object, where a provider charges it."),
)


def answer(offers: list[Offer]) -> str:
    """From which request on a write pays, over all offers."""
    paid = [be.request_that_pays(o.write, o.read) for o in offers]
    known = [request for request in paid if request is not None]
    if not known:
        return "At none of these prices does a cache write pay for itself."
    low, high = min(known), max(known)
    span = f"the {_nth(low)} request" if low == high else f"the {_nth(low)} to the {_nth(high)} request"
    never = len(paid) - len(known)
    return f"A cache write pays for itself from {span} with the same prompt on" + (
        f"; never at {never} of {len(paid)} offers." if never else f" at all {len(paid)} offers."
    )


def _nth(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def render(offers: list[Offer]) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    return page(
        subject="when a cache write pays",
        about="Closed forms from the providers' published prices: exact, and of no workload in particular.",
        name="Break-even of prompt caching",
        answer=answer(offers),
        parts=[
            Part(
                "All offers",
                images=[image(Picture(figure(offers), CAPTION))],
                headings=[heading for heading, _ in COLUMNS],
                rows=rows([[cell(offer) for _, cell in COLUMNS] for offer in offers]),
                words=NAMES,
                table_first=True,
            )
        ],
        definitions=DEFINITIONS,
    )


def write(offers: list[Offer], folder: Path) -> list[Path]:
    """Write breakeven.csv, breakeven.png and breakeven.html into ``folder``, all or none; their paths."""
    contents = {
        "breakeven.csv": text(offers).encode(),
        "breakeven.png": canvas.png(figure(offers)),
        "breakeven.html": render(offers).encode(),
    }
    files.put(folder, contents)
    return [folder / name for name in contents]
