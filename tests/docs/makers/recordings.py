"""How many recordings of engines the tests reproduce (docs/validation.md)."""

from __future__ import annotations

from tests.caches import test_radix_recorded, test_radix_windows, test_recorded
from tests.docs.made import Cells, Made, Table
from tests.engine import test_sglang_schedules, test_stepping_recorded


def _recordings() -> Cells:
    names = [name for _, name in test_sglang_schedules.ARGS]
    counts = (
        len(test_recorded.ALL),
        len(test_stepping_recorded.WHOLE),
        len(test_radix_recorded.WHOLE),
        len(test_radix_windows.RECORDED),
        sum(name.startswith("sglang_sched") for name in names),
        sum(name.startswith("sglang_overlap") for name in names),
    )
    return [[None, str(count), None] for count in counts]


MADE: dict[str, Made] = {
    "recordings": Table("docs/validation.md", "tests/engine/test_stepping_recorded.py", _recordings),
}
