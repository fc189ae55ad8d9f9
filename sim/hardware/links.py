"""What GPUs that work together on one step send to each other, as seconds of the step.

Tensor parallelism adds up the GPUs' parts of each layer twice, after attention and after the feed-forward
part: an all-reduce of hidden states, of which every GPU sends and receives 2 (n - 1) / n in a ring. Data
parallel ranks that share experts collect each other's hidden states before the experts and add up the
results after them (all-gather and reduce-scatter).

>>> from pathlib import Path
>>> from sim.hardware import catalogue
>>> llama = catalogue.model("llama-3.1-70b", Path())
>>> link = Link(gb_per_s=450, latency_us=10)
>>> step_s, token_s = costs(llama, Parallel(tensor=4), link)  # 2 x 80 layers; 8,192 x 2 bytes
>>> round(step_s * 1e3, 2), round(token_s * 1e6, 2)
(1.6, 8.74)
"""

from __future__ import annotations

from typing import NamedTuple

from sim.hardware.model import Model
from sim.hardware.parallel import Parallel


class Link(NamedTuple):
    """What a collective of the GPUs reaches, each way and per GPU, and the time that its start takes."""

    gb_per_s: float
    latency_us: float


def costs(model: Model, parallel: Parallel, link: Link) -> tuple[float, float]:
    """(s per step, s per new token of a rank) of all layers' collectives."""
    values = 2 * model.hidden_size  # activations are of 16 bit, whatever the weights are
    collectives, sent = 0, 0.0
    if parallel.tensor > 1:
        collectives += 2 * len(model.layers)
        sent += 2 * len(model.layers) * 2 * (parallel.tensor - 1) / parallel.tensor * values
    if parallel.data > 1:
        layers = sum(any(weight.is_expert for weight in layer.weights) for layer in model.layers)
        collectives += 2 * layers
        sent += 2 * layers * (parallel.data - 1) * values
    return collectives * link.latency_us / 1e6, sent / (link.gb_per_s * 1e9)
