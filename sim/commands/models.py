"""``python -m sim models``: the models that ship."""

from __future__ import annotations

from reports import terminal
from sim.commands.options import AsJson


def models(as_json: AsJson = False) -> None:
    """The models that ship: parameters, weights, KV, sources."""
    from pathlib import Path

    from sim.hardware import catalogue

    names = catalogue.names("models")
    found = [(name, catalogue.model(name, Path()), catalogue.source(name)) for name in names]
    if as_json:
        terminal.show_json(
            [
                {
                    "id": name,
                    "name": model.name,
                    "parameters": model.params,
                    "active_parameters": model.active_params,
                    "weights": model.dtype if model.quantization == "none" else model.quantization,
                    "weight_bytes": model.weight_bytes,
                    "kv_bytes_per_token": model.kv_bytes_per_token,
                    "max_position_embeddings": model.max_position_embeddings,
                    "source": source,
                }
                for name, model, source in found
            ]
        )
        return
    from reports import hardware as report

    terminal.show(report.models(found))
