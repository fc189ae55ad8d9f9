"""Times from NVIDIA's operator tables, in the package ``aiconfigurator-core``: kernels timed one by one.

A step is the sum of its kernels, with decodes in CUDA graphs; no gaps of the host. Beside a prefill the
matrices are shared and each kind of attention is timed by itself, as the package's own mixed steps are. The
tables know nothing of decodes of uneven lengths.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata, resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from calibration import draw, imported
from calibration.form import Floats, Step
from sim.hardware import catalogue, gpu
from sim.hardware.catalogue import Gpu, Model
from sim.hardware.origin import Tables
from sim.hardware.parallel import Parallel
from sim.hardware.profile import Profile
from workloads.errors import InputError

PACKAGE = "aiconfigurator-core"
BACKENDS = ("vllm", "sglang")
SYSTEMS = {
    "a100-80gb-sxm": "a100_sxm",
    "b200": "b200_sxm",
    "b300": "b300_sxm",
    "gb200": "gb200",
    "h100-sxm": "h100_sxm",
    "h200": "h200_sxm",
    "l40s": "l40s",
    "rtx-pro-6000": "rtx_pro_6000_server",
}
"""Names of GPUs in the catalogue, and there."""
ARCHITECTURES = {
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}
"""What config.json calls the models of the catalogue whose tables are there."""
SEQUENCES, TOKENS, CONTEXT = 256, 8192, 16384
"""Limits of the steps that are drawn."""
MOST_KV_TOKENS = 1_000_000


def build(name: str, model: Model, gpu_name: str, parallel: Parallel, backend: str) -> Profile:
    """The profile of the model called ``name`` on GPUs in parallel; InputError if there are no tables."""
    device = gpu.gpu(gpu_name, "--gpu")
    system = _system(gpu_name)
    limits = draw.Limits(
        SEQUENCES,
        TOKENS,
        CONTEXT,
        min(MOST_KV_TOKENS, imported.kv_tokens(model, device, parallel, TOKENS, SEQUENCES)),
    )
    with _quiet():
        engine = _engine(name, model, system, parallel, backend)
        try:
            return imported.build(
                lambda steps: _seconds(engine, steps),
                model,
                device,
                parallel,
                limits=limits,
                uneven=False,
                without=("uneven",) if parallel.gpus > 1 else ("uneven", "link"),
                tables=Tables(
                    source=PACKAGE,
                    version=metadata.version(PACKAGE),
                    tables=f"kernels of {backend} {_release(system, backend)} on {system}",
                    licence="Apache-2.0",
                ),
            )
        except (ArithmeticError, KeyError, RuntimeError, ValueError) as error:
            raise _lacking(model, device, backend, error) from None


def _system(name: str) -> str:
    entry = gpu.aliases().get(name.lower(), name.lower())
    if entry not in SYSTEMS:
        raise InputError(
            f"--gpu {name}: {PACKAGE} has no tables of it; allowed: {', '.join(SYSTEMS)} (others: a "
            "roofline, tables of layer times, or a benchmark of your own)"
        )
    return SYSTEMS[entry]


def _engine(name: str, model: Model, system: str, parallel: Parallel, backend: str) -> Any:
    from aiconfigurator_core.sdk.engine import EngineHandle

    spread: dict[str, int] = {}
    if model.experts > 1:
        gpus = parallel.tensor * parallel.data
        spread = {"moe_tp_size": gpus // parallel.expert, "moe_ep_size": parallel.expert}
    with _config_folder(name) as folder:
        try:
            return EngineHandle.compile(
                str(folder),
                system,
                backend,
                tp_size=parallel.tensor,
                attention_dp_size=parallel.data,
                **spread,
            )
        except Exception as error:  # the package raises many kinds, KeyError among them
            raise _lacking(model, system, backend, error) from None


def _lacking(model: Model, system: object, backend: str, error: Exception) -> InputError:
    where = system.name if isinstance(system, Gpu) else system
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return InputError(
        f"{PACKAGE} has no tables for {model.name} ({model.quantization}) on {where} with {backend}: "
        f"{reason}; allowed: another GPU, --backend or --tp"
    )


@contextmanager
def _config_folder(name: str) -> Iterator[Path]:
    """A folder with the config.json of the model called ``name``."""
    given = Path(name)
    if name in catalogue.names("models"):
        entry = yaml.safe_load((catalogue.FOLDER / "models" / f"{name}.yaml").read_text())
        kind = entry["model_type"]
        if kind not in ARCHITECTURES:
            raise InputError(
                f"--model {name}: model_type {kind} is not known to have tables; allowed: a config.json "
                f"with architectures, or a model of {', '.join(ARCHITECTURES)}"
            )
        entry["architectures"] = [ARCHITECTURES[kind]]
        entry["torch_dtype"] = entry.get("dtype", "bfloat16")
        text = json.dumps(entry)
    else:
        text = (given if given.is_file() else given / "config.json").read_text()
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(text)
        yield Path(folder)


def _release(system: str, backend: str) -> str:
    """The version of the engine whose kernels were timed."""
    text = (resources.files("aiconfigurator_core") / "systems" / "query_versions.yaml").read_text()
    versions = yaml.safe_load(text)
    slots = versions.get("overrides", {}).get(system, {}).get(backend) or versions["defaults"][backend]
    return str(slots["current"])


def _seconds(engine: Any, steps: Sequence[Step]) -> Floats:
    return np.array([_milliseconds(engine, step) for step in steps]) / 1e3


def _milliseconds(engine: Any, step: Step) -> float:
    """One step; contexts of decodes are their mean.

    A prefill's attention is what it takes alone, less all else: asked for it beside decodes the package
    divides by the number of chunks of ``new`` tokens in the whole prompt, cached ones among them.
    """
    context = max(1, round(step.context / step.decodes)) if step.decodes else 0
    if not step.prefills:
        return float(engine.predict_decode_latency(step.decodes, context, 2))
    ((cached, new),) = step.prefills
    alone = engine.predict_prefill_latency(1, cached + new, cached)
    if not step.decodes:
        return float(alone)
    _, shared_alone, _, _ = engine.mixed_step_breakdown(new, 0, new, 2)
    _, shared, _, decode = engine.mixed_step_breakdown(new, step.decodes, context, 2)
    return float(alone - shared_alone + shared + decode)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's own warnings."""
    log = logging.getLogger("aiconfigurator_core")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
