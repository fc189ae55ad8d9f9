"""What a study's module in this package offers the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import RenderableType

Studied = TypeVar("Studied", contravariant=True)


class Report(Protocol[Studied]):
    """A module that shows the outcome of one study, such as `reports.curve`."""

    def table(self, study: Studied, /) -> RenderableType:
        """What the terminal shows."""

    def write(self, study: Studied, folder: Path, /) -> list[Path]:
        """Write its files into ``folder``, all or none, and say where they are."""
