"""A page in a real browser: a script added to it drives it and leaves what it saw in the document."""

from __future__ import annotations

import html
import json
import re
import shutil
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
NARROWEST = 500
"""A window of the browser is never narrower; narrower pages stand in a frame."""
WATCH = """<script>
const said = [];
addEventListener("error", event => said.push(String(event.message)));
addEventListener("securitypolicyviolation", event => said.push(event.violatedDirective));
for (const name of ["error", "warn"]) {
  const before = console[name];
  console[name] = (...words) => { said.push(words.join(" ")); before(...words); };
}
</script>
"""
DRIVE = """<script>
addEventListener("load", async () => {
  const results = {};
  try { %s } catch (error) { said.push(String(error)); }
  parent.document.documentElement.dataset.seen = JSON.stringify({said, ...results});
});
</script>
"""


def command(folder: Path, address: str, *flags: str) -> list[str]:
    """What starts the browser at ``address``, with an empty profile."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on PATH")
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    return [program, *FLAGS, f"--user-data-dir={profile}", *flags, address]


def chromium(folder: Path, page: Path, *flags: str) -> str:
    """Open ``page`` and return what the browser writes to stdout."""
    asked = command(folder, page.as_uri(), *flags)
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=120).stdout


def drive(folder: Path, text: str, script: str, width: int = 1280, *flags: str) -> dict[str, Any]:
    """What ``script`` put into ``results`` on a page of that width, and ``said``: errors and warnings.

    The browser's clock jumps to the next timer whenever nothing is left to do, and the document is read
    when it shows ten seconds. A script may wait for timers, not for another process (the text of a blob):
    that takes real time.
    """
    driven = text.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", DRIVE % script + "</body>")
    page = folder / "page.html"
    page.write_text(driven, "utf-8")
    if width < NARROWEST:
        inner = html.escape(driven, quote=True)
        page = folder / "frame.html"
        frame = f'<iframe srcdoc="{inner}" style="border:0;width:{width}px;height:900px"></iframe>'
        page.write_text(f'<!DOCTYPE html><body style="margin:0">{frame}</body>', "utf-8")
    size = f"--window-size={max(width, NARROWEST)},900"
    dom = chromium(folder, page, size, "--virtual-time-budget=10000", *flags, "--dump-dom")
    found = re.search(r'<html[^>]* data-seen="([^"]*)"', dom)
    assert found is not None, dom[:300]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen


def fitting(folder: Path, pages: dict[str, str], width: int) -> dict[str, Any]:
    """Of each of several pages, in frames of that width: the width it needs, where its first figure is."""
    frames = "".join(
        f'<iframe title="{name}" style="width:{width}px;height:900px" '
        f'srcdoc="{html.escape(text, quote=True)}"></iframe>'
        for name, text in pages.items()
    )
    script = """
      for (const frame of document.querySelectorAll("iframe")) {
        const inner = frame.contentDocument, chart = inner.querySelector("svg.chart");
        results[frame.title] = {
          needed: inner.documentElement.scrollWidth,
          width: frame.clientWidth,
          first: chart ? chart.getBoundingClientRect().top : null,
        };
      }
    """
    return drive(folder, f"<!DOCTYPE html><html><head></head><body>{frames}</body></html>", script)
