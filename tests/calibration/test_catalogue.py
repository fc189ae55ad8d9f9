"""Catalogues, memory arithmetic and the roofline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import calibration
from calibration.validate_input import require_runnable
from sim.engine.vllm.config import batch_defaults
from sim.hardware import catalogue
from sim.hardware.coefficients import Coefficients
from sim.hardware.profile import Profile, load
from sim.hardware.roofline import roofline
from workloads.errors import InputError

# Parameters as published with the checkpoints.
PUBLISHED_PARAMS = {
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-32b": 32_763_876_352,
    "qwen3-8b": 8_190_735_360,
    "tinyllama-1.1b": 1_100_048_384,
    # Ours, without a checkpoint: 2 x vocabulary + layers x (attention + feed-forward + norms) + norm.
    "tiny-40m": 2 * 16384 * 512 + 8 * (512 * 64 * 16 + 512 * 512 + 3 * 512 * 1536 + 1024) + 512,
    "tiny-1m": 2 * 1024 * 128 + 2 * (128 * 32 * 8 + 128 * 128 + 3 * 128 * 384 + 256) + 128,
}
KV_BYTES = {"llama-3-8b": 131_072, "qwen2.5-7b": 57_344, "qwen2.5-0.5b": 12_288, "qwen3-8b": 147_456}


def test_every_model_has_its_published_parameters() -> None:
    """Computed from the shapes, equal to the checkpoints' where there are any."""
    computed = {name: catalogue.model(name, Path()).params for name in PUBLISHED_PARAMS}
    assert computed == PUBLISHED_PARAMS


@pytest.mark.parametrize("name", KV_BYTES)
def test_kv_bytes_per_token(name: str) -> None:
    """2 x layers x kv heads x head size x 2 bytes."""
    assert catalogue.model(name, Path()).kv_bytes_per_token == KV_BYTES[name]


def test_every_gpu_loads() -> None:
    """All entries are complete and say where their numbers come from."""
    for name in catalogue.names("gpus"):
        assert len(catalogue.gpu(name).source) > 20


def test_hugging_face_config_gives_the_same_model(tmp_path: Path) -> None:
    """A config.json without head_dim, with torch_dtype, as in the Llama 3 repository."""
    raw = {
        "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "torch_dtype": "bfloat16", "rope_theta": 500000.0,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(raw))
    model = catalogue.model("config.json", tmp_path)
    assert model.params == PUBLISHED_PARAMS["llama-3-8b"]
    assert model.kv_bytes_per_token == 131_072


def test_qwen2_config_implies_biases(tmp_path: Path) -> None:
    """Qwen2's config.json has no attention_bias; its q, k and v have biases all the same."""
    raw = {
        "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 131072,
        "model_type": "qwen2",
        "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "vocab_size": 151936,
        "tie_word_embeddings": True, "torch_dtype": "bfloat16", "sliding_window": 131072,
        "use_sliding_window": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert catalogue.model("config.json", tmp_path).params == PUBLISHED_PARAMS["qwen2.5-0.5b"]


def test_batch_defaults() -> None:
    """vLLM's: by memory, A100 apart."""
    got = {name: batch_defaults(catalogue.gpu(name)) for name in ("b200", "h200", "a100-80gb-sxm", "l4")}
    assert got == {
        "b200": (16384, 1024),
        "h200": (8192, 1024),
        "a100-80gb-sxm": (2048, 256),
        "l4": (2048, 256),
    }
    assert batch_defaults(None) == (2048, 128)


def test_roofline_by_hand() -> None:
    """Llama 3 8B on an H200: weights 3.13 ms, prefill of 512 compute-bound, KV 27 ns a token."""
    profile = roofline(catalogue.model("llama-3-8b", Path()), catalogue.gpu("h200"))
    c = profile.coefficients
    layers, head = 6_979_321_856, 4096 * 128_256
    assert c.floor == pytest.approx(2 * (layers + head) / 4.8e12)
    assert c.token == pytest.approx(2 * layers / 989e12)
    assert c.sequence == pytest.approx(2 * head / 989e12)
    assert c.decode_kv == c.prefill_kv == pytest.approx(131_072 / 4.8e12)
    assert c.pair == pytest.approx(4 * 32 * 32 * 128 / 989e12)
    assert not profile.calibrated
    half = roofline(
        catalogue.model("llama-3-8b", Path()), catalogue.gpu("h200"), mfu=0.5, mbu=0.5
    ).coefficients
    assert (half.token, half.decode_kv) == pytest.approx((2 * c.token, 2 * c.decode_kv))


def test_roofline_is_below_kernel_measurements() -> None:
    """A roofline is a lower bound: measured kernels on an H200 take 9.7 ms for a prefill of 512 and
    4.66 ms for one decode at 1k of context (sums of kernels, docs/models.md)."""
    from sim.engine.latency import IterationTime

    time = IterationTime(
        roofline(catalogue.model("llama-3-8b", Path()), catalogue.gpu("h200")).coefficients
    )
    assert 0.5 * 9.7e-3 < time.fixed_s(512, 1) + time.prefill_s(0, 512) < 9.7e-3
    assert 0.5 * 4.66e-3 < time.fixed_s(1, 1) + time.decode_s(1, 1024) < 4.66e-3


def test_profile_file(tmp_path: Path) -> None:
    """A profile survives the file; errors name file and key."""
    profile = Profile(
        schema="kvprofile/1", id="x", calibrated=True, source="test", coefficients=Coefficients(step=1)
    )
    path = tmp_path / "p.yaml"
    path.write_text(profile.model_dump_json(by_alias=True))
    assert load(path) == profile
    path.write_text(path.read_text().replace("kvprofile/1", "kvprofile/9"))
    with pytest.raises(InputError, match=r"p.yaml: schema = 'kvprofile/9'"):
        load(path)
    path.write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        load(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("coefficients.step", float("inf"), "coefficients.step = inf"),
        ("coefficients.step", 1e300, "coefficients.step = 1e+300"),
        ("coefficients.token", True, "coefficients.token = 'true': allowed: a number"),
        ("coefficients.p", 1000, "coefficients.p = 1000"),
        ("domain.tokens", [5, 1], "domain.tokens = [5, 1]: allowed: [least, most]"),
        ("hardware.cores", -4, "hardware.cores = -4"),
        ("hardware.memory_gib", float("nan"), "hardware.memory_gib = nan"),
        ("model.dtype", "int4", "model.dtype = 'int4'"),
        ("protocol.grid", "fine", "protocol.grid = 'fine': allowed: gpu, cpu, tiny"),
        ("protocol.seed", -1, "protocol.seed = -1"),
        ("protocol.max_drift", float("nan"), "protocol.max_drift = nan"),
        ("heldout.errors.mape", -0.5, "heldout.errors.mape = -0.5"),
    ],
)
def test_a_profile_of_nonsense(tmp_path: Path, key: str, value: object, said: str) -> None:
    """A number that no measurement can have is named."""
    shipped = Path(calibration.__file__).parent / "profiles" / "epyc-1-thread.tiny-40m.float32.yaml"
    data = yaml.safe_load(shipped.read_text())
    *parts, last = key.split(".")
    at = data
    for part in parts:
        at = at[part]
    at[last] = value
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError) as error:
        load(path)
    assert f"p.yaml: {said}" in str(error.value)


def test_a_profile_nested_too_deeply(tmp_path: Path) -> None:
    """No traceback of the parser."""
    path = tmp_path / "p.yaml"
    path.write_text("[" * 3000)
    with pytest.raises(InputError, match="nested too deeply"):
        load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hardware": None}, "hardware is missing; allowed: a profile that was measured"),
        ({"model.head_dim": 63}, "model.head_dim = 63; allowed: an even number"),
    ],
)
def test_what_cannot_be_validated(change: dict[str, object], said: str) -> None:
    """A profile without its machine, and a model that cannot be built."""
    shipped = Path(calibration.__file__).parent / "profiles" / "epyc-1-thread.tiny-40m.float32.yaml"
    profile = load(shipped)
    assert profile.model is not None
    if "hardware" in change:
        profile = profile.model_copy(update=change)
    else:
        assert profile.model is not None
        model = profile.model.model_copy(update={"head_dim": change["model.head_dim"]})
        profile = profile.model_copy(update={"model": model})
    with pytest.raises(InputError) as error:
        require_runnable(profile, Path("p.yaml"), None)
    assert f"p.yaml: {said}" in str(error.value)
