"""``python -m sim gpus``: the GPUs that ship."""

from __future__ import annotations

from reports import terminal
from sim.commands.options import AsJson


def gpus(as_json: AsJson = False) -> None:
    """The GPUs that ship: memory, bandwidth, compute, sources.

    Memory is told as the driver and as CUDA report it.
    """
    from sim.hardware import catalogue

    found = {name: catalogue.gpu(name) for name in catalogue.names("gpus")}
    if as_json:
        terminal.show_json([{"id": name, **gpu.model_dump(mode="json")} for name, gpu in found.items()])
        return
    from reports import hardware as report

    terminal.show(report.gpus(found.items()))
