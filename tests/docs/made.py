"""Tables and sentences of pages that are made from results, and pages made anew from them.

Before a table stands ``<!-- table: NAME -->``; the maker of that name gives its cells, None for those that
a person wrote. A sentence is a template with names of figures in braces, which finds its place on the page
by the words around them. Both name the command that gives the same figures, which stands on the page too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.docs.examples import ROOT

SHARED = ROOT.parent / "shared" / "data"
MOONCAKE = SHARED / "mooncake" / "conversation_trace.jsonl"
SESSIONS = SHARED / "claude_code_sessions" / "sessions.jsonl.gz"
REAL_RUNS = SHARED / "real_runs"
"""Public data beside the repository."""
Cells = list[list[str | None]]
Figures = Mapping[str, str]
FIGURE = r"(?<![\w.,])([+$-]?\d(?:[\d.,±%]|\s|\b(?:min|ms|s|h|M)\b)*)"
"""A figure in a sentence: a number with its error and unit, or several of them."""


class Table(NamedTuple):
    """A table of a page, and what makes it."""

    page: str
    command: str
    """That gives the same figures, or the file that makes them; it stands on the page too."""
    cells: Callable[[], Cells]
    needs: Path | None = None
    slow: bool = False

    def renewed(self, name: str, text: str) -> str:
        """``text`` of the page with the cells as they are now."""
        found = re.search(rf"<!-- table: {re.escape(name)} -->\n+(?: *\|.*\n){{2}}((?: *\|.*\n)+)", text)
        assert found is not None, f"{self.page} has no table {name!r}"
        lines, fresh = found[1].splitlines(), self.cells()
        indent = " " * (len(lines[0]) - len(lines[0].lstrip()))
        if any(cell is None for row in fresh for cell in row):
            pairs = zip(map(_cells, lines), fresh, strict=True)
            fresh = [
                [old if new is None else new for old, new in zip(*pair, strict=True)] for pair in pairs
            ]
        rows = "".join(
            f"{indent}|{''.join(f' {cell} |' if cell else ' |' for cell in row)}\n" for row in fresh
        )
        return text[: found.start(1)] + rows + text[found.end(1) :]


class Sentences(NamedTuple):
    """Sentences of a page, each once, and what fills them in."""

    page: str
    command: str
    figures: Callable[[], Figures]
    templates: tuple[str, ...]
    needs: Path | None = None
    slow: bool = False

    def renewed(self, name: str, text: str) -> str:
        """``text`` of the page with the figures as they are now."""
        figures = self.figures()
        for template in self.templates:
            text = filled(text, template, figures, f"{self.page}, {name}")
        return text


Made = Table | Sentences


def filled(text: str, template: str, figures: Figures, where: str = "the page") -> str:
    """``text`` with the figures of the one sentence in it that is ``template``; lines break anywhere.

    >>> filled("It saves 80 % of\\nthe bill.", "saves {share} of the bill", {"share": "81.8 %"})
    'It saves 81.8 % of\\nthe bill.'
    """
    words, names = re.split(r"\{\w+\}", template), re.findall(r"\{(\w+)\}", template)
    assert words[0] and words[-1], f"{template!r} begins or ends with a figure"
    literal = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in words]
    found = list(re.finditer(FIGURE.join(literal), text))
    assert len(found) == 1, f"{where} has {len(found)} sentences like {template!r}"
    for place, name in reversed(list(enumerate(names, start=1))):
        begin, end = found[0].span(place)
        if text[begin:end].split() != figures[name].split():
            text = text[:begin] + figures[name] + text[end:]
    return text


def marked(path: Path) -> Iterator[str]:
    """The names of the tables that a page says are made."""
    yield from re.findall(r"<!-- table: ([^>]+) -->", path.read_text("utf-8"))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def percent(share: float, digits: int = 1) -> str:
    """As pages have it: ``81.8 %``."""
    return f"{100 * share:.{digits}f} %"


def signed(share: float, digits: int = 1) -> str:
    """The same with its sign: ``-1.6 %``."""
    return f"{100 * share:+.{digits}f} %"
