"""What was served as a request table, and as the calls that are billed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np

from sim.providers.bills import Calls
from sim.providers.prices import PriceList
from sim.providers.serve import HostedTimes
from sim.results.records import Records
from sim.results.request_log import ABORTED, COMPLETED, TIMED_OUT, RequestLog
from workloads.trace import Trace


def request_log(trace: Trace, served: HostedTimes, timed: bool) -> RequestLog:
    """The request table; unless ``timed`` it has no times but those of arrival."""
    log = RequestLog(trace)
    log.arrival_s = array("d", served.arrival_s)
    log.hit_tokens = array("q", served.found.read_tokens)
    log.status = [TIMED_OUT if isnan(end) else COMPLETED for end in served.finished_s]
    for request in served.left:
        log.status[request] = ABORTED
    for request, retries in served.retries.items():
        log.retries[request] = retries
    if timed:
        log.first_token_s = array("d", served.first_token_s)
        log.finished_s = array("d", served.finished_s)
        log.scheduled_s = array("d", served.arrival_s)
        for request, sent_s in served.sent_s.items():
            log.scheduled_s[request] = sent_s
    return log


def billed_calls(
    records: Records,
    served: HostedTimes,
    prices: list[PriceList],
    of: Sequence[int],
    lifetimes: list[str],
) -> Calls:
    """Everything that is billed: the last call of each request that was answered, and those given up."""
    found, lost = served.found, served.given_up
    answered = np.flatnonzero(records.completed)
    request = np.concatenate([answered, np.array(lost.request, dtype=np.int64)])
    sent_s = np.array(served.arrival_s)
    for again, at_s in served.sent_s.items():
        sent_s[again] = at_s
    sent_s = np.concatenate([sent_s[answered], np.array(lost.sent_s)])
    inputs = records.input_tokens[request]
    first_card = np.concatenate([[0], np.cumsum([len(one.cards) for one in prices])]).tolist()
    sizes = zip(inputs.tolist(), sent_s.tolist(), strict=True)
    if len(prices) == 1:
        card = [prices[0].card(*size) for size in sizes]
    else:
        models = [of[i] for i in request.tolist()]
        card = [first_card[m] + prices[m].card(*size) for m, size in zip(models, sizes, strict=True)]

    def both(last: Any, given_up: Any, kind: type) -> Any:
        return np.concatenate([np.array(last, dtype=kind)[answered], np.array(given_up, dtype=kind)])

    return Calls(
        request=request,
        session=records.session[request],
        turn=records.turn[request],
        tenant=records.tenant[request],
        card=np.array(card, dtype=np.int64),
        input_tokens=inputs,
        output_tokens=both(records.output_tokens, lost.output_tokens, np.int64),
        read_tokens=both(found.read_tokens, lost.read_tokens, np.int64),
        written={
            name: both(last, given_up, np.int64)
            for name, last, given_up in zip(
                lifetimes, found.written_tokens, lost.written_tokens, strict=True
            )
        },
        created_tokens=both(found.created_tokens, lost.created_tokens, np.int64),
        storage_s=both(found.storage_s, lost.storage_s, np.float64),
        given_up=np.arange(len(request)) >= len(answered),
    )
