"""Isolation of tenants: the same requests with nothing shared across tenants."""

from __future__ import annotations

from array import array
from dataclasses import replace

from workloads.content import ROOT, ContentTree
from workloads.trace import Trace


def salted(trace: Trace) -> Trace:
    """The trace as it is when every tenant's prompts carry a salt of their own (vLLM's cache_salt).

    Content below the root is one copy per tenant, so no cache can serve one tenant with what another
    one sent; arrivals, lengths and everything else stay. O(requests + segments).
    """
    old, new = trace.content, ContentTree()
    copies: dict[tuple[int, int], int] = {}

    def copy(tenant: int, segment: int) -> int:
        missing, node = [], segment
        while node != ROOT and (tenant, node) not in copies:
            missing.append(node)
            node = old.parent[node]
        at = copies[tenant, node] if node != ROOT else ROOT
        for node in reversed(missing):
            at = copies[tenant, node] = new.append(at, old.end[node] - old.end[old.parent[node]])
        return at

    prompts = [copy(tenant, node) for tenant, node in zip(trace.tenant, trace.prompt, strict=True)]
    replies = [copy(tenant, node) for tenant, node in zip(trace.tenant, trace.reply, strict=True)]

    marks = trace.marks
    if marks is not None:
        marks = [
            [(copy(tenant, node), ttl_s) for node, ttl_s in mine]
            for tenant, mine in zip(trace.tenant, marks, strict=True)
        ]

    def copied(segments: set[int]) -> set[int]:
        return {copies[key] for key in copies if key[1] in segments}

    return replace(
        trace,
        content=new,
        prompt=array("q", prompts),
        reply=array("q", replies),
        marks=marks,
        continuations=copied(trace.continuations),
        system_messages=copied(trace.system_messages),
        resent_replies=copied(trace.resent_replies),
        several={copies[key]: trace.several[key[1]] for key in copies if key[1] in trace.several},
    )
