"""What a fleet leaves behind once nothing is left to happen."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine.beside import CacheBeside
from sim.engine.interface import AnyReplica
from sim.engine.step_records import StepRecorder
from sim.fleet.checkpoints import Checkpoints, fullest
from sim.fleet.plan import ReplicaPlan
from sim.results.records import EngineTotals, Records
from sim.results.request_log import RequestLog


def outcome(
    log: RequestLog,
    plans: Sequence[ReplicaPlan],
    replicas: Sequence[AnyReplica],
    recorders: Sequence[StepRecorder | None],
    wasted_tokens: int,
    checkpoints: Checkpoints,
) -> Records:
    """The records of a run, checked: tokens and requests are conserved, and no block stays held.

    ``wasted_tokens`` were computed by prefilling replicas for requests lost afterwards. The last of
    the ``checkpoints`` is the end of the run.
    """
    records = Records.of(log)
    checkpoints.take()
    totals = EngineTotals()
    for replica in replicas:
        replica.check()
        memory = replica.memory
        assert memory.free_blocks == memory.capacity_blocks, "blocks leaked"
        replica.totals.evicted_blocks += memory.evicted_blocks
        replica.totals.capacity_blocks = memory.capacity_blocks
        totals.add(replica.totals)
    totals.abandoned_tokens += wasted_tokens
    totals.max_used_blocks, totals.capacity_blocks = fullest(checkpoints.taken)
    size = replicas[0].memory.block_size
    records.engine = totals
    records.gpus = [plan.gpus for plan in plans]
    records.steps = [replica.steps for replica in replicas]
    records.work = [replica.work for replica in replicas]
    if not isinstance(replicas[0].memory, CacheBeside):  # it counts no blocks
        records.query_blocks = int((records.input_tokens // size).sum())
        records.hit_blocks = int((records.cache_read_input_tokens // size).sum())
        records.block_tokens = size
        records.bounded = replicas[0].memory.caching
    records.evicted_blocks = totals.evicted_blocks
    records.step_rows = [row for r in recorders if r is not None for row in r.rows()]
    records.checkpoints = checkpoints.taken
    records.each_replica = checkpoints.each
    records.check()
    return records
