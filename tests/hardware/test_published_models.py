"""Sizes of models against what their owners publish, and the table in the docs that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.hardware import catalogue
from sim.hardware.model import Model

ROOT = Path(__file__).parents[2]
PUBLISHED: list[dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests" / "fixtures" / "published_models.yaml").read_text()
)
IN_CATALOGUE = [entry for entry in PUBLISHED if "model" in entry]


def require_size(model: Model, entry: dict[str, Any]) -> None:
    """The published count, to the digit where it has all; else within 0.5 %, or as it is rounded."""
    ours = model.params + entry.get("draft", 0)
    published = entry["parameters"]
    if isinstance(published, int):
        assert ours == published
    else:
        digits = len(f"{published:g}".split("e")[0].replace(".", "").rstrip("0"))
        assert abs(ours / published - 1) <= 0.005 or float(f"{ours:.{digits - 1}e}") == published


@pytest.mark.parametrize("entry", IN_CATALOGUE, ids=lambda entry: str(entry["model"]))
def test_catalogue(entry: dict[str, Any]) -> None:
    """Parameters, active ones and KV bytes."""
    model = catalogue.model(entry["model"], Path())
    require_size(model, entry)
    if "active" in entry:  # cards count the embedding and the head or not, and round
        least = model.active_params - model.output_head.params
        most = model.active_params + model.embedding.params
        assert 0.98 * least <= entry["active"] * 1e9 <= 1.02 * most
    if "kv_bytes_per_token" in entry:
        assert model.kv_bytes_per_token == entry["kv_bytes_per_token"]


def test_every_model_of_the_catalogue_is_published_or_ours() -> None:
    """But for names that share their shape with one that is: quantised copies and equal sizes."""
    eight_bit = {"llama-3.1-8b-fp8", "llama-3.1-70b-fp8", "qwen3-8b-fp8", "qwen3-32b-fp8", "glm-5-fp8"}
    same = eight_bit | {"llama-3-8b", "qwen3-30b-a3b-fp8", "qwen3-235b-a22b-fp8"}
    small = {"tiny-1m", "tiny-40m", "tinyllama-1.1b", "qwen2.5-0.5b", "qwen2.5-1.5b"}
    held = {entry["model"] for entry in IN_CATALOGUE}
    assert set(catalogue.names("models")) - same - small == held


def test_deepseek_v4_at_a_million_tokens() -> None:
    """9.62 GiB of KV in 16 bit, as its report says."""
    model = catalogue.model("deepseek-v4-pro", Path(), kv_cache_dtype="bfloat16")
    assert round(model.kv_bytes(2**20) / 2**30, 2) == 9.62


def test_every_shared_configuration(shared_data: Path) -> None:
    """All 89 are read, each with the size that is published."""
    folder = shared_data / "model_configs"
    files = [path for path in sorted(folder.glob("*_config.json")) if "hf_quant" not in path.name]
    prefixes = {prefix: entry for entry in PUBLISHED for prefix in entry.get("files", [])}
    for path in files:
        found = [prefix for prefix in prefixes if path.name.startswith(prefix)]
        assert found, path.name
        model = catalogue.model(str(path), Path())
        entry = prefixes[max(found, key=len)]
        if "GLM-5.2" in path.name or "GLM-5.3" in path.name:
            entry = _shared_indexers(entry)
        require_size(model, entry)
        if "kv_bytes_per_token" in entry and model.kv_cache_dtype == "bfloat16":
            assert model.kv_bytes_per_token == entry["kv_bytes_per_token"]
    assert len(files) == 89


def _shared_indexers(entry: dict[str, Any]) -> dict[str, Any]:
    """GLM 5.2 and 5.3: indexers in 21 of 78 layers (``indexer_types``); each has 9,371,904 parameters."""
    return {**entry, "parameters": entry["parameters"] - entry["draft"] - 57 * 9_371_904, "draft": 0}


def test_the_table_in_the_docs() -> None:
    """docs/models.md has a row for each model of the catalogue whose size is published."""
    text = (ROOT / "docs" / "models.md").read_text()
    rows = [_row(entry) for entry in IN_CATALOGUE]
    missing = [row for row in rows if row not in text]
    assert not missing, "docs/models.md lacks:\n" + "\n".join(rows)


def _row(entry: dict[str, Any]) -> str:
    model = catalogue.model(entry["model"], Path())
    published = entry["parameters"]
    shown = f"{published:,}" if isinstance(published, int) else _billions(published)
    if "draft" in entry:
        shown += f" with {entry['draft']:,} of drafts"
    groups = ", ".join(f"{group.layers} {group.name}" for group in model.kv_groups)
    states = model.state_bytes_per_request
    per_request = f"{states / 1e6:.1f} MB" if states else "-"
    off = (model.params + entry.get("draft", 0)) / published - 1
    return (
        f"| {entry['model']} | {model.params:,} | {shown} | {100 * off:+.2f} % | "
        f"{model.active_params / 1e9:.2f} | {model.weight_bytes / 1e9:.1f} | "
        f"{model.kv_bytes_per_token:,} | {groups} | {per_request} | {entry['source']} |"
    )


def _billions(count: float) -> str:
    return f"{count / 1e12:g}T" if count >= 1e12 else f"{count / 1e9:g}B"
