"""Shared fixtures."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.refusing import Cli
from workloads.command_line import GARBAGE

ROOT = Path(__file__).parents[1]
WARNINGS = os.environ.get("PREFIXSIM_WARNINGS", "error")
"""In processes of commands; old dependencies beside new ones (``make floors``) warn of each other."""

# No test is about wall time: a crowded machine fails none.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# As in commands: with Python's 700 new objects an eighth of the suite's time would be collections.
gc.set_threshold(*GARBAGE)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Importing and listing the tests makes many objects and no garbage: 4 s less in each worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _imports_are_no_garbage(request: pytest.FixtureRequest) -> None:
    """Full collections leave out all that was imported: a seventh of the suite's time.

    A server that stops in this process takes that back, so that it is done again afterwards, and not
    before each module of servers: it takes most of a second.
    """
    if not gc.get_freeze_count() and request.path.parent.name != "server":
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public traces beside the project; tests that need it skip where it is not."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public traces (../shared/data) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def mooncake_file(shared_data: Path) -> Path:
    """The Mooncake conversation trace."""
    return shared_data / "mooncake" / "conversation_trace.jsonl"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Runs ``python -m sim ARGS`` in a process of its own, in an empty folder."""

    def run(*args: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return process(tmp_path, *args, **(env or {}))

    return run


def process(folder: Path, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """``python -m sim ARGS`` in a process of its own, in ``folder``."""
    return subprocess.run(
        [sys.executable, "-W", WARNINGS, "-m", "sim", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **env},
        timeout=120,
    )


@pytest.fixture
def cli_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The same as `cli` within this process: many small cases need not start Python each time."""
    from sim.cli import main

    monkeypatch.chdir(tmp_path)
    return _within(main, capsys)


@pytest.fixture
def calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``python -m calibration ARGS`` within this process, in an empty folder."""
    from calibration.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return _within(main, capsys)


def _within(main: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(arg) for arg in args])
        code = end.value.code
        assert code is None or isinstance(code, int)
        out = capsys.readouterr()
        return subprocess.CompletedProcess(args, code or 0, out.out, out.err)

    return run
