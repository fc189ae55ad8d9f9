"""Replicas that fail and come back: when, and which are alive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sim.engine.events import ARRIVAL, Clock
from sim.engine.interface import AnyReplica
from sim.fleet.plan import Failure
from sim.results.request_log import RequestRow


class Group:
    """Replicas that can stand in for one another, and requests that wait because none of them is alive."""

    def __init__(self, replicas: Sequence[AnyReplica]) -> None:
        self.all = list(replicas)
        self.alive = list(replicas)
        """In order of their numbers."""
        self.returning = 0
        """Those that are dead and will come back."""
        self.stranded: list[RequestRow] = []

    def take_out(self, replica: AnyReplica, comes_back: bool) -> None:
        """``replica`` is dead."""
        self.alive = [other for other in self.alive if other is not replica]
        self.returning += comes_back

    def bring_back(self, replica: AnyReplica) -> list[RequestRow]:
        """``replica`` is alive again; the requests that waited for that."""
        self.returning -= 1
        self.alive = sorted([*self.alive, replica], key=lambda each: each.number)
        stranded, self.stranded = self.stranded, []
        return stranded


class Outages:
    """The failures of a run in time; the next one of a replica is due once it is back from the last.

    ``fail(number, comes_back, gone)`` is called when a replica dies; it calls ``gone()`` when the iteration
    under way has ended and the replica is no more. ``come_back(number)`` is called when it returns.
    """

    def __init__(
        self,
        env: Clock,
        failures: Iterable[Failure],
        fail: Callable[[int, bool, Callable[[], None]], None],
        come_back: Callable[[int], None],
    ) -> None:
        self._env = env
        self._fail = fail
        self._come_back = come_back
        self._due: dict[int, deque[Failure]] = {}
        for failure in failures:
            self._due.setdefault(failure.replica, deque()).append(failure)
        for number in sorted(self._due):
            self._await(number)

    def _await(self, number: int) -> None:
        if self._due[number]:
            failure = self._due[number].popleft()
            self._env.at(failure.at_s, ARRIVAL, self._dies, failure)

    def _dies(self, failure: Failure) -> None:
        def gone() -> None:
            if failure.back_s is not None:
                self._env.at(failure.back_s, ARRIVAL, self._returns, failure)

        self._fail(failure.replica, failure.back_s is not None, gone)

    def _returns(self, failure: Failure) -> None:
        self._come_back(failure.replica)
        self._await(failure.replica)
