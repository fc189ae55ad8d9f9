"""Makes the profiles that ship: ``python -m calibration.shipped [FOLDER]``, with the extra ``tables``.

Each is what ``python -m calibration import --from aiconfigurator`` writes. FOLDER holds tables of layer
times; where it has those of a GPU and model, they take the place of the operator tables: they know what
decodes beside prefills and decodes of uneven lengths cost.
"""

from __future__ import annotations

import sys
from pathlib import Path

from calibration import aiconfigurator, layer_profile
from sim.hardware import catalogue, shipped
from sim.hardware.parallel import Parallel

SHIPPED: dict[str, dict[str, tuple[int, ...]]] = {
    "a100-80gb-sxm": {
        "llama-3.1-8b": (1,),
        "llama-3.1-70b": (4,),
        "qwen3-8b": (1,),
        "qwen3-32b": (2,),
        "qwen3-30b-a3b": (1, 2),
    },
    "h100-sxm": {
        "llama-3.1-8b": (1,),
        "llama-3.1-8b-fp8": (1,),
        "llama-3.1-70b": (4, 8),
        "llama-3.1-70b-fp8": (2, 4),
        "qwen3-8b": (1,),
        "qwen3-32b": (2, 4),
        "qwen3-32b-fp8": (1, 2),
        "qwen3-30b-a3b": (1, 2),
        "gpt-oss-120b": (2, 4),
    },
    "h200": {
        "llama-3.1-8b": (1,),
        "llama-3.1-8b-fp8": (1,),
        "llama-3.1-70b": (2, 4),
        "llama-3.1-70b-fp8": (1, 2, 4),
        "qwen3-8b": (1,),
        "qwen3-32b": (1, 2),
        "qwen3-30b-a3b": (1,),
        "qwen3-30b-a3b-fp8": (1,),
        "gpt-oss-120b": (1, 2, 4),
        "deepseek-v3": (8,),
    },
    "b200": {
        "llama-3.1-8b": (1,),
        "llama-3.1-70b": (2,),
        "llama-3.1-70b-fp8": (1, 2),
        "qwen3-32b": (1,),
        "qwen3-30b-a3b": (1,),
        "gpt-oss-120b": (1, 2),
        "deepseek-v3": (8,),
    },
    "l40s": {"llama-3.1-8b": (1,), "llama-3.1-8b-fp8": (1,), "qwen3-8b": (1,)},
    "rtx-pro-6000": {"llama-3.1-8b": (1,), "qwen3-8b": (1,), "qwen3-32b": (1,), "qwen3-30b-a3b": (1,)},
    "rtx-4090": {"llama-3.1-8b": (1,)},
}
"""Models by GPU, and on how many GPUs each is served with tensor parallelism."""
LAYERS = {
    ("rtx-4090", "llama-3.1-8b"): "rtx4090.llama-3.1-8b.tp1",
    ("rtx-pro-6000", "llama-3.1-8b"): "rtxpro6000.llama-3.1-8b.tp1",
    ("rtx-pro-6000", "qwen3-30b-a3b"): "rtxpro6000.qwen3-30b-a3b.tp1",
}
"""Folders of layer times."""


def main(layers: Path | None) -> None:
    """Write all of `SHIPPED`, over what is there."""
    for gpu, models in SHIPPED.items():
        for name, counts in models.items():
            for count in counts:
                model, parallel = catalogue.model(name, Path()), Parallel(tensor=count)
                folder = None if layers is None else LAYERS.get((gpu, name))
                if folder is not None and layers is not None:
                    profile = layer_profile.build(layers / folder, model, catalogue.gpu(gpu), parallel)
                else:
                    profile = aiconfigurator.build(name, model, gpu, parallel, "vllm")
                path = shipped.FOLDER / f"{gpu}.{name}.tp{count}.yaml"
                path.write_text(profile.to_yaml(), encoding="utf-8")
                assert profile.heldout is not None
                errors, peak = profile.heldout.errors, profile.heldout.baselines["roofline"]
                print(
                    f"{path.stem:40} MAPE {errors.mape:.1%} bias {errors.bias:+.1%} p99 {errors.p99:.0%}, "
                    f"roofline {peak.mape:.0%} {peak.bias:+.0%}"
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
