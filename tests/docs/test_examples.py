"""The commands of README, tutorials and recipes run as written and print what the pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.examples import ROOT, SLOW, Mismatch, fences, has, pages, play


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [path for path in pages() if has(path, None)], ids=_named)
def test_page(path: Path, tmp_path: Path) -> None:
    """From top to bottom in an empty folder, without what takes long."""
    (tmp_path / "here").mkdir()
    assert play(path, tmp_path / "here", slow=False) > 0


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in pages() if has(path, SLOW)], ids=_named)
def test_whole_page(path: Path, tmp_path: Path) -> None:
    """With what takes long."""
    (tmp_path / "here").mkdir()
    assert play(path, tmp_path / "here") > 0


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


def test_the_front_page_shows_the_first_run_as_the_readme_does() -> None:
    """The same command, and the first lines of what it prints."""
    of_front, of_readme = (
        next(fence.body for fence in fences((ROOT / name).read_text("utf-8")) if "Caching" in fence.body)
        for name in ("docs/index.md", "README.md")
    )
    assert len(of_front) > 100 and of_readme.startswith(of_front.removesuffix("...\n"))


def test_every_command_that_is_not_run_says_why() -> None:
    """A fence in another shell's name would never be run: commands are `sh` fences."""
    for path in pages():
        assert not {fence.language for fence in fences(path.read_text("utf-8"))} & {
            "bash",
            "shell",
            "console",
        }
