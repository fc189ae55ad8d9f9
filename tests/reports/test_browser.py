"""The page in a real browser: every image is decoded, nothing sticks out."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PROBE = """<script>
addEventListener("load", () => {
  document.documentElement.dataset.seen = JSON.stringify({
    images: [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight, i.clientWidth]),
    width: innerWidth,
    needed: document.documentElement.scrollWidth,
  });
});
</script>
"""

pytestmark = pytest.mark.browser


def chromium(folder: Path, page: Path, *flags: str) -> str:
    """Open ``page`` with an empty profile and return what the browser writes to stdout."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on PATH")
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [program, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("width", [1200, 500])
def test_images_load_and_nothing_sticks_out(pages: dict[str, str], tmp_path: Path, width: int) -> None:
    text = pages["everything"]
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", PROBE + "</body>"), "utf-8")
    dom = chromium(tmp_path, page, f"--window-size={width},900", "--dump-dom")
    found = re.search(r'data-seen="([^"]*)"', dom)
    assert found is not None
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert len(seen["images"]) == text.count("<img ")
    for complete, natural_width, natural_height, shown_width in seen["images"]:
        assert complete and natural_width > 300 and natural_height > 150
        assert 300 < shown_width <= 640
    assert seen["needed"] <= seen["width"]


def test_it_is_drawn(pages: dict[str, str], tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    page.write_text(pages["everything"], "utf-8")
    chromium(tmp_path, page, "--window-size=1200,3000", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1200, 3000)
    assert len(data) > 100_000, "an empty page compresses to a few kilobytes"
