"""A command line that refuses: one message, exit code 2, no traceback, and files as they were."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Cli = Callable[..., subprocess.CompletedProcess[str]]


def refused(cli: Cli, folder: Path, *args: str | Path, said: tuple[str, ...]) -> None:
    """``cli`` with ``args`` says all that is ``said``, and nothing in ``folder`` is other than before."""
    before = _below(folder)
    done = cli(*args)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and done.stdout == ""
    for text in said:
        assert text in done.stderr, done.stderr
    assert _below(folder) == before, "something was written"


def _below(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
