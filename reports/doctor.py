"""What the doctor found, as text."""

from __future__ import annotations

from reports import units
from sim.doctor.causes import CAUSES
from sim.doctor.examine import Diagnosis


def text(diagnosis: Diagnosis) -> str:
    """How far the rules reproduce the bill, then every cause of a miss with its dollars."""
    calls, billed = diagnosis["calls"], diagnosis["billed_usd"]
    exact, near = diagnosis["exact"], diagnosis["within_1_percent"]
    error = diagnosis["absolute_error_usd"]
    lines = [
        f"{exact:,} of {calls:,} calls exact ({exact / calls:.1%}), {near:,} within 1 % of the prompt "
        f"({near / calls:.1%}); {diagnosis['given']:,} of them begin a thread and are taken as billed",
        f"input billed {units.usd(billed)}, by the rules {units.usd(diagnosis['predicted_usd'])}; "
        f"differences added up {units.usd(error)}" + (f" ({error / billed:.1%})" if billed else ""),
        "",
    ]
    for cause in diagnosis["causes"]:
        lines.append(
            f"{units.usd(cause['usd']):>12}  {cause['calls']:>6,} calls  "
            f"{units.tokens(cause['tokens']):>9} tokens  {cause['cause']}: {CAUSES[cause['cause']]}"
        )
    return "\n".join(lines)
