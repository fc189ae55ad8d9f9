"""A model by its figures alone, where there is no config.json or none that is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag, model_validator

from sim.hardware.dense import MOST_PARAMS
from sim.hardware.model import Cache, Layer, Model
from sim.hardware.reader.fields import MOST as MOST_COUNT
from sim.hardware.weights import Weight
from workloads.schema import Schema


def _whole(value: Any) -> Any:
    """671e9 is text in YAML 1.1: read as a number all the same."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]
EVEN = 10_000
"""Experts in place of unknown ones: so many that any share of them can be active."""


class ModelByHand(Schema):
    """``model: {parameters, kv_bytes_per_token, ...}``: what the memory and the times depend on.

    With ``active_parameters`` below ``parameters`` the rest are experts. Of ``experts`` (an even number of
    parameters each) a token meets ``experts_per_token``; without them the share follows from
    ``active_parameters``, as if all that is active were experts. ``attention_flop_per_pair``: FLOP for each
    (new, earlier) pair of tokens over all layers, 4 x layers x heads x head size for plain attention.
    """

    name: str = "a model by hand"
    """What outputs call it."""
    parameters: Count = Field(le=MOST_PARAMS)
    """Number of parameters, such as 8.03e9."""
    active_parameters: Count | None = None
    """Parameters that each token is multiplied with; left out: all."""
    weight_bytes: float | None = Field(
        default=None, gt=0, le=10**14, description="None: 2 for each parameter"
    )
    kv_bytes_per_token: PositiveInt = Field(le=MOST_COUNT)
    """KV bytes of a token over all layers: 2 x layers x KV heads x head size x bytes of a value."""
    state_bytes_per_request: int = Field(default=0, ge=0, le=10**12)
    """Bytes of state that a request keeps whatever its length (Mamba, linear attention)."""
    kv_heads: PositiveInt | None = Field(
        default=None, le=MOST_COUNT, description="None: tensor parallelism divides KV evenly"
    )
    max_position_embeddings: PositiveInt = Field(default=131_072, le=MOST_COUNT)
    """Longest context, in tokens."""
    experts: PositiveInt | None = Field(default=None, le=MOST_COUNT)
    """Experts of a layer."""
    experts_per_token: PositiveInt | None = None
    """Experts that a token meets in a layer."""
    attention_flop_per_pair: int = Field(default=0, ge=0, le=10**15)
    """FLOP for each (new, earlier) pair of tokens over all layers; 0: attention takes no compute."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type of weights and activations."""

    @model_validator(mode="after")
    def _makes_sense(self) -> ModelByHand:
        if not self.name.isprintable():
            raise ValueError(f"name ({self.name!r}) must be printable")
        if self.active > self.parameters:
            raise ValueError(
                f"active_parameters ({self.active}) must be no more than parameters ({self.parameters})"
            )
        if (self.experts is None) != (self.experts_per_token is None):
            raise ValueError("experts and experts_per_token: both or neither")
        if self.experts is not None and self.experts_per_token is not None:
            if self.experts_per_token >= self.experts:
                raise ValueError(
                    f"experts_per_token ({self.experts_per_token}) must be below experts ({self.experts})"
                )
            if self.active == self.parameters:
                raise ValueError("experts need active_parameters below parameters")
        return self

    @property
    def active(self) -> int:
        """Parameters that a token is multiplied with."""
        return self.active_parameters if self.active_parameters is not None else self.parameters

    def model(self) -> Model:
        """One layer that stands for all: what is dense, the experts, the KV."""
        value_bytes = 4 if self.dtype == "float32" else 2
        each = (self.weight_bytes or self.parameters * value_bytes) / self.parameters
        idle = self.parameters - self.active
        weights = []
        dense = self.parameters
        if idle:
            count = self.experts or EVEN
            used = self.experts_per_token or max(1, EVEN * self.active // self.parameters)
            size = min(idle // (count - used), self.parameters // count)
            weights.append(_weight("experts", size, each, count, used))
            dense -= size * count
        weights.append(_weight("dense", dense, each))
        cache = Cache(
            token_bytes=self.kv_bytes_per_token,
            heads=self.kv_heads or 0,
            query_heads=0,
            pair_flop=self.attention_flop_per_pair,
        )
        caches = [cache]
        if self.state_bytes_per_request:
            size = self.state_bytes_per_request
            caches.append(Cache("mamba", heads=0, query_heads=0, state_bytes=size))
        nothing = Weight("none", 0, 1, linear=False)
        return Model(
            name=self.name,
            layers=(Layer(tuple(weights), tuple(caches)),),
            embedding=nothing,
            head=None,
            others=(),
            vision=(),
            max_position_embeddings=self.max_position_embeddings,
            vocab_size=0,
            hidden_size=0,
            dtype=self.dtype,
            kv_cache_dtype=self.dtype,
            value_bytes=value_bytes,
        )


ModelName = Annotated[
    Annotated[str, Tag("name")] | Annotated[ModelByHand, Tag("figures")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "figures"),
]
"""A model in a configuration: a name, a path, or its figures."""


def _weight(name: str, params: int, each: float, count: int = 1, used: int = 1) -> Weight:
    half = params // 2
    return Weight(name, half, 2, count, used, bias=params - 2 * half, bytes=each * params)
