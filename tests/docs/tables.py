"""Writes the tables and sentences that are made from results into the pages.

    python -m tests.docs.tables [NAME ...]

makes all of them, or those that are named (`makers`); read the diff.
"""

from __future__ import annotations

import sys

from tests.docs.examples import ROOT
from tests.docs.made import Made
from tests.docs.makers import (
    calibration,
    first_run,
    habits,
    hosted,
    measured,
    published,
    recordings,
    servers,
    studies,
    theory,
    traces,
)

MODULES = (
    first_run,
    habits,
    hosted,
    published,
    recordings,
    traces,
    studies,
    calibration,
    servers,
    theory,
    measured,
)
MADE: dict[str, Made] = {name: made for module in MODULES for name, made in module.MADE.items()}


def main(names: list[str]) -> None:
    """Write what is made now into the pages."""
    for name in names or MADE:
        made = MADE[name]
        if made.needs is None or made.needs.exists():
            path = ROOT / made.page
            path.write_text(made.renewed(name, path.read_text("utf-8")), "utf-8")
            print(made.page, name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
