"""A profile out of a folder of layer times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from calibration import draw, imported, layer_times
from calibration.form import Floats, Step
from calibration.layer_times import Experts, LayerTimes
from sim.hardware import links
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.coefficients import Coefficients
from sim.hardware.origin import Tables
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile
from workloads.errors import InputError


def build(folder: Path, model: Model, gpu: Gpu, parallel: Parallel) -> Profile:
    """The profile of ``model`` by the tables in ``folder``, which are of one GPU of those in parallel.

    What the GPUs send to each other is not in them: the GPU's link is taken for it.
    """
    times = layer_times.read(folder)
    experts = _experts(times, model, parallel)
    tokens, sequences, longest = times.largest()
    limits = draw.Limits(
        sequences, tokens, longest // 2, imported.kv_tokens(model, gpu, parallel, tokens, sequences)
    )

    def seconds(steps: Sequence[Step]) -> Floats:
        return times.seconds(steps, len(model.layers), experts)

    return imported.build(
        seconds,
        model,
        gpu,
        parallel,
        limits=limits,
        uneven=True,
        without=("link",) if "skew" in times.tables else ("link", "uneven"),
        tables=_described(times),
        more=_talk(model, gpu, parallel),
    )


def _experts(times: LayerTimes, model: Model, parallel: Parallel) -> Experts | None:
    routed = next((weight for layer in model.layers for weight in layer.weights if weight.is_expert), None)
    if (routed is None) != ("moe" not in times.tables):
        has = "moe.csv.gz is missing" if routed is not None else "moe.csv.gz"
        raise InputError(f"{times.folder}: {has}; allowed: the tables of {model.name}")
    if routed is None:
        return None
    return Experts(routed.count, routed.used, parallel.data, parallel.expert)


def _talk(model: Model, gpu: Gpu, parallel: Parallel) -> Coefficients:
    if parallel.gpus == 1:
        return Coefficients()
    if gpu.link_gb_per_s is None:
        raise InputError(f"--gpu: {gpu.name} has no link_gb_per_s; allowed: one GPU, or a GPU with a link")
    step_s, token_s = links.costs(model, parallel, links.Link(gpu.link_gb_per_s, gpu.link_latency_us))
    return Coefficients(step=step_s, link=token_s)


def _described(times: LayerTimes) -> Tables:
    meta = times.meta
    licences = [*times.folder.glob("LICENSE*"), *times.folder.parent.glob("LICENSE*")]
    return Tables(
        source="layer times",
        version=f"profiler {meta.get('profiler_version', 'unknown')}",
        tables=f"layers of {meta['model']} ({meta['variant']}), vLLM {meta['vllm_version']}, {meta['gpu']}",
        licence=licences[0].suffix.lstrip(".") if licences and licences[0].suffix else "not stated",
    )
