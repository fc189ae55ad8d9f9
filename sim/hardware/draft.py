"""Draft models of speculative decoding: what they hold of a GPU's memory, and the model that they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.hardware.memory import Budget
from sim.hardware.model import Layer, Model
from sim.hardware.parallel import Parallel
from sim.hardware.weights import Weight


@dataclass(frozen=True, slots=True)
class Draft:
    """A model that guesses tokens beside another one, on the same GPUs."""

    model: Model
    shared: tuple[Weight, ...] = ()
    """Weights of it that are the other model's: in its time, but not in memory again."""

    def in_budget(self, budget: Budget, parallel: Parallel) -> Budget:
        """``budget`` with the draft's weights, and its KV beside each token's."""
        shared = round(sum(weight.bytes_per_gpu(parallel) for weight in self.shared))
        return replace(
            budget,
            weights=budget.weights + self.model.weight_bytes_per_gpu(parallel) - shared,
            kv_bytes_per_token=budget.kv_bytes_per_token + self.model.kv_bytes_per_token_per_gpu(parallel),
        )


def multi_token_prediction(model: Model) -> Draft:
    """The MTP module of ``model``: a layer like its last one with full attention, behind a matrix that
    joins the state of a token with the next token's embedding; embedding and output head are the model's.

    So it is in DeepSeek V3 (arXiv 2412.19437, section 2.2), GLM 4.5, Qwen3-Next and Qwen3.5, whose
    published counts follow to the last digit (``tests/hardware/test_draft.py``).
    """
    with_kv = [layer for layer in model.layers if any(cache.kind == "full" for cache in layer.caches)]
    last = (with_kv or model.layers)[-1]
    width = model.hidden_size
    joins = Weight("eh_proj", width, 2 * width, bytes=2.0 * width * width * model.value_bytes)
    norms = Weight("norms", 3 * width, parts=1, linear=False, bytes=3.0 * width * model.value_bytes)
    module = replace(
        model,
        name=f"{model.name}, MTP",
        layers=(Layer((joins, norms, *last.weights), last.caches),),
        embedding=model.output_head,
        head=None,
        others=(),
        vision=(),
        dense=None,
    )
    return Draft(module, shared=(model.output_head,))
