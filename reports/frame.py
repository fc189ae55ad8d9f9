"""The frame of every page: one self-contained HTML file without network, light and dark, for print too.

A page is a template that extends `page.html` (style in `style.css`, the few lines of script in `page.js`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.inline import Image

NARROW = 5
"""A table of so many columns leaves room for a figure beside it."""
HEADING = re.compile(r'<h2 id="([^"]*)">(.*?)</h2>', re.S)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table."""

    cells: Sequence[str]
    look: str = ""
    """Classes of `style.css`: first, dim, group."""
    colour: str = ""
    """Of a square before the name: how figures draw it."""
    link: str = ""
    """Where the name leads on the page."""
    warning: str = ""
    """A sign behind the name says that there is one."""
    small: str = ""
    """Small print below the name."""
    gains: Mapping[int, str] = field(default_factory=dict)
    """Columns (from 1, behind the name) whose figure is a gain or a loss."""


def rows(cells: Sequence[Sequence[str]]) -> list[Row]:
    """Lines without anything special."""
    return [Row(line) for line in cells]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a study's page: words, figures, a table, notes; what it does not have is left out."""

    title: str
    about: str = ""
    images: Sequence[Image] = ()
    headings: Sequence[str] = ()
    rows: Sequence[Row] = ()
    words: int = 1
    """So many columns at the left are text."""
    sorts: bool = True
    """Whether a click on a heading sorts; not where lines belong together in their order."""
    table_first: bool = False
    notes: Sequence[str] = ()
    fold: str = ""
    """The sentence that stands beside the title where the part is folded; empty where it is not."""
    calibrated: bool | None = None

    @property
    def beside(self) -> bool:
        """Whether table and figure stand side by side where a page is wide."""
        return len(self.images) == 1 and 0 < len(self.headings) <= NARROW


def study(
    *,
    subject: str,
    about: str,
    parts: Sequence[Part],
    notes: Sequence[str] = (),
    failures: Sequence[tuple[str, str]] = (),
    folded: str = "Each system",
    seed: int | None = None,
    uncalibrated: Sequence[str] = (),
    configuration: str = "",
    **own: Any,
) -> str:
    """The page of a study, made of parts; ``folded`` stands above those that are folded. See `page`."""
    return page(
        "study.html", subject=subject, about=about, parts=parts, notes=notes, failures=failures,
        folded=folded, seed=seed, uncalibrated=list(uncalibrated), configuration=configuration, **own,
    )  # fmt: skip


def page(
    template: str,
    *,
    name: str,
    seed: int | None,
    uncalibrated: list[str],
    definitions: Sequence[tuple[str, str]],
    configuration: str,
    answer: str = "",
    typical: str = "",
    **own: object,
) -> str:
    """``template``, which extends ``page.html``, as text: everything escaped, nothing undefined.

    ``answer`` is the sentence that a reader came for. ``uncalibrated`` are the systems whose times are not
    measured, ``typical`` says how far off such times are. ``definitions`` are terms and what they mean,
    ``configuration`` is YAML, empty where there is none, like ``seed``. ``own`` is what the
    template itself wants.
    """
    environment = Environment(
        loader=PackageLoader("reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"figure": figure, "slug": slug, "contents": contents}
    return environment.get_template(template).render(
        name=name,
        version=metadata.version("prefixsim"),
        seed=seed,
        uncalibrated=uncalibrated,
        definitions=definitions,
        configuration=configuration,
        answer=answer,
        typical=typical,
        **own,
    )


def figure(text: str) -> Markup:
    """A cell of a table that may be broken before its ± and nowhere else.

    >>> str(figure("90.7 ± 0.4%")), str(figure("12"))
    ('<span>90.7</span> <span>± 0.4%</span>', '12')
    """
    value, sign, half_width = text.partition(" ± ")
    if not sign:
        return Markup("{}").format(text)
    return Markup("<span>{}</span> <span>± {}</span>").format(value, half_width)


def slug(text: str) -> str:
    """``text`` as the name of an anchor or a file.

    >>> slug("How to read this"), slug("größer & <b>")
    ('how-to-read-this', 'gr-er-b')
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"


def contents(body: str) -> list[tuple[str, Markup]]:
    """The headings of a page: their anchors and texts, for its contents."""
    return [(anchor, Markup(title)) for anchor, title in HEADING.findall(str(body))]
