"""The shipped profiles: what they say follows from the samples beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="sklearn is not installed (it comes with the test extra)")


from calibration import catalogue
from calibration.build import rebuild
from calibration.profile import load

SHIPPED = sorted((Path(catalogue.__file__).parent / "profiles").glob("*.yaml"))


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
