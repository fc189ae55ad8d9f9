"""The shipped profiles: what they say follows from the samples beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


import calibration
from calibration.build import rebuild
from reports.calibration import doubts
from sim.hardware import catalogue
from sim.hardware.evidence import Fit
from sim.hardware.profile import load

SHIPPED = sorted((Path(calibration.__file__).parent / "profiles").glob("*.yaml"))


def test_profiles_are_shipped() -> None:
    """Else the tests below would be none."""
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_profile_follows_from_its_samples(path: Path) -> None:
    """Fitted again, coefficients and errors are those of the file."""
    shipped, again = load(path), rebuild(path).profile
    for name, value in shipped.coefficients:
        assert value == pytest.approx(getattr(again.coefficients, name), rel=1e-6, abs=1e-15), name
    assert shipped.heldout is not None and again.heldout is not None
    assert shipped.heldout.errors.model_dump() == pytest.approx(again.heldout.errors.model_dump(), rel=1e-6)
    assert shipped.domain == again.domain and shipped.samples == again.samples


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_is_good(path: Path) -> None:
    """The bounds that calibration aims at: tighter on a GPU than on a shared CPU."""
    profile = load(path)
    assert profile.heldout is not None and profile.protocol is not None
    errors = profile.heldout.errors
    gpu = profile.protocol.clock == "cuda_event"
    assert errors.n >= 60
    assert errors.mape <= (0.04 if gpu else 0.08) and abs(errors.bias) <= (0.01 if gpu else 0.02)
    simpler = [e.mape for e in profile.heldout.baselines.values()]
    assert errors.mape < min(simpler)


def test_what_looks_wrong_on_a_gpu_is_told() -> None:
    """Rates far from what a GPU reaches, and decodes that were launched one kernel at a time."""
    large = catalogue.dense("llama-3-8b", Path())
    shipped = load(SHIPPED[0])
    assert doubts(shipped) == [], "a small model on a CPU"
    assert shipped.protocol is not None and shipped.software is not None
    gpu = shipped.protocol.model_copy(update={"clock": "cuda_event"})

    def told(linear_tflops: float, *, graphs: bool) -> list[str]:
        rates = {"linear_tflops": linear_tflops, "weights_gb_per_s": 3500.0}
        fit = Fit(
            form="pnorm+nnls/1", intervals={}, implied=rates, peaks={"tflops": 989.0, "gb_per_s": 4800.0}
        )
        assert shipped.software is not None
        software = shipped.software.model_copy(update={"cuda_graphs": graphs})
        update = {"model": large, "protocol": gpu, "fit": fit, "software": software}
        return doubts(shipped.model_copy(update=update))

    assert told(700.0, graphs=True) == []
    assert [line.split()[1] for line in told(90.0, graphs=False)] == ["decodes", "linear_tflops"]
