"""The plain dense decoder: what calibration builds and measures."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

BYTES_PER_VALUE = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
MOST_PARAMS = 10**13


class DenseDecoder(BaseModel):
    """Shape of a dense decoder-only transformer with SwiGLU; field names as in config.json.

    The plainest kind of `sim.hardware.model.Model`, and the one that `calibration` can build and measure.
    """

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
    def _makes_sense(self) -> DenseDecoder:
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

    def same_shape(self, other: DenseDecoder) -> bool:
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
