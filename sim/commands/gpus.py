"""``python -m sim gpus``: the GPUs that ship."""

from __future__ import annotations

from reports import terminal


def gpus() -> None:
    """The GPUs that ship: memory, bandwidth, compute, sources.

    Memory is told as the driver and as CUDA report it.
    """
    from reports import hardware as report
    from sim.hardware import catalogue

    terminal.show(report.gpus((name, catalogue.gpu(name)) for name in catalogue.names("gpus")))
