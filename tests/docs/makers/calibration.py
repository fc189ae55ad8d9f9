"""How good profiles are: those that ship, and the one that was measured on a CPU."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from calibration.shipped import SHIPPED
from sim.hardware import catalogue, shipped
from sim.hardware.evidence import Errors, Heldout
from sim.hardware.model import Model
from sim.hardware.profile import load
from sim.hardware.roofline import TYPICAL_ERROR
from tests.docs.examples import ROOT
from tests.docs.made import Cells, Made, Sentences, Table, percent, signed

PAGE = "docs/calibration.md"
MEASURED = "calibration/profiles/epyc-1-thread.tiny-40m.float32.yaml"


def _kind(model: Model) -> str:
    return "experts" if model.experts > 1 else "half" if model.quantization == "none" else "eight"


def _shipped() -> dict[str, str]:
    """Least and largest error by kind of model."""
    found: dict[str, list[float]] = defaultdict(list)
    for gpu, models in SHIPPED.items():
        for name, counts in models.items():
            for count in counts:
                heldout = shipped.load(shipped.FOLDER / f"{gpu}.{name}.tp{count}.yaml").heldout
                assert heldout is not None
                found[_kind(catalogue.model(name, Path()))].append(heldout.errors.mape)
                found["bias"].append(abs(heldout.errors.bias))
                found["roofline"].append(heldout.baselines["roofline"].mape)
                assert heldout.baselines["roofline"].bias < 0, "always too fast"
    out = {
        f"{name}_{end}": f"{100 * of(values):.{0 if name == 'roofline' else 1}f}"
        for name, values in found.items()
        for end, of in (("least", min), ("most", max))
    }
    return out | {"count": str(len(found["bias"]))}


def _typical() -> dict[str, str]:
    return {name.replace(" ", "_"): percent(error, 0) for name, error in TYPICAL_ERROR.items()}


def _heldout() -> Heldout:
    found = load(ROOT / MEASURED).heldout
    assert found is not None
    return found


def _cells(errors: Errors, bold: bool) -> list[str | None]:
    def text(figure: str) -> str:
        return f"**{figure}**" if bold else figure

    return [
        None,
        str(errors.n),
        text(percent(errors.mape)),
        percent(errors.p90),
        percent(errors.p99),
        text(signed(errors.bias)),
        signed(errors.sum_err),
    ]


def _measured() -> Cells:
    found = _heldout()
    by = found.by_family | found.baselines
    rows = ("prefill", "cached prefill", "decode", "mixed", "plain linear", "roofline", "random forest")
    return [_cells(found.errors, True), *(_cells(by[row], False) for row in rows)]


def _said() -> dict[str, str]:
    found = _heldout()
    return {
        "n": str(found.errors.n),
        "mape": percent(found.errors.mape),
        "floor": percent(found.noise_floor),
    }


MADE: dict[str, Made] = {
    "shipped profiles": Sentences(
        PAGE,
        "python -m calibration.shipped",
        _shipped,
        (
            "\n{count} profiles ship",
            "they are off by {half_least} to {half_most} % on average in 16 bit, {experts_least} to "
            "{experts_most} % with experts and {eight_least} to {eight_most} % in 8 bit",
            "with a bias within {bias_most} %; the roofline by {roofline_least} to {roofline_most} %, "
            "always",
        ),
    ),
    "roofline's error": Sentences(
        "docs/models.md",
        "sim/hardware/roofline.py",
        _typical,
        (
            "its typical error: {16_bit} of an iteration for dense models in 16 bit, {8_bit} in fewer "
            "bits and {experts} with experts",
        ),
    ),
    "roofline's error, hosted": Sentences(
        "docs/providers.md",
        "configs/studies/both_worlds.yaml",
        _typical,
        ("(no profile of it ships: a roofline, an iteration typically {16_bit} off)",),
    ),
    "measured on a CPU": Table(PAGE, "calibration/profiles/epyc-1-thread", _measured),
    "noise floor": Sentences(
        PAGE, "python -m calibration run", _said, ("Noise floor {floor}: the error of the fit",)
    ),
    "measured on a CPU, validation": Sentences(
        "docs/validation.md",
        "docs/calibration.md",
        _said,
        ("meets {n} iterations that its fit never saw with {mape} mean error (noise floor {floor}).",),
    ),
}
