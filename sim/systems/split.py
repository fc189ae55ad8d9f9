"""Whether a model can be divided over as many GPUs as a pool asks for."""

from __future__ import annotations

from sim.hardware.model import Model
from sim.hardware.parallel import Parallel
from workloads.errors import InputError

MOST_REPLICAS = 100_000
"""Of one system; data parallel ranks count, as the router sees each as a replica."""


def require_split(parallel: Parallel, replicas: int, model: Model | None, key: str) -> None:
    """InputError unless ``parallel`` divides the heads, layers and experts of ``model``, where it is known.

    ``key`` is the pool's place in the configuration.
    """
    if replicas * parallel.data > MOST_REPLICAS:
        raise InputError(
            f"{key}.data_parallel = {parallel.data} x replicas = {replicas}; allowed: at most "
            f"{MOST_REPLICAS:,} ranks"
        )
    ranks = parallel.tensor * parallel.data
    if ranks % parallel.expert:
        raise InputError(
            f"{key}.expert_parallel = {parallel.expert} does not divide tensor_parallel x data_parallel = "
            f"{ranks}, the GPUs that share the experts; allowed: a divisor (vLLM: 1 or all of them)"
        )
    if model is not None:
        _require_parts(parallel, model, key)


def _require_parts(parallel: Parallel, model: Model, key: str) -> None:
    """InputError unless each GPU gets layers, experts and heads of ``model``."""
    if parallel.pipeline > len(model.layers):
        raise InputError(
            f"{key}.pipeline_parallel = {parallel.pipeline}; allowed: at most the {len(model.layers)} "
            f"layers of {model.name}"
        )
    if parallel.expert > model.experts:
        raise InputError(
            f"{key}.expert_parallel = {parallel.expert}; allowed: at most the {model.experts} experts of a "
            f"layer of {model.name}"
        )
    for heads, kv_heads in model.split_heads():
        if heads % parallel.tensor:
            raise InputError(
                f"{key}.tensor_parallel = {parallel.tensor} does not divide the {heads} attention heads of "
                f"{model.name}; allowed: a divisor"
            )
        few, many = sorted((kv_heads, parallel.tensor))
        if many % few:  # vLLM's models assert the same
            raise InputError(
                f"{key}.tensor_parallel = {parallel.tensor} neither divides the {kv_heads} KV heads of "
                f"{model.name} nor is a multiple of them; allowed: either"
            )
