"""The commands of README, tutorials and recipes run as written and print what the pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.examples import ROOT, Mismatch, fences, pages, play, slow


def _case(path: Path) -> object:
    marks = [pytest.mark.slow] if slow(path) else []
    return pytest.param(path, id=path.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("path", [_case(path) for path in pages()])
def test_page(path: Path, tmp_path: Path) -> None:
    """From top to bottom in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    assert play(path, folder) > 0


PAGE = """
```yaml title="a.txt"
one
```

```sh
cat a.txt; echo two; echo three
```

```text
one
...
three
```
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("\none\n...", "\none\n"), ("...\nthree", "...\nfour"), ("cat a.txt", "cat b.txt")],
    ids=["a line too many", "another figure", "a command that fails"],
)
def test_what_is_wrong_is_found(old: str, new: str, tmp_path: Path) -> None:
    """The example itself passes, and fails with one thing changed."""
    page = tmp_path / "page.md"
    for name, text in (("right", PAGE), ("wrong", PAGE.replace(old, new))):
        (tmp_path / name).mkdir()
        page.write_text(text)
        if name == "right":
            assert play(page, tmp_path / name) == 1
        else:
            with pytest.raises(Mismatch):
                play(page, tmp_path / name)


def test_every_command_that_is_not_run_says_why() -> None:
    """A fence in another shell's name would never be run: commands are `sh` fences."""
    for path in pages():
        assert not {fence.language for fence in fences(path.read_text("utf-8"))} & {
            "bash",
            "shell",
            "console",
        }
