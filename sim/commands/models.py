"""``python -m sim models``: the models that ship."""

from __future__ import annotations

from reports import terminal


def models() -> None:
    """The models that ship: parameters, weights, KV, sources."""
    from pathlib import Path

    from reports import hardware as report
    from sim.hardware import catalogue

    names = catalogue.names("models")
    found = ((name, catalogue.model(name, Path()), catalogue.source(name)) for name in names)
    terminal.show(report.models(found))
