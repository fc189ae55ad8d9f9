"""Computing jobs that are not finished yet: in this process, in several, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sim.jobs.job import Job, Outcome, execute
from sim.jobs.store import Store
from workloads.errors import InputError
from workloads.staging import clear_dead

MOST_DEATHS = 3
"""Workers that may die one after the other before a job is finished: after that it is no accident."""
Tell = Callable[[str, int, int], None]
"""Called with (what is done, jobs done, jobs in all)."""


class Named(Protocol):
    """A job."""

    @property
    def name(self) -> str:
        """What it is, as a hash."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who computes: ``processes`` of this machine, or the workers of the dask scheduler at ``cluster``.

    Results are the same, whoever it is: a job depends on nothing but itself, and is named by what it is.
    """

    processes: int = 1
    cluster: str | None = None

    def outcomes(self, jobs: Sequence[Named], execute: Callable[[Any], Any]) -> Iterator[Any]:
        """Compute ``execute`` of each of ``jobs``; each outcome as soon as it is there, in any order.

        An outcome has the name of its job. What was under way when a worker died is computed again.
        """
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        left, deaths = {job.name: job for job in jobs}, 0
        with self._backend():
            while left:
                processes = -1 if self.cluster else min(self.processes, len(left))
                # One job at a time goes to a worker: what is finished is kept at once.
                parallel = joblib.Parallel(
                    processes, batch_size=1, return_as="generator_unordered", max_nbytes=None
                )
                try:
                    for outcome in parallel(joblib.delayed(execute)(job) for job in list(left.values())):
                        del left[outcome.name]
                        deaths = 0
                        yield outcome
                except BrokenProcessPool:
                    deaths += 1
                    if deaths == MOST_DEATHS:
                        raise InputError(
                            f"{MOST_DEATHS} times a worker died before any job was finished, most likely "
                            "for lack of memory; allowed: fewer --jobs, or a smaller workload (the same "
                            "command goes on from the jobs that are finished)"
                        ) from None

    @contextmanager
    def _backend(self) -> Iterator[None]:
        if self.cluster is None:
            yield
            return
        try:
            from distributed import Client
        except ImportError:
            raise InputError(
                f"--cluster {self.cluster}: dask is not installed; allowed: after pip install "
                "'prefixsim[cluster]'"
            ) from None
        import joblib

        try:
            client: Any = Client(self.cluster)
        except (OSError, ValueError) as error:
            raise InputError(
                f"--cluster {self.cluster}: {error}; allowed: the address of a dask scheduler, such as "
                "tcp://HOST:8786"
            ) from None
        with client, joblib.parallel_config("dask"):
            yield


def compute_each(
    jobs: Sequence[Named],
    store: Store,
    workers: Workers,
    execute: Callable[[Any], Any],
    keep: Callable[[Any], None],
    tell: Tell,
    what: str,
) -> dict[str, str]:
    """Compute every job that ``store`` does not have, give its outcome to ``keep``; what failed, and why.

    The same job given twice is computed once. A job that fails is not kept, so it is tried again next time.
    """
    clear_dead(store.folder)
    by_name = {job.name: job for job in jobs}
    waiting = [job for job in by_name.values() if job.name not in store]
    done = len(by_name) - len(waiting)
    tell(what, done, len(by_name))
    failed: dict[str, str] = {}
    for outcome in workers.outcomes(waiting, execute):
        if outcome.error:
            failed[outcome.name] = outcome.error
        else:
            keep(outcome)
        done += 1
        tell(what, done, len(by_name))
    return {name: failed[name] for name in by_name if name in failed}


def compute(jobs: Iterable[Job], store: Store, workers: Workers, tell: Tell, what: str) -> dict[str, str]:
    """Compute every experiment that ``store`` does not have and keep it there; what failed, and why."""
    by_name = {job.name: job for job in jobs}

    def keep(outcome: Outcome) -> None:
        store.put(by_name[outcome.name], outcome)

    return compute_each(list(by_name.values()), store, workers, execute, keep, tell, what)
