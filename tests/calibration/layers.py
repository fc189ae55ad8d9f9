"""Made-up layer times, whose steps take what a few lines say."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
DECODES = (1, 2, 4, 8, 16, 32)
META = {
    "gpu": "A GPU",
    "model": "org/model",
    "variant": "bf16",
    "vllm_version": "0.19.0",
    "engine_effective": {"max_num_batched_tokens": 512},
}


def dense_us(tokens: int) -> float:
    """The larger of reading and computing."""
    return max(50.0, 0.5 * tokens)


def attention_us(chunk: int, cached: int, decodes: int, context: int) -> float:
    """Pairs of the prefill, KV of all, and more for decodes beside a prefill."""
    prefill = (1e-4 * chunk * (cached + chunk / 2) + 0.002 * (cached + chunk)) if chunk else 0.0
    decode = decodes * (0.02 * context + (0.5 + 0.001 * chunk if chunk else 0.0))
    return 5.0 + prefill + decode


def write(folder: Path, *, moe: bool = False, **changed: Any) -> Path:
    """The tables in ``folder``; ``changed`` takes the place of whole tables, None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.yaml").write_text(yaml.safe_dump(META))
    places = [(c, k, 0, 0) for c, k in product(SIZES[:6], (0, *SIZES))]
    places += [(0, 0, n, v) for n, v in product(DECODES, SIZES)]
    places += [(c, k, n, v) for c, k, n, v in product(SIZES[:6], (0, *SIZES), DECODES, SIZES)]
    tables: dict[str, Any] = {
        "dense": [("qkv_proj", t, dense_us(t)) for t in TOKENS] + [("embedding", t, 3.0) for t in TOKENS],
        "per_sequence": [("lm_head", b, 100.0 + b) for b in DECODES],
        "attention": [(*place, attention_us(*place)) for place in places],
    }
    names = {
        "dense": "layer tokens time_us",
        "per_sequence": "layer sequences time_us",
        "attention": "prefill_chunk kv_prefill n_decode kv_decode time_us",
        "moe": "tokens activated_experts time_us",
    }
    if moe:
        tables["moe"] = [
            (t, e, 10.0 * e + 0.5 * t) for t in (1, 8, 64, 512) for e in (2, 4, 8) if e <= 2 * t
        ]
    for name, rows in {**tables, **changed}.items():
        if rows is not None:
            pd.DataFrame(rows, columns=names[name].split()).to_csv(folder / f"{name}.csv.gz", index=False)
    return folder
