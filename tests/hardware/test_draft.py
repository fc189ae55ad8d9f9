"""Draft models beside the model: their parameters as published, their memory, their time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sim.engine.latency import IterationTime
from sim.engine.vllm.batch import Batch
from sim.engine.vllm.speculation import Drafter, verification_s
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients, Window
from sim.hardware.draft import Draft, multi_token_prediction
from sim.hardware.memory import Memory
from sim.hardware.parallel import ONE_GPU, Parallel
from sim.hardware.roofline import roofline
from sim.hardware.vllm_memory import budget
from sim.systems.engine import EngineSystem
from tests.hardware.test_model_options import config, engine
from tests.hardware.test_published_models import IN_CATALOGUE
from workloads.errors import InputError

DRAFTED = [entry for entry in IN_CATALOGUE if "draft" in entry]


@pytest.mark.parametrize("entry", DRAFTED, ids=lambda entry: str(entry["model"]))
def test_a_module_for_multi_token_prediction_is_as_published(entry: dict[str, Any]) -> None:
    """The parameters in the checkpoint that serve drafting only, to the last digit.

    GLM 4.5's checkpoints have a copy of the embedding and of the output head with it.
    """
    model = catalogue.model(entry["model"], Path())
    module = multi_token_prediction(model).model.layers[0].params
    copies = 2 * model.embedding.params if entry["model"].startswith("glm-4.5") else 0
    assert model.has_mtp and module + copies == entry["draft"]


def test_the_module_of_deepseek_v3() -> None:
    """11.5 B parameters of its own (README of the weights), and one layer's latent per token."""
    draft = multi_token_prediction(catalogue.model("deepseek-v3", Path()))
    assert draft.model.layers[0].params == pytest.approx(11.5e9, rel=0.01)
    assert draft.model.kv_bytes_per_token == 70272 // 61


def test_memory_of_a_draft() -> None:
    """Its weights and its KV come off the pool; what it shares with the model is held once."""
    model, gpu = catalogue.model("qwen3-8b", Path()), catalogue.gpu("h200")
    small = catalogue.model("qwen3-0.6b", Path())
    plain = budget(model, gpu, Memory(), max_num_batched_tokens=8192, max_num_seqs=1024)
    beside = Draft(small).in_budget(plain, ONE_GPU)
    assert beside.weights == plain.weights + small.weight_bytes
    assert beside.kv_bytes_per_token == 147456 + 114688
    assert beside.usable == plain.usable and beside.reserved == plain.reserved
    parallel = Parallel(tensor=8, expert=8)
    deepseek, b200 = catalogue.model("deepseek-v3", Path()), catalogue.gpu("b200")
    alone = budget(
        deepseek, b200, Memory(), max_num_batched_tokens=8192, max_num_seqs=256, parallel=parallel
    )
    with_module = multi_token_prediction(deepseek).in_budget(alone, parallel)
    last = sum(weight.bytes_per_gpu(parallel) for weight in deepseek.layers[-1].weights)
    joins = 2 * 7168 * 7168 * 2 / 8
    assert with_module.weights - alone.weights == pytest.approx(last + joins, rel=1e-4)
    assert with_module.kv_bytes_per_token == pytest.approx(alone.kv_bytes_per_token * 62 / 61)


def test_time_of_a_step_by_hand() -> None:
    """Two decodes with 100 tokens of KV each and three drafts each, beside a prompt of 50 tokens."""
    one = IterationTime(Coefficients(step=1, token=0.5, sequence=0.25, decode_kv=0.125, pair=2))
    batch = Batch(2, 200)
    batch.tokens = 2 * 4 + 50
    batch.chunks, batch.completed = [(None, 0, 50)], [None]  # type: ignore[list-item]
    heads = 2 * 4 + 1
    by_hand = 1 + 0.5 * 58 + 0.25 * heads + 0.125 * (200 + 8) + 2 * 50 * 51 / 2
    assert verification_s(one, batch, 6) == by_hand
    batch.uneven = 40
    beside = IterationTime(Coefficients(step=1, uneven=0.5, beside=0.25, beside_token=0.125, beside_kv=2))
    assert verification_s(beside, batch, 6) == 1 + 0.5 * 40 + (0.25 + 0.125 * 50) * 2 + 2 * (200 + 8)
    batch.uneven = 0
    draft = IterationTime(Coefficients(step=0.5, token=0.0625, decode_kv=0.03125))
    first = 0.5 + 0.0625 * 58 + 0.03125 * 208
    further = 0.5 + 0.0625 * 3 + 0.03125 * (200 + 6 + 50 + 3)
    assert Drafter(draft, 3).step_s(batch, 6) == pytest.approx(first + 2 * further)
    windowed = IterationTime(Coefficients(step=1, windows=[Window(tokens=64, decode_kv=1)]))
    decodes = Batch(2, 200)
    decodes.tokens = 8
    assert verification_s(windowed, decodes, 6) == 1 + 2 * 64


def test_verifying_with_a_latent() -> None:
    """With all 128 heads on a GPU each token of DeepSeek V3 computes longer than its latent is read; with
    an eighth of them two tokens do not."""
    gpu, model = catalogue.gpu("h200"), catalogue.model("deepseek-v3", Path())
    kv_tokens, flop_s = 10_000 + 4 + 4, 61 * 2 * 128 * (576 + 512) / 989e12
    ranks, eight = (
        IterationTime(roofline(model, gpu, parallel=parallel).coefficients)
        for parallel in (Parallel(data=8, expert=8), Parallel(tensor=8, expert=8))
    )
    assert ranks.decode_s(4, 10_000) == pytest.approx((10_000 + 4) * flop_s)
    assert ranks.verify_s(4, 10_000, 4) == pytest.approx(kv_tokens * 2 * flop_s)
    assert eight.verify_s(4, 10_000, 4) == pytest.approx(kv_tokens * 70_272 / 4.8e12)
    assert eight.verify_s(4, 10_000, 0) == eight.decode_s(4, 10_000)
    llama = IterationTime(roofline(catalogue.model("llama-3.1-8b", Path()), gpu).coefficients)
    assert llama.verify_s(4, 10_000, 12) == llama.decode_s(4, 10_012)


def _speculative(**options: Any) -> dict[str, Any]:
    return {"speculative": {"num_speculative_tokens": 2, "acceptance_rate": 0.5, **options}}


def test_said_once(tmp_path: Path) -> None:
    """The method decides what happens to hits and to the memory; the resolved file loads again."""
    glm = {"model": "glm-4.5-air", "hardware": "b200", "tensor_parallel": 2}
    plain, mtp = engine(tmp_path, **glm), engine(tmp_path, **glm, engine=_speculative(method="mtp"))
    assert plain.memory.kv_blocks and mtp.memory.kv_blocks
    assert mtp.memory.kv_blocks < plain.memory.kv_blocks and mtp.memory.estimate
    assert getattr(mtp.cache, "lookahead_hashes", None) and not getattr(mtp.cache, "eagle", None)
    drop = _speculative(method="mtp", disable_lookahead_block_hashes=True)
    dropping = engine(tmp_path, **glm, engine=drop)
    assert getattr(dropping.cache, "eagle", None) and not getattr(dropping.cache, "lookahead_hashes", None)
    neither = engine(tmp_path, **glm, engine=_speculative(method="mtp", disable_eagle_block_drop=True))
    ngram = engine(tmp_path, **glm, engine=_speculative(method="ngram"))
    assert ngram.memory == plain.memory
    for system in (neither, ngram):
        assert not getattr(system.cache, "eagle", None)
        assert not getattr(system.cache, "lookahead_hashes", None)
    small = {"method": "eagle3", "model": {"parameters": 1e9, "kv_bytes_per_token": 4096}}
    text = config(tmp_path, model="llama-3.1-8b", engine=_speculative(**small)).to_yaml()
    (tmp_path / "again.yaml").write_text(text)
    from sim.config import load_config

    again = load_config(tmp_path / "again.yaml")
    assert again.to_yaml() == text and isinstance(again.systems["e"], EngineSystem)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "mtp"}, "Llama 3.1 8B has no module for multi-token prediction"),
        ({"method": "eagle"}, "model with method eagle; allowed: the draft model"),
        ({"method": "ngram", "model": "qwen3-0.6b"}, "model with method ngram; allowed: none"),
        ({"method": "draft_model", "model": "qwen3-0.6b"}, "vocabulary of 151,936; allowed: that of Meta"),
        ({"method": "draft_model", "model": "qwen3-0.7b"}, "did you mean"),
        ({"method": "ngram", "synthetic_acceptance_length": 2}, "exactly one of acceptance_rate"),
        ({"method": "ngram", "acceptance_rate": None}, "exactly one of acceptance_rate"),
        (
            {"method": "ngram", "acceptance_rate": None, "synthetic_acceptance_rates": [0.5, 0.6]},
            "2 values from 1 to 0, none larger than the one before it",
        ),
        (
            {"method": "ngram", "acceptance_rate": None, "synthetic_acceptance_rates": [0.5]},
            "2 values from 1 to 0",
        ),
        (
            {"method": "ngram", "acceptance_rate": None, "synthetic_acceptance_length": 3.5},
            "allowed: from 1 to 3",
        ),
        ({"method": "medusa"}, "method"),
        ({"method": "ngram", "num_speculative_tokens": 0}, "num_speculative_tokens"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    """One message that says what is allowed."""
    with pytest.raises(InputError) as error:
        config(tmp_path, model="llama-3.1-8b", engine=_speculative(**options))
    assert said in str(error.value)


def test_lookahead_hashes_need_a_draft(tmp_path: Path) -> None:
    """In an engine they follow from the draft; with both ways one is too many."""
    with pytest.raises(InputError, match=r"lookahead_hashes = True goes with engine\.speculative"):
        config(tmp_path, model="llama-3.1-8b", cache={"kind": "block", "lookahead_hashes": True})
    with pytest.raises(InputError, match="two ways for one end"):
        config(
            tmp_path,
            model="llama-3.1-8b",
            cache={"kind": "block", "lookahead_hashes": True, "eagle": True},
        )
