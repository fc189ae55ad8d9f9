"""From the parts of a family to a `Model`, and what many families have in common."""

from __future__ import annotations

from collections.abc import Iterable

from sim.hardware.dense import DenseDecoder
from sim.hardware.model import Cache, CacheKind, Layer, Model
from sim.hardware.reader.class_defaults import HEADS
from sim.hardware.reader.fields import Fields
from sim.hardware.reader.parts import Heads, Served, Weights, table, vector
from sim.hardware.weights import Weight
from workloads.errors import InputError

MOST_LAYERS = 2000


def layer_count(f: Fields, key: str = "num_hidden_layers", default: int | None = None) -> int:
    """Number of layers, of a decoder or of a tower: each is built, so there is a bound."""
    count = f.whole(key, default)
    if count > MOST_LAYERS:
        f.refuse(key, f"at most {MOST_LAYERS}")
    return count


def assemble(
    f: Fields,
    served: Served,
    layers: Iterable[Layer],
    *,
    tied: bool = False,
    vision: Weights = (),
    others: Weights | None = None,
    head_bias: bool = False,
    dense: DenseDecoder | None = None,
    positions: int | None = None,
    names: tuple[str, str] = ("model.embed_tokens", "lm_head"),
) -> Model:
    """A model of ``layers``; ``tied`` is the class's default for tie_word_embeddings."""
    hidden, vocabulary = f.whole("hidden_size"), f.whole("vocab_size")
    tied = f.flag("tie_word_embeddings", tied)
    others = (vector("model.norm", hidden),) if others is None else others
    if tied and head_bias:  # the bias stays where the matrix is the embedding's
        others = (*others, vector(f"{names[1]}.bias", vocabulary))
    head = (
        None
        if tied
        else Weight(names[1], vocabulary, hidden, bias=vocabulary if head_bias else 0, linear=False)
    )
    return Model(
        name="",
        layers=tuple(layers),
        embedding=table(names[0], vocabulary, hidden),
        head=head,
        others=others,
        vision=vision,
        max_position_embeddings=positions or f.whole("max_position_embeddings"),
        vocab_size=vocabulary,
        hidden_size=hidden,
        dtype=served.dtype,
        value_bytes=served.value_bytes,
        kv_cache_dtype=served.kv_cache_dtype,
        dense=dense,
    )


def grouped_heads(f: Fields, **extra: object) -> Heads:
    """Attention from the usual keys.

    An absent key is what its class makes it (`class_defaults`), a null as many KV heads as heads, and
    head_dim = hidden / heads.
    """
    f = f.absent(**HEADS.get(f.text("model_type"), {}))
    hidden, heads = f.whole("hidden_size"), f.whole("num_attention_heads")
    kv_heads = f.whole("num_key_value_heads", heads)
    if heads % kv_heads:
        raise InputError(
            f"{f.where}: {f.prefix}num_attention_heads ({heads}) must be a multiple of "
            f"num_key_value_heads ({kv_heads})"
        )
    head_dim = f.whole("head_dim", max(1, hidden // heads))
    return Heads(hidden, heads, kv_heads, head_dim, **extra)  # type: ignore[arg-type]


def window(f: Fields, key: str = "sliding_window", default: int | None = None) -> int | None:
    """A window's tokens; None for full attention: no window, or one that no context outgrows.

    ``use_sliding_window: false`` switches it off in any family, as in vLLM.
    """
    if not f.flag("use_sliding_window", True):
        return None
    size = default if key not in f.raw else (f.whole(key) if key in f else None)
    if size is not None and size >= f.whole("max_position_embeddings", MOST_POSITIONS):
        return None
    return size


MOST_POSITIONS = 10**9


def layer_kinds(
    f: Fields, count: int, kinds: tuple[str, ...], default: list[str], key: str = "layer_types"
) -> list[str]:
    """What each layer's attention is, as the file says, or the class's pattern."""
    return f.words(key, kinds, count) or default


SLIDING = ("sliding_attention", "full_attention")


def every(count: int, period: int) -> list[str]:
    """Windows in all layers but each ``period``-th."""
    return [SLIDING[1] if (i + 1) % period == 0 else SLIDING[0] for i in range(count)]


def seen(
    attention: Heads, served: Served, kind: str, size: int | None, windowed: CacheKind = "swa"
) -> tuple[Cache, ...]:
    """The cache of a layer that is called ``kind`` and has a window of ``size`` tokens if it is sliding."""
    if kind == "full_attention" or size is None:
        return (attention.cache(served),)
    return (attention.cache(served, windowed, size),)
