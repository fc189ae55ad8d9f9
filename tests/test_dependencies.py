"""The tests run with versions that pyproject.toml allows, and all of them are written down."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.dependencies import LOCK, direct, floors


def _locked() -> dict[str, str]:
    lines = LOCK.read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines), "names and versions alone"
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize("asked", direct("test"), ids=lambda asked: asked.name)
def test_locked(asked: Requirement) -> None:
    """What is asked for directly is pinned, to a version that is allowed (``make lock`` after a change)."""
    assert asked.specifier.contains(_locked()[canonicalize_name(asked.name)])


def test_floors() -> None:
    """Every dependency of the package has an oldest version, which ``make floors`` installs."""
    assert set(floors()) == {asked.name for asked in direct()}
    for asked in direct():
        assert asked.specifier.contains(floors()[asked.name])
