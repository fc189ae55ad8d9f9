"""The command line of workloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import _within
from tests.refusing import Cli


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``python -m workloads ARGS`` within this process, in an empty folder."""
    from workloads.cli import main

    monkeypatch.chdir(tmp_path)
    return _within(main, capsys)
