"""Figures in sentences and tables of the pages are what the command beside them gives, to the digit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from tests.docs.tables import SENTENCES, TABLES, Sentences, Table, shown

FAST = {
    "first run",
    "front page",
    "ten turns",
    "ten turns, claims",
    "break-even",
    "profiles",
    "profiles, calibration",
}
"""The others run studies."""


def _cases(found: dict[str, Table] | dict[str, Sentences]) -> list[object]:
    return [
        pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow], id=name.replace(" ", "-"))
        for name in found
    ]


def _text(entry: Table | Sentences) -> str:
    """The page on one line, where what it needs is there; the command stands on it."""
    if entry.needs is not None and not entry.needs.exists():
        pytest.skip(
            f"the public traces (../{entry.needs.relative_to(ROOT.parent)}) are not on this machine"
        )
    text = " ".join((ROOT / entry.page).read_text("utf-8").split())
    assert entry.command in text
    return text


@pytest.mark.parametrize("name", _cases(TABLES))
def test_table(name: str) -> None:
    """Row by row; words of a person are left alone."""
    table = TABLES[name]
    _text(table)
    cells, made = shown(table.page, name), table.cells()
    assert len(cells) == len(made)
    for row, fresh in zip(cells, made, strict=True):
        assert [None if new is None else old for old, new in zip(row, fresh, strict=True)] == fresh


@pytest.mark.parametrize("name", _cases(SENTENCES))
def test_sentences(name: str) -> None:
    """Each template, filled in, stands on its page."""
    entry = SENTENCES[name]
    text = _text(entry)
    figures = entry.figures()
    for template in entry.templates:
        assert template.format(**figures) in text


def test_every_marked_table_is_made() -> None:
    """A marker without a maker would hold nothing."""
    marked = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in Path(ROOT, "docs").rglob("*.md")
        for name in _marked(path)
    }
    assert marked == {(table.page, name) for name, table in TABLES.items()}


def _marked(path: Path) -> list[str]:
    import re

    return re.findall(r"<!-- table: ([^>]+) -->", path.read_text("utf-8"))
