"""The decoder: what it computes, and that a reused KV prefix changes nothing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (it comes with the test extra)")

import torch
from torch import Tensor

from calibration import attention
from calibration.attention import TOLERANCE, Sdpa, choose
from calibration.model import DTYPES, Decoder, KvPool, Work
from sim.hardware import catalogue

TINY = catalogue.dense("tiny-1m", Path())
TOKENS = 700
CPU = torch.device("cpu")


def _decoder(dtype: torch.dtype, blocks: int = 150, block_size: int = 16) -> Decoder:
    choice = choose(4, 2, 32, dtype, CPU)
    return Decoder(TINY, choice, KvPool(TINY, blocks, block_size, dtype, CPU), longest=1024)


def _prompt() -> list[int]:
    drawn: list[int] = np.random.default_rng(5).integers(TINY.vocab_size, size=TOKENS).tolist()
    return drawn


def _logits(decoder: Decoder, work: list[Work], tokens: list[int]) -> Tensor:
    return decoder.forward(decoder.prepare(work, tokens)).double()


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("cut", [16, 336, 688])
def test_a_reused_prefix_gives_the_same_logits(name: str, cut: int) -> None:
    """The rest of a prompt behind shared blocks in another table, against the whole computed anew.

    Compared for every position behind the cut, fed one chunk and then token by token.
    """
    decoder, prompt = _decoder(DTYPES[name]), _prompt()
    whole = list(range(44))
    mine = whole[: cut // 16] + list(range(60, 60 + 44 - cut // 16))
    decoder.forward(decoder.prepare([Work(0, cut, whole)], prompt[:cut]))
    reused = [_logits(decoder, [Work(cut, 10, mine)], prompt[cut : cut + 10])]
    scratch = _decoder(DTYPES[name])
    full = [_logits(scratch, [Work(0, cut + 10, whole)], prompt[: cut + 10])]
    for at in range(cut + 10, min(TOKENS, cut + 12)):
        reused.append(_logits(decoder, [Work(at, 1, mine)], [prompt[at]]))
        full.append(_logits(_fresh(scratch), [Work(0, at + 1, whole)], prompt[: at + 1]))
    for got, want in zip(reused, full, strict=True):
        assert float((got - want).norm() / want.norm()) < TOLERANCE[DTYPES[name]]
    assert float(torch.cat(full).std()) > 0.1, "the logits say something"


def _fresh(decoder: Decoder) -> Decoder:
    decoder.pool.data.zero_()
    return decoder


def test_another_prefix_gives_other_logits() -> None:
    """What the blocks hold matters: the test above would see a wrong block."""
    decoder, prompt = _decoder(torch.float64), _prompt()
    blocks = list(range(44))
    decoder.forward(decoder.prepare([Work(0, 336, blocks)], prompt[:336]))
    want = _logits(decoder, [Work(336, 10, blocks)], prompt[336:346])
    got = _logits(decoder, [Work(336, 10, [*blocks[:7], 90, *blocks[8:]])], prompt[336:346])
    assert float((got - want).norm() / want.norm()) > 1e-3


def test_a_batch_is_its_sequences() -> None:
    """A chunk behind a prefix, a decode and a new prompt in one step, against each one alone."""
    decoder, prompt = _decoder(torch.float64), _prompt()
    tables = [list(range(i * 44, (i + 1) * 44)) for i in range(3)]
    for table, cached in zip(tables, (100, 37, 0), strict=True):
        if cached:
            decoder.forward(decoder.prepare([Work(0, cached, table)], prompt[:cached]))
    parts = [(Work(100, 23, tables[0]), prompt[100:123]), (Work(37, 1, tables[1]), prompt[37:38])]
    parts.append((Work(0, 50, tables[2]), prompt[:50]))
    together = _logits(decoder, [w for w, _ in parts], [t for _, new in parts for t in new])
    for row, (work, new) in enumerate(parts):
        alone = _logits(decoder, [work], new)[0]
        assert float((together[row] - alone).norm() / alone.norm()) < 1e-12


def test_the_first_layer_by_hand() -> None:
    """One token through one layer, written down: norm, rotation (none at position 0), SwiGLU, head."""
    shape = TINY.model_copy(update={"num_hidden_layers": 1, "attention_bias": True})
    choice = choose(4, 2, 32, torch.float64, CPU)
    decoder = Decoder(shape, choice, KvPool(shape, 2, 16, torch.float64, CPU), longest=32)
    layer, x = decoder.layers[0], decoder.embedding[7]

    def norm(v: Tensor) -> Tensor:
        return v / math.sqrt(float((v * v).mean()) + 1e-5)

    assert layer.qkv_bias is not None
    value = (layer.qkv @ norm(x) + layer.qkv_bias)[(4 + 2) * 32 :].view(2, 32)
    x = x + layer.out @ value.repeat_interleave(2, 0).flatten()  # one token attends to itself
    gate, up = (layer.gate_up @ norm(x)).chunk(2)
    x = x + layer.down @ (gate / (1 + torch.exp(-gate)) * up)
    want = decoder.head @ norm(x)
    assert torch.allclose(_logits(decoder, [Work(0, 1, [0])], [7])[0], want, rtol=1e-12)


def test_positions_are_relative() -> None:
    """Rotary positions: q.k depends on the distance only, so moving all tokens alike changes nothing."""
    from calibration.model import _rotate, _rotations

    cos, sin = _rotations(64, 32, torch.float64, CPU)
    random = torch.Generator().manual_seed(1)
    q, k = torch.randn(2, 1, 1, 32, generator=random, dtype=torch.float64)
    products = [
        float((_rotate(q, cos[at], sin[at]) * _rotate(k, cos[at - gap], sin[at - gap])).sum())
        for at, gap in ((9, 4), (60, 4), (60, 5))
    ]
    assert products[0] == pytest.approx(products[1], rel=1e-12)
    assert products[0] != pytest.approx(products[2], rel=1e-3)


def test_the_probe_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU only sdpa works; the others are named with a reason; a wrong backend is not taken."""
    choice = choose(4, 2, 32, torch.float32, CPU)
    assert choice.backend.name == "sdpa" and choice.block_size == 16
    assert list(choice.rejected) == [
        "varlen-paged, blocks of 16",
        "varlen-paged, blocks of 256",
        "varlen-gather, blocks of 16",
    ]
    right = Sdpa.run
    monkeypatch.setattr(Sdpa, "run", lambda *args: right(*args) * (1 + 3e-5))
    with pytest.raises(RuntimeError, match="differs from plain arithmetic by 3"):
        choose(4, 2, 32, torch.float32, CPU)
    monkeypatch.setattr(Sdpa, "run", lambda *args: right(*args) * (1 + 3e-6))
    assert choose(4, 2, 32, torch.float32, CPU).backend.name == "sdpa"


def test_short_chunks_are_causal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One, two and three new tokens: the first of two does not see the second."""
    monkeypatch.setattr(attention, "PROBED", [(5, 2), (0, 2), (31, 1), (16, 3)])
    attention._agree(Sdpa(4, 2, torch.float64), 16, 4, 2, 32, torch.float64, CPU)
