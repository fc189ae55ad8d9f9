"""What every kind of workload offers."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from workloads.trace import Trace


class Workload(Protocol):
    """A generator or importer as configured: from it and a seed comes one trace, always the same."""

    @property
    def kind(self) -> str:
        """Its name in the configuration."""

    def build(self, seed: int, folder: Path) -> Trace:
        """The trace; file names are relative to ``folder``. InputError if there is none to be had."""
