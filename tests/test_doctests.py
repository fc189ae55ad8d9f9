"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = "doctest: " + "+SKIP"
PACKAGES = ("sim", "workloads", "reports", "calibration")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of a module, as run in the project's folder."""
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testmod(import_module(name))
    assert tried > 0 and failed == 0


def test_examples_are_found() -> None:
    """In the packages that have some, each at work: none is skipped."""
    assert {name.partition(".")[0] for name in MODULES} >= {"sim", "workloads", "reports"}
    assert not [path for path in ROOT.glob("[!.]*/**/*.py") if SKIPPED in path.read_text(encoding="utf-8")]
