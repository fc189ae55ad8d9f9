"""Figures in sentences and tables of the pages are what the command beside them gives, to the digit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from tests.docs.made import Made, Table, filled, marked
from tests.docs.makers.measured import ENTRIES, SENTENCES, TABLES
from tests.docs.pictures import Drawn
from tests.docs.tables import MADE, MODULES


def cases(made: Mapping[str, Made | Drawn]) -> list[object]:
    """Each by its name; those that take long are slow tests."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if one.slow else [], id=name.replace(" ", "-"))
        for name, one in made.items()
    ]


@pytest.mark.parametrize("name", cases(MADE))
def test_the_page_is_as_it_is_made(name: str) -> None:
    """Making its table or sentences anew changes nothing, and the command stands on it."""
    made = MADE[name]
    if made.needs is not None and not made.needs.exists():
        pytest.skip(f"the public traces (../{made.needs.relative_to(ROOT.parent)}) are not on this machine")
    text = (ROOT / made.page).read_text("utf-8")
    assert " ".join(made.command.split()) in " ".join(text.split())
    assert made.renewed(name, text).splitlines() == text.splitlines()


def test_every_marked_table_is_made() -> None:
    """A marker without a maker would hold nothing; a name is given once."""
    found = sorted(
        (path.relative_to(ROOT).as_posix(), name)
        for path in Path(ROOT, "docs").rglob("*.md")
        for name in marked(path)
    )
    assert found == sorted((made.page, name) for name, made in MADE.items() if isinstance(made, Table))
    assert len(MADE) == sum(len(module.MADE) for module in MODULES)


def test_everything_measured_is_shown() -> None:
    """Each entry says when, on what and by which command, and is a table or sentences of a page."""
    assert ENTRIES.keys() == TABLES.keys() | SENTENCES.keys()
    for name, entry in ENTRIES.items():
        assert entry.keys() == {"date", "machine", "command", "rows" if name in TABLES else "values"}, name
        assert entry["date"].startswith("20")


PAGE = "It saves 81.8 % of\nthe bill (and 3 s).\n\n<!-- table: x -->\n\n| a | b |\n|---|---|\n| one | 1 |\n"


def test_what_is_wrong_is_made_right() -> None:
    """In a sentence, whatever its lines, and in a table, of which a person wrote one cell."""
    template, figures = "saves {share} of the bill (and {time} s)", {"share": "73.6 %", "time": "4"}
    assert filled(PAGE, template, figures) == PAGE.replace("81.8 %", "73.6 %").replace("3 s", "4 s")
    assert filled(PAGE, template, {"share": "81.8 %", "time": "3"}) == PAGE
    table = Table("page", "command", lambda: [[None, "2"]])
    assert table.renewed("x", PAGE) == PAGE.replace("| one | 1 |", "| one | 2 |")


def test_a_sentence_stands_once() -> None:
    """One that is gone, or there twice, is not made."""
    for text in (PAGE.replace("saves", "costs"), PAGE + PAGE):
        with pytest.raises(AssertionError, match="sentences like"):
            filled(text, "saves {share} of the bill", {"share": "1 %"})
