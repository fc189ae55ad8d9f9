"""Who sends requests to a fleet while time runs."""

from __future__ import annotations

from typing import Protocol

from sim.engine.interface import Heard


class Live(Heard, Protocol):
    """Who sends requests while time runs, and is told what becomes of them."""

    @property
    def seen_after_s(self) -> float:
        """How long after it is computed a client sees a token: tokens leave before it is known how long
        those after them take."""

    def over(self, index: int, seen_after_s: float) -> None:
        """Request ``index`` has ended, which its client sees ``seen_after_s`` from now."""
