"""What each generator makes: how large a cache has to be, for its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter
from pydantic import TypeAdapter

from reports import canvas
from reports.canvas import Figure
from sim.studies.curve import blocks_of, exact
from workloads.registry import WorkloadConfig

HOUR: dict[str, Any] = {"duration_s": 3600, "arrival": {"rate_per_s": 0.5}}
GENERATORS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "chat": [
        ("default", {}),
        ("the last 2 turns only", {"habits": {"history": {"kind": "window", "turns": 2}}}),
        ("5,000 tokens of document", {"document_tokens": 5000}),
    ],
    "agent": [("default", {"arrival": {"rate_per_s": 0.05}})],
    "rag": [
        ("documents after the history", {}),
        ("before it", {"place": "before"}),
        ("before it, in a fixed order", {"place": "before", "order": "fixed"}),
    ],
    "batch": [("mixed", {}), ("grouped", {"order": "grouped"}), ("in turn", {"order": "in_turn"})],
    "long_documents": [
        ("8 documents", {}),
        ("100 of them", {"documents": {"count": 100, "tokens": 20_000}}),
    ],
    "mix": [],
}
"""Kinds, and the variants that are drawn of each."""
MIX = ("chat", "agent", "rag")
POINTS = 200
QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
ROOM = 1.4
"""Upper end of the upper panels: their legends stand above the curves."""


@canvas.styled
def generators() -> Figure:
    """LRU hit rate against the size of the cache, an hour of each kind."""
    figure = Figure(figsize=(6.8, 4.0), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row")
    for place, (kind, variants) in enumerate(GENERATORS.items()):
        panel = axes.flat[place]
        for number, (label, settings) in enumerate(variants or [("chat, agent and rag together", {})]):
            sizes, rates = curve_of(workload_of(kind, settings))
            style = {"color": canvas.LINES[number], "linestyle": canvas.DASHES[number]}
            panel.plot(sizes, rates, label=label, **style)
        panel.set(xscale="log", title=kind, ylim=(0, ROOM if place < 3 else 1.02), xlim=(1e4, 1e8))
        panel.set_yticks(QUARTERS)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0))
        panel.set_xticks([1e4, 1e6, 1e8], ["10 k", "1 M", "100 M"], fontsize=7)
        panel.set_xticks([], minor=True)
        panel.legend(fontsize=6.5, loc="upper left" if place < 3 else "lower right", borderaxespad=0.2)
        if place >= 3:
            panel.set_xlabel("tokens that the cache holds")
        if place % 3 == 0:
            panel.set_ylabel("hit rate, by tokens")
    return figure


def workload_of(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """An hour of a kind, as a configuration has it."""
    if kind != "mix":
        return {"kind": kind} | HOUR | settings
    classes = {name: {"workload": workload_of(name, dict(GENERATORS[name][0][1]))} for name in MIX}
    return {"kind": "mix", "classes": classes}


def curve_of(workload: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Sizes in tokens, and the hit rate at each."""
    trace = TypeAdapter[Any](WorkloadConfig).validate_python(workload).build(1, Path())
    blocks = blocks_of(trace, 16)
    sizes = np.unique(np.geomspace(1e4, 1e8, POINTS).astype(int) // 16)
    return (sizes * 16).tolist(), exact(blocks).rate_tokens(sizes).tolist()
