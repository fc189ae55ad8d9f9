"""A measured profile as a page: how far off it is, what it says, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from reports import calibration
from reports.canvas import Picture
from reports.frame import Part, rows
from reports.frame import study as page
from reports.inline import image
from sim.hardware.profile import Profile

DEFINITIONS = (
    ("Held-out iterations", "Iterations that were measured and that the fit never saw."),
    (
        "MAPE, p90, p99, max",
        "Mean, percentiles and maximum of the size of the relative error of an iteration.",
    ),
    ("Bias, sum", "Mean of the signed relative errors; error of the sum of all times."),
    ("Noise floor", "How much equal measurements disagree: an error below it cannot be told from noise."),
    (
        "Coefficients",
        "Terms of the time of an iteration; their intervals come from resampled measurements.",
    ),
    (
        "Implied rates",
        "What the coefficients mean as arithmetic and memory rates, beside the peaks of the GPU.",
    ),
)


def answer(profile: Profile) -> str:
    """How far off the profile is on iterations that it never saw."""
    heldout = profile.heldout
    if heldout is None:
        return f"{profile.id}: no iterations were held out, so its error is not known."
    errors = heldout.errors
    return (
        f"On {errors.n} iterations that it never saw the profile is {errors.mape:.1%} off on average "
        f"(p90 {errors.p90:.1%}, bias {errors.bias:+.1%})."
    )


def render(profile: Profile, pictures: Sequence[Picture]) -> str:
    """The page as HTML5 text, self-contained, in the frame of all pages."""
    parts = [Part("Figures", images=[image(picture) for picture in pictures])] if pictures else []
    if profile.heldout is not None:
        errors = [[cell.strip() for cell in row] for row in calibration.error_rows(profile)]
        parts.append(Part("Errors", headings=calibration.ERRORS, rows=rows(errors)))
    parts.append(
        Part(
            "Coefficients",
            headings=calibration.COEFFICIENTS,
            rows=rows(calibration.coefficient_rows(profile)),
        )
    )
    notes = []
    if profile.fit is not None:
        parts.append(
            Part("Implied rates", headings=calibration.RATES, rows=rows(calibration.rate_rows(profile)))
        )
        notes += calibration.doubts(profile)
    if floor := calibration.noise_floor(profile):
        notes.append(floor)
    return page(
        subject="profile",
        about=profile.source,
        name=profile.id,
        answer=answer(profile),
        notes=notes,
        parts=parts,
        uncalibrated=[] if profile.calibrated else [profile.id],
        definitions=DEFINITIONS,
        configuration=profile.to_yaml(),
    )
