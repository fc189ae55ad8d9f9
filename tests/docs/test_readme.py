"""README: its badges are true, and its translation says the same."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from urllib.parse import unquote

import pytest
import yaml

from tests.docs.examples import ROOT, fences

ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
COMMENT = re.compile(r"\s+# .*$|^\s*# .*$", re.MULTILINE)


def _sections(text: str) -> list[tuple[str, str]]:
    """(level of the heading, what stands under it) in order, without fences."""
    bare = re.sub(r"^```.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"^(#+) .*\n", bare, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _figures(text: str) -> Counter[str]:
    """Numbers in running text, tables and links, as they are written."""
    return Counter(re.findall(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)*", text))


def _code(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))


def _links(text: str) -> Counter[str]:
    return Counter(re.findall(r"\]\(([^)]+)\)", text))


def test_same_headings() -> None:
    """As many, and of the same levels."""
    assert [level for level, _ in _sections(CHINESE)] == [level for level, _ in _sections(ENGLISH)]
    assert len(_sections(ENGLISH)) > 6


@pytest.mark.parametrize("place", range(len(_sections(ENGLISH))))
def test_same_figures_names_and_links(place: int) -> None:
    """Section by section; only the link to the other language differs."""
    english, chinese = _sections(ENGLISH)[place][1], _sections(CHINESE)[place][1]
    assert _figures(chinese) == _figures(english)
    assert _code(chinese) == _code(english)
    assert _links(chinese) - Counter(["README.md"]) == _links(english) - Counter(["README.zh-CN.md"])


def test_same_commands_and_outputs() -> None:
    """Fence by fence, but for the comments in them."""
    pairs = list(zip(fences(ENGLISH), fences(CHINESE), strict=True))
    assert len(pairs) > 3
    for english, chinese in pairs:
        assert chinese.language == english.language
        if english.language == "text":
            assert chinese.body == english.body
        else:
            assert COMMENT.sub("", chinese.body).split() == COMMENT.sub("", english.body).split()


def test_badges_are_true() -> None:
    """What they claim is what pyproject.toml asks for and checks."""
    shown = [unquote(badge) for badge in re.findall(r"img\.shields\.io/badge/(\S+?)-blue", ENGLISH)]
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    covered = PROJECT["tool"]["coverage"]["report"]["fail_under"]
    assert PROJECT["tool"]["mypy"]["strict"]
    licence = PROJECT["project"]["license"].replace("-", "--")
    assert shown == [
        f"python-{least}+",
        f"licence-{licence}",
        "types-mypy strict",
        f"coverage-≥ {covered} %",
    ]


def test_versions_agree() -> None:
    """Of the package, the citation and the changelog's top section."""
    version = PROJECT["project"]["version"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["version"] == version and cited["license"] == PROJECT["project"]["license"]
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == version


def test_the_doctors_lines_are_those_of_its_page() -> None:
    """The README shows a part of what docs/doctor.md shows."""
    page = " ".join((ROOT / "docs" / "doctor.md").read_text("utf-8").split())
    found = re.search(r"^\$ python -m sim doctor.*?\n(.*?)^```", ENGLISH, re.MULTILINE | re.DOTALL)
    assert found is not None
    pieces = [" ".join(piece.split()) for piece in found[1].split("...")]
    assert all(piece in page for piece in pieces) and len(pieces) == 3


def test_notebooks_are_as_many_as_it_says() -> None:
    """Five, each as a script and built."""
    scripts = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    built = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert scripts == built and len(scripts) == 5 and "five notebooks" in ENGLISH
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert json.loads(path.read_text("utf-8"))["nbformat"] == 4
