"""A figure inside a page: one SVG whose colours follow the page's mode, and its numbers beside it.

matplotlib writes colours, fonts and ids as they are; here colours become CSS variables (`style.css` gives
each of them in a light and a dark tint), the font becomes the page's, and ids get a prefix of their own, as
those of several figures in one page must differ.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from dataclasses import asdict, dataclass

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from reports import canvas, plotted
from reports.canvas import Picture

TEXT = {"svg.fonttype": "none"}
"""Letters as text: smaller than paths, readable by others than eyes, in the page's colour."""
LONG = re.compile(r"(?<=\d\.\d\d)\d+")
"""What a place in the figure does not need of its digits."""
TAG = re.compile(r"<[^>]*>")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
FONT = re.compile(r"font-family: [^;\"]*; ?")
IDS = re.compile(r'(?<![\w-])(id="|xlink:href="#|url\(#)')
UNSEEN = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.S
)
HEAD = re.compile(r"<svg.*?>", re.S)


@dataclass(frozen=True, slots=True)
class Image:
    """A figure as a page shows it."""

    key: str
    """Stands before the ids in the SVG."""
    svg: Markup
    data: Markup
    """Its panels as JSON, see `plotted.Panel`."""
    title: str
    caption: str


def image(picture: Picture) -> Image:
    """``picture`` with its numbers; the same figure gives the same bytes."""
    figure = picture.figure
    plotted.label(figure)
    raw = _written(figure)
    panels = [asdict(panel) for panel in plotted.panels(figure)]
    text = json.dumps(panels, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    title = next((t for axes in figure.axes if (t := axes.get_title(loc="left"))), "")
    supertitle = figure.get_suptitle()
    key = "f" + hashlib.sha256((raw + text).encode()).hexdigest()[:8]
    return Image(
        key=key,
        svg=Markup(_themed(raw, key, supertitle or title)),
        data=Markup(text.replace("<", "\\u003c").replace("&", "\\u0026")),
        title=supertitle or title,
        caption=picture.caption,
    )


def _written(figure: Figure) -> str:
    out = io.StringIO()
    with matplotlib.rc_context(canvas.STYLE | TEXT):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _themed(raw: str, key: str, title: str) -> str:
    """The ``<svg>`` element with variables for colours and unique ids."""
    width, height = re.findall(r'(?:width|height)="([0-9.]+)pt"', raw)[:2]
    text = TAG.sub(lambda tag: LONG.sub("", tag[0]), UNSEEN.sub("", raw))  # texts keep their digits
    text = HEAD.sub(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        text,
        count=1,
    )
    text = COLOUR.sub(lambda found: canvas.THEMED.get(found[0].lower(), found[0]), text)
    text = FONT.sub("", text)
    text = IDS.sub(lambda found: found[1].replace("xlink:", "") + f"{key}-", text)
    return re.sub(r">\s+<", "><", text).strip()
