"""Computing jobs that are not finished yet: in this process, in several, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sim.jobs.job import Job, Outcome, execute
from sim.jobs.store import Store
from workloads.errors import InputError
from workloads.staging import clear_dead

Tell = Callable[[str, int, int], None]
"""Called with (what is done, jobs done, jobs in all)."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who computes: ``processes`` of this machine, or the workers of the dask scheduler at ``cluster``.

    Results are the same, whoever it is: a job depends on nothing but itself, and is named by what it is.
    """

    processes: int = 1
    cluster: str | None = None

    def outcomes(self, jobs: list[Job]) -> Iterator[Outcome]:
        """Compute ``jobs``; each outcome as soon as it is there, in any order."""
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        processes = -1 if self.cluster else min(self.processes, len(jobs))
        with self._backend():
            # One job at a time goes to a worker: what is finished is kept at once.
            parallel = joblib.Parallel(
                processes, batch_size=1, return_as="generator_unordered", max_nbytes=None
            )
            try:
                yield from parallel(joblib.delayed(execute)(job) for job in jobs)
            except BrokenProcessPool:
                raise InputError(
                    "a worker died, most likely for lack of memory; allowed: fewer --jobs, or a smaller "
                    "workload (the same command goes on from the jobs that are finished)"
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


def compute(jobs: Iterable[Job], store: Store, workers: Workers, tell: Tell, what: str) -> dict[str, str]:
    """Compute every job that ``store`` does not have and keep it there; return what failed, and why.

    The same job given twice is computed once. A job that fails is not kept, so it is tried again next time.
    """
    clear_dead(store.folder)
    by_name = {job.name: job for job in jobs}
    waiting = [job for job in by_name.values() if job.name not in store]
    done = len(by_name) - len(waiting)
    tell(what, done, len(by_name))
    failed: dict[str, str] = {}
    for outcome in workers.outcomes(waiting) if waiting else ():
        if outcome.error:
            failed[outcome.name] = outcome.error
        else:
            store.put(by_name[outcome.name], outcome)
        done += 1
        tell(what, done, len(by_name))
    return {name: failed[name] for name in by_name if name in failed}
