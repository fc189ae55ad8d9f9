"""What every kind of system offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sim.providers.prices import ProviderPrice
from sim.results.pricing import Price
from sim.results.records import Records
from workloads.trace import Trace


class System(Protocol):
    """One thing that a trace can be sent to: a cache, replicas of an engine, or a hosted API.

    ``key`` is the system's place in the configuration, for messages; file names in it are relative to
    ``folder``. ``tick`` is called now and then with the number of requests that have ended.
    """

    @property
    def kind(self) -> str:
        """Its name in the configuration."""

    @property
    def price(self) -> Price | ProviderPrice | None:
        """The price that the configuration gives."""

    def resolved(self, key: str, folder: Path) -> System:
        """The same system with every default filled in; InputError if its parts do not go together."""

    def check_trace(self, trace: Trace, key: str, folder: Path) -> None:
        """Raise InputError if ``trace`` cannot run here."""

    def notes(self, trace: Trace, folder: Path) -> list[str]:
        """What a reader has to know about its figures."""

    def calibrated(self, folder: Path) -> bool | None:
        """Whether its times rest on measurements; None where there are no times."""

    def run(self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]) -> Records:
        """What happens to the trace here."""

    def run_without_cache(
        self, trace: Trace, key: str, folder: Path, tick: Callable[[int], None]
    ) -> Records:
        """What would happen if nothing were cached: the run's twin."""
