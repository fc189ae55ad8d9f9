"""Pictures of the pages: the command that draws each stands beside it, and draws it as it is shown."""

from __future__ import annotations

import io
import platform
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from tests.docs.examples import ROOT
from tests.docs.pictures import FOLDER, PICTURES
from tests.docs.test_figures import cases

PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_each_has_its_command_beside_it() -> None:
    """In the paragraph behind the picture; none is drawn and not shown, or shown and not drawn."""
    seen = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        found = re.findall(r"figures/([\w-]+)\.png\)\n\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
        assert len(found) == len(re.findall(r"figures/[\w-]+\.png\)", text)), page.name
        for name, behind in found:
            assert f"`python -m tests.docs.pictures {name}`" in " ".join(behind.split()), name
            seen.add(name)
    assert seen == PICTURES.keys() == {path.stem for path in FOLDER.iterdir()}


def _as_kept() -> bool:
    """Whether matplotlib and the machine are those whose pictures are kept."""
    locked = Path(ROOT, "requirements-test.lock").read_text("utf-8")
    return f"\nmatplotlib=={matplotlib.__version__}\n" in locked and platform.machine() == "x86_64"


@pytest.mark.parametrize("name", cases(PICTURES))
def test_the_picture_is_as_it_is_drawn(name: str) -> None:
    """Pixel by pixel: the data behind it have not moved.

    A pixel may be a few tints off: numpy's last digits, and so the edges of lines, depend on the processor.
    """
    drawn = PICTURES[name]
    if drawn.needs is not None and not drawn.needs.exists():
        pytest.skip(
            f"the public traces (../{drawn.needs.relative_to(ROOT.parent)}) are not on this machine"
        )
    if not _as_kept():
        pytest.skip("another release of matplotlib, or another kind of machine, draws other pixels")
    now, kept = imread(io.BytesIO(drawn.png())), imread(FOLDER / f"{name}.png")
    assert now.shape == kept.shape
    assert np.abs(now - kept).max() <= 4 / 255
