"""The page with live figures, in a real browser."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.reports.browser import FLAGS
from tests.server.conftest import openai_client
from tests.server.fake import FakeLive
from tests.server.running import Up, up

HELLO: Any = [{"role": "user", "content": "Hello"}]


def chromium(folder: Path, url: str, *flags: str) -> str:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on PATH")
    command = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_live_figures(engine: Up[FakeLive], tmp_path: Path, dark: bool) -> None:
    with openai_client(engine) as client:
        for _ in range(3):
            client.chat.completions.create(model="m", messages=HELLO, max_tokens=7)
    picture = tmp_path / "page.png"
    colours = ["--blink-settings=preferredColorScheme=0"] if dark else []
    dom = chromium(
        tmp_path, f"{engine.url}/", *colours, "--window-size=1100,760", "--virtual-time-budget=6000",
        "--dump-dom", f"--screenshot={picture}",
    )  # fmt: skip
    assert "prefixsim live: fake" in dom and "3 requests" in dom and "12 in, 21 out" in dom
    assert "50.0 %" in dom and "$0.00300" in dom
    assert dom.count("<polyline") == 7 and '"status">No figures' not in dom
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1100, 760), "it was drawn"


def test_the_page_needs_nothing_from_elsewhere(engine: Up[FakeLive]) -> None:
    page = engine.client.get("/").text
    assert "http://" not in page and "https://" not in page and "src=" not in page and "href=" not in page


@pytest.mark.browser
def test_a_key_goes_with_the_page(tmp_path: Path) -> None:
    with up(FakeLive, api_key="secret") as server:
        shut = chromium(tmp_path, f"{server.url}/", "--virtual-time-budget=3000", "--dump-dom")
        assert "this server wants a key" in shut
        opened = chromium(tmp_path, f"{server.url}/#key=secret", "--virtual-time-budget=3000", "--dump-dom")
        assert "prefixsim live: fake" in opened
