"""Progress bars fit the terminal, however many parts and however long their names."""

from __future__ import annotations

import re

import pytest

from reports import terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MOVE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("bar", [terminal.parts, terminal.time_left])
def test_one_line_at_any_width(
    bar: object, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bar, which names the part under way; a long name is cut."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert callable(bar)
    with bar(False) as tell:
        tell("loading the workload", 0, None)
        for number in range(30):
            name = f"system {number} [red] {'with a long name ' * 8}"
            for done in (0, 1_000_000):
                tell(name, done, 1_000_000)
    lines = MOVE.sub("\n", COLOUR.sub("", capsys.readouterr().err)).splitlines()
    assert max(map(len, lines)) <= width
    told = [line for line in lines if "system" in line]
    assert told[-1].startswith("system 29 " if width > 40 else "system…")
    assert "…" in told[-1] and "1000000/1000000" in told[-1]


def test_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Logs of a batch system hold no bars, nor does anything that was asked to be quiet."""
    with terminal.parts(False) as tell:
        tell("a part", 1, 2)
    assert capsys.readouterr() == ("", "")
