"""The documentation as it is built: without warnings, within the window, and asking nobody."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from tests.reports.browser import drive

pytestmark = [pytest.mark.slow, pytest.mark.browser]
PAGES = ["index", "tutorials/fleet", "how-to/router", "habits", "outputs", "reference/configuration"]
FITS = """
  results.needed = document.documentElement.scrollWidth;
  results.width = innerWidth;
  results.headings = document.querySelectorAll("h1").length;
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make site` builds."""
    pytest.importorskip("mkdocs", reason="the extra `site` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_sticks_out(site: Path, name: str, width: int) -> None:
    """A table that is wider than the page scrolls by itself; the page does not."""
    page = site / f"{name}.html"
    seen = drive(page.parent, page.read_text("utf-8"), FITS, width)
    assert seen["needed"] <= seen["width"] == width
    assert seen["headings"] == 1


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are files of the site."""
    loading = re.compile(
        r'<(?:script|img|iframe)[^>]*\bsrc="(?:https?:)?//|<link[^>]*rel="(?!canonical)[^"]*"[^>]*href="(?:https?:)?//'
    )
    for page in site.rglob("*.html"):
        assert not loading.search(page.read_text("utf-8")), page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(?:https?:)?//|@import", style.read_text("utf-8")), style.name


def test_no_page_speaks_of_the_workshop(site: Path) -> None:
    """Pages are about the project: no paths of a machine it was made on."""
    for page in site.rglob("*.html"):
        assert not re.search(r"[\s\"'](?:/work|/root)/", page.read_text("utf-8")), page.name
