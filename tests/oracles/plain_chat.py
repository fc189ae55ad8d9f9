"""The chat generator without habits: every turn resends everything, laid out as simply as can be."""

from __future__ import annotations

from workloads.content import ROOT
from workloads.generators.chat import ChatWorkload
from workloads.lengths import whole
from workloads.seeds import stream
from workloads.trace import NONE, Trace


def plain_chat(workload: ChatWorkload, seed: int) -> Trace:
    """The trace of ``workload``, whose habits are not looked at."""
    assert workload.sessions is not None
    turns = whole(workload.turns.sample(stream(seed, "turns"), workload.sessions), "turns")
    starts = workload.arrival.times_s(stream(seed, "arrival"), workload.sessions).tolist()
    thinks = workload.think_time_s.sample(stream(seed, "think"), sum(turns)).tolist()
    users = whole(workload.user_tokens.sample(stream(seed, "user"), sum(turns)), "users")
    replies = whole(workload.reply_tokens.sample(stream(seed, "reply"), sum(turns)), "replies")
    tenants = stream(seed, "tenant").integers(workload.tenants, size=workload.sessions).tolist()
    trace, heads, i = Trace(messages=True), {}, 0
    text, shared_by = workload.system_prompt.tokens, workload.system_prompt.shared_by
    for session, count in enumerate(turns):
        said: list[int] = []
        tenant, before, at = tenants[session], NONE, ROOT
        for turn in range(1, count + 1):
            key = {"all": 0, "tenant": tenant, "session": session, "none": ("new", i)}[shared_by]
            if turn == 1 or shared_by == "none":
                if text and key not in heads:
                    heads[key] = trace.content.append(ROOT, text)
                at = heads.get(key, ROOT)
                for message in said:
                    at = trace.content.append(at, message)
            prompt = trace.content.append(at, users[i])
            start = starts[session] if turn == 1 else None
            before = trace.add(
                prompt=prompt, output_tokens=replies[i], arrival_s=start, follows=before,
                think_s=thinks[i] if turn > 1 else 0.0, session=session, turn=turn, tenant=tenant,
            )  # fmt: skip
            at = trace.reply[before]
            said += [users[i], replies[i]]
            i += 1
    return trace
