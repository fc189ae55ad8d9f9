"""Models and GPUs by name: small YAML files with their sources; or a Hugging Face config.json."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from sim.hardware.gpu import Gpu, gpu
from workloads.errors import InputError
from workloads.formats.files import find_file

__all__ = ["BYTES_PER_VALUE", "Gpu", "Model", "gpu", "model", "names"]

FOLDER = Path(__file__).parent
BYTES_PER_VALUE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
MOST_PARAMS = 10**13
# Keys of config.json files whose models this arithmetic does not describe.
NOT_DENSE = ("num_local_experts", "num_experts", "n_routed_experts", "kv_lora_rank", "layer_types")


class Model(BaseModel):
    """Shape of a dense decoder-only transformer with SwiGLU; field names as in config.json."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    num_hidden_layers: PositiveInt
    hidden_size: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    intermediate_size: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    tie_word_embeddings: bool = False
    attention_bias: bool = Field(default=False, description="bias on q, k and v")
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "bfloat16"

    @model_validator(mode="after")
    def _makes_sense(self) -> Model:
        if not self.name.isprintable():
            raise ValueError(f"name ({self.name!r}) must be printable")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.params > MOST_PARAMS:
            raise ValueError(f"{self.params:.3g} parameters; at most {MOST_PARAMS:.0e}")
        return self

    def same_shape(self, other: Model) -> bool:
        """Whether both are the same arithmetic: all fields equal but names and the longest position."""
        unlike = {"name": "", "max_position_embeddings": 1}
        return self.model_copy(update=unlike) == other.model_copy(update=unlike)

    @property
    def bytes_per_value(self) -> int:
        return BYTES_PER_VALUE[self.dtype]

    @property
    def layer_params(self) -> int:
        """Weights of all layers' matrices: layers x (q, k, v, o and three feed-forward matrices)."""
        d, heads, kv = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        attention = d * self.head_dim * (heads + 2 * kv) + heads * self.head_dim * d
        return self.num_hidden_layers * (attention + 3 * d * self.intermediate_size)

    @property
    def head_params(self) -> int:
        """Weights of the output head: hidden size x vocabulary."""
        return self.hidden_size * self.vocab_size

    @property
    def params(self) -> int:
        """All parameters: embeddings, head unless tied, layers, norms, q/k/v biases."""
        tables = self.head_params * (1 if self.tie_word_embeddings else 2)
        norms = self.hidden_size * (2 * self.num_hidden_layers + 1)
        heads = self.num_attention_heads + 2 * self.num_key_value_heads
        biases = self.num_hidden_layers * self.head_dim * heads if self.attention_bias else 0
        return tables + self.layer_params + norms + biases

    @property
    def weight_bytes(self) -> int:
        return self.params * self.bytes_per_value

    @property
    def kv_bytes_per_token(self) -> int:
        """Key and value of every layer: 2 x layers x kv heads x head size x bytes per value."""
        per_layer = 2 * self.num_key_value_heads * self.head_dim * self.bytes_per_value
        return self.num_hidden_layers * per_layer


def names(kind: str) -> list[str]:
    """The catalogue's entries of ``kind``: 'models' or 'gpus'."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))


def model(name: str, folder: Path, key: str = "model") -> Model:
    """The model called ``name``, or the one of a Hugging Face config.json at that path.

    The path is relative to ``folder`` or the current one. InputError names ``key``, or the file.
    """
    if name.endswith(".json"):
        return _from_hugging_face(find_file(Path(name), folder))
    return Model.model_validate(_entry("models", key, name))


def _entry(kind: str, key: str, name: str) -> Any:
    if name not in names(kind):
        near = get_close_matches(name, names(kind), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        also = "; or the path of a Hugging Face config.json" if kind == "models" else ""
        allowed = ", ".join(names(kind))
        raise InputError(f"{key} = {name!r} is not in the catalogue{hint}; allowed: {allowed}{also}")
    return yaml.safe_load((FOLDER / kind / f"{name}.yaml").read_text())


def _from_hugging_face(path: Path) -> Model:
    """Read a config.json; the defaults are those of the Llama and Qwen2 configuration classes."""
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: not a JSON object; allowed: a Hugging Face config.json")
    for key in NOT_DENSE:
        full = isinstance(raw.get(key), list) and all(kind == "full_attention" for kind in raw[key])
        if raw.get(key) and not full:
            raise InputError(
                f"{path}: {key} = {str(raw[key])[:60]}; allowed: dense models with full attention in "
                "every layer (mixtures of experts, latent and mixed attention are not modelled)"
            )
    if raw.get("sliding_window") and raw.get("use_sliding_window", True):
        raise InputError(
            f"{path}: sliding_window = {raw['sliding_window']}; allowed: none (full attention only)"
        )
    raw.setdefault("name", raw.get("_name_or_path") or path.parent.name or path.name)
    raw["dtype"] = raw.get("dtype") or raw.get("torch_dtype") or "bfloat16"
    if raw["dtype"] not in list(BYTES_PER_VALUE):
        allowed = ", ".join(BYTES_PER_VALUE)
        raise InputError(f"{path}: dtype = {raw['dtype']!r}; allowed: {allowed}")
    if raw.get("num_key_value_heads") is None:
        raw["num_key_value_heads"] = raw.get("num_attention_heads")
    size, heads = raw.get("hidden_size"), raw.get("num_attention_heads")
    if raw.get("head_dim") is None and isinstance(size, int) and isinstance(heads, int) and heads:
        raw["head_dim"] = size // heads
    raw.setdefault("attention_bias", raw.get("model_type") == "qwen2")
    try:
        return Model.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = f"{key} = {raw.get(key)!r}: " if key else ""
        raise InputError(
            f"{path}: {shown}{first['msg']}; allowed: a Hugging Face config.json of a dense decoder"
        ) from None
