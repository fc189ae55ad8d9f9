"""Profiles that ship: how good they are, and that each is found for what it is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.shipped import SHIPPED
from sim.hardware import catalogue, shipped
from sim.hardware.parallel import ONE_GPU, Parallel

ALL = [
    (gpu, model, count)
    for gpu, models in SHIPPED.items()
    for model, counts in models.items()
    for count in counts
]
DENSE, EIGHT_BIT, EXPERTS = 0.04, 0.08, 0.06
"""Mean size of the error on held-out steps, at most."""


def test_nothing_else_ships() -> None:
    """A file for each, and none besides."""
    files = {path.name for path in shipped.FOLDER.glob("*.yaml")}
    assert files == {f"{gpu}.{model}.tp{count}.yaml" for gpu, model, count in ALL}


@pytest.mark.parametrize(("gpu", "name", "count"), ALL)
def test_a_shipped_profile(gpu: str, name: str, count: int) -> None:
    """It is found for its model and GPUs, says where it is from, and meets its tables."""
    model = catalogue.model(name, Path())
    profile = shipped.find(model, catalogue.gpu(gpu), Parallel(tensor=count))
    assert profile is not None and profile.origin == "imported"
    assert profile == shipped.load(shipped.FOLDER / f"{gpu}.{name}.tp{count}.yaml")
    assert profile.tables is not None and profile.tables.licence in ("Apache-2.0", "MIT")
    assert profile.heldout is not None and profile.domain is not None
    errors = profile.heldout.errors
    most = EXPERTS if model.experts > 1 else EIGHT_BIT if model.quantization == "fp8" else DENSE
    assert errors.n >= 240 and errors.mape <= most and abs(errors.bias) <= 0.02
    assert errors.mape < profile.heldout.baselines["roofline"].mape / 3


def test_what_has_none() -> None:
    """Another GPU, number of GPUs, KV format or model; a model by another name is no other."""
    model, h200 = catalogue.model("llama-3.1-8b", Path()), catalogue.gpu("h200")
    assert shipped.find(catalogue.model("llama-3-8b", Path()), h200, ONE_GPU) is not None
    assert shipped.find(model, catalogue.gpu("h20"), ONE_GPU) is None
    assert shipped.find(model, h200, Parallel(tensor=8)) is None
    assert shipped.find(model, h200, Parallel(data=2)) is None
    assert (
        shipped.find(catalogue.model("llama-3.1-8b", Path(), kv_cache_dtype="fp8"), h200, ONE_GPU) is None
    )
    assert shipped.find(catalogue.model("qwen3-14b", Path()), h200, ONE_GPU) is None
