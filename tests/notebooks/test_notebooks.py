"""The notebooks run from top to bottom, and what is built shows what they give."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks.build import built, executed, shown, sources

SLOW = {"both_worlds", "capacity_and_eviction"}
"""They simulate most; the others run what they use too."""


def _case(path: Path) -> object:
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of the kernel
@pytest.mark.parametrize("path", [_case(path) for path in sources()])
def test_notebook_runs(path: Path) -> None:
    """Executed as a person would; texts, figures and tables are those of the .ipynb (`make notebooks`)."""
    fresh, kept = executed(path), built(path)
    assert shown(fresh) == shown(kept)
    assert ["".join(cell["source"]) for cell in kept["cells"]] == [cell.source for cell in fresh.cells]
    outputs = [output for cell in fresh.cells for output in cell.get("outputs", [])]
    pictures = [out for out in outputs if {"image/svg+xml", "image/png"} & out.get("data", {}).keys()]
    tables = [out for out in outputs if "text/html" in out.get("data", {})]
    assert len(pictures) >= 1 and len(tables) >= 1
    assert not [out for out in outputs if out["output_type"] == "stream" and out["name"] == "stderr"]
