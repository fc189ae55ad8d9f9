"""A profile from datasheet figures alone: what the hardware could do at best, not what it does."""

from __future__ import annotations

from collections.abc import Iterator

from sim.hardware import links
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.coefficients import Coefficients, Window
from sim.hardware.model import Cache
from sim.hardware.parallel import ONE_GPU, Parallel
from sim.hardware.profile import Profile
from sim.hardware.weights import Compute, Weight

MFU = MBU = 0.65
"""The fractions that are least wrong against the 54 profiles that ship (`sim.hardware.shipped`)."""
TYPICAL_ERROR = {"16 bit": 0.11, "8 bit": 0.27, "experts": 0.32}
"""With these, the mean size of an iteration's error by those profiles: dense models in 16 bit (no bias), in
fewer bits (26 % too fast), and mixtures of experts (25 % too fast)."""


def typical_error(model: Model) -> float:
    """Of an iteration of ``model`` at `MFU` and `MBU`."""
    if model.experts > 1:
        return TYPICAL_ERROR["experts"]
    return TYPICAL_ERROR["16 bit" if model.quantization == "none" else "8 bit"]


def roofline(
    model: Model, gpu: Gpu, mfu: float = 1.0, mbu: float = 1.0, parallel: Parallel = ONE_GPU
) -> Profile:
    """The roofline of ``model`` on GPUs that work in parallel, marked as not calibrated.

    Per iteration, on each GPU: its share of the layers' and the output head's weights is read once
    (``floor``), of the experts those that the batch's tokens are sent to (``experts``, ``touched``), or
    their products take 2 FLOP per weight and token (``token``), whichever is longer; the output head is
    applied once per sequence, and each sequence's states are read and written; attention takes ``pair``
    per (new, earlier) token pair; every decode reads its whole KV, or what a window shows of it, or
    computes with it where that takes longer. ``mfu`` and ``mbu`` are the fractions of the datasheet's
    compute and bandwidth that are reached (S. Williams et al., "Roofline", CACM 2009).
    What the GPUs send to each other takes the time of their link, and none where the GPU's file has no link
    (``link``, and a constant in ``step``).
    """
    return _Roofline(model, gpu, mfu, mbu, parallel).profile()


class _Roofline:
    """The figures of one GPU out of those that work in parallel."""

    def __init__(self, model: Model, gpu: Gpu, mfu: float, mbu: float, parallel: Parallel) -> None:
        self.model, self.gpu, self.mfu, self.mbu, self.parallel = model, gpu, mfu, mbu, parallel
        self.bytes_per_s = gpu.memory_bandwidth_gb_per_s * 1e9 * mbu

    def profile(self) -> Profile:
        model, gpu, parallel = self.model, self.gpu, self.parallel
        several = f"{parallel.gpus} x " if parallel.gpus > 1 else ""
        kept = f", KV in {model.kv_cache_dtype}" if model.kv_cache_dtype != model.dtype else ""
        served = model.dtype if model.quantization == "none" else model.quantization
        return Profile(
            schema="kvprofile/1",
            id=f"{several}{gpu.name}, {model.name}, {served}{kept}, roofline",
            calibrated=False,
            origin="datasheet",
            source=f"datasheet roofline, mfu {self.mfu:g}, mbu {self.mbu:g}; GPU: {gpu.source.strip()}",
            coefficients=self.coefficients(),
        )

    def coefficients(self) -> Coefficients:
        model = self.model
        weights = [weight for layer in model.layers for weight in layer.weights if weight.inputs > 1]
        experts = [weight for weight in weights if weight.is_expert]
        others = [weight for weight in weights if not weight.is_expert]
        head = model.output_head
        whole = [cache for cache in self._caches() if not _limit(cache)]
        states = sum(cache.state_bytes_per_gpu(self.parallel.tensor) for cache in self._caches())
        talk_step_s, talk_token_s = self._talk()
        return Coefficients(
            step=talk_step_s,
            link=talk_token_s,
            floor=self._read_s([*others, head]),
            experts=self._read_s(experts),
            touched=self._touched(experts),
            token=sum(map(self._token_s, weights)) + sum(map(self._state_s, self._caches())),
            sequence=self._token_s(head) + 2 * states / self.bytes_per_s,
            pair=sum(map(self._pair_s, whole)),
            prefill_kv=sum(map(self._kv_s, whole)),
            decode_kv=sum(map(self._decode_s, whole)),
            decode_pair=sum(map(self._compute_s, whole)),
            windows=self._windows(),
        )

    def _talk(self) -> tuple[float, float]:
        """s per step and per token of what the GPUs send to each other."""
        gpu = self.gpu
        if self.parallel.gpus == 1 or gpu.link_gb_per_s is None:
            return 0.0, 0.0
        return links.costs(self.model, self.parallel, links.Link(gpu.link_gb_per_s, gpu.link_latency_us))

    def _caches(self) -> Iterator[Cache]:
        for layer in self.model.layers:
            yield from layer.caches
            yield from layer.shared

    def _windows(self) -> list[Window]:
        """Caches of which a token sees only so much, together by how much that is."""
        found: dict[tuple[int, bool], list[Cache]] = {}
        for cache in self._caches():
            if limit := _limit(cache):
                found.setdefault((limit, cache.kind == "chunk"), []).append(cache)
        return [
            Window(
                tokens=tokens,
                chunked=chunked,
                pair=sum(map(self._pair_s, caches)),
                prefill_kv=sum(map(self._kv_s, caches)),
                decode_kv=sum(map(self._decode_s, caches)),
            )
            for (tokens, chunked), caches in found.items()
        ]

    def _rate(self, compute: Compute) -> float:
        """FLOP/s of one GPU for matrix products of ``compute`` bits."""
        gpu = self.gpu
        tflops = gpu.bf16_tflops * 2 / max(2, self.model.value_bytes)
        if compute != "16":
            tflops = gpu.fp8_tflops or tflops
        if compute == "4":
            tflops = gpu.fp4_tflops or tflops
        return tflops * 1e12 * self.mfu

    def _read_s(self, weights: list[Weight]) -> float:
        return sum(weight.bytes_per_gpu(self.parallel) for weight in weights) / self.bytes_per_s

    def _token_s(self, weight: Weight) -> float:
        """Its products with one token, on the GPU that has most to do."""
        parts = weight.parts or self.parallel.tensor
        share = max(1, parts // self.parallel.tensor) / parts
        return 2 * weight.outputs * weight.inputs * weight.used * share / self._rate(weight.compute)

    def _touched(self, experts: list[Weight]) -> float:
        """Share of the experts' bytes that a token of each data parallel rank is sent to."""
        total = sum(weight.bytes * weight.count for weight in experts)
        if not total:
            return 0.0
        used = sum(weight.bytes * weight.used for weight in experts) / total
        return 1.0 - (1.0 - used) ** self.parallel.data

    def _split(self, cache: Cache) -> float:
        return 1 / min(self.parallel.tensor, cache.query_heads or self.parallel.tensor)

    def _pair_s(self, cache: Cache) -> float:
        if cache.kind == "mamba":
            return 0.0
        return cache.pair_flop * self._split(cache) / cache.per / self._rate("16")

    def _state_s(self, cache: Cache) -> float:
        """Bringing a state forward by one token."""
        if cache.kind != "mamba":
            return 0.0
        return cache.pair_flop * self._split(cache) / self._rate("16")

    def _kv_s(self, cache: Cache) -> float:
        return cache.token_bytes_per_gpu(self.parallel.tensor) / self.bytes_per_s

    def _decode_s(self, cache: Cache) -> float:
        return max(self._kv_s(cache), self._compute_s(cache))

    def _compute_s(self, cache: Cache) -> float:
        """What a decode computes with one entry of the cache."""
        if cache.kind == "mamba":
            return 0.0
        flop = (cache.decode_flop or cache.pair_flop) * self._split(cache) / cache.per
        return flop / self._rate("16")


def _limit(cache: Cache) -> int:
    """Tokens that a token sees at most; 0 for all."""
    return cache.window or cache.selected * cache.per
