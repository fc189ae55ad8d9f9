"""A prediction held against a run that somebody served."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.served.comparison import Comparison, compare, values
from calibration.served.measured import MeasuredRun
from calibration.served.server import Server
from sim.hardware.profile import Profile
from sim.results.records import Floats, Records
from workloads.trace import Trace


@dataclass(frozen=True, slots=True)
class Against:
    """The measured requests, their simulation, and both compared."""

    server: Server
    profile: Profile
    run: MeasuredRun
    records: Records
    compared: Comparison
    notes: list[str]

    def values(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """TTFT, TPOT and E2E of every request, s: measured, predicted."""
        return values(self.run), values(self.records)


def hold_against(server: Server, run: MeasuredRun, trace: Trace) -> Against:
    """Simulate ``trace`` as ``run`` served it, with the server's own times, and compare."""
    records, profile = server.simulate(trace), server.profile
    notes = [*run.notes, *server.notes(trace)]
    return Against(server, profile, run, records, compare(run, records), notes)
