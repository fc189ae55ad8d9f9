"""The content of logged calls: which segments their prompts and replies are."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.content import ROOT
from workloads.errors import InputError
from workloads.formats.call import Call
from workloads.formats.history import Histories
from workloads.formats.placing import Placing
from workloads.trace import NONE, Trace

LEAST_SCALE = 0.1
"""Where logs say that a token has more than 40 characters, they count something else."""
SYSTEM_ROLES = frozenset({"system", "developer", "tools", "head"})


class CallContent:
    """Places all calls, in their order, in the content tree of ``trace``."""

    def __init__(
        self, trace: Trace, histories: Histories, calls: Sequence[Call], reply_tokens: int | None
    ) -> None:
        self.prompts: list[int] = []
        self.replies: list[int] = []
        self.output_tokens = [_output_tokens(call, histories, reply_tokens) for call in calls]
        self._trace = trace
        self._histories = histories
        self._calls = calls
        self._reasoning = _find_replies(calls, histories, self.output_tokens)
        self.scale, self._heads = _scale(calls, histories)
        self._placing = Placing(trace.content, histories, self.scale)
        for head, tokens in self._heads.items():
            self._placing.put_head(head, tokens)
        for call, output_tokens in zip(calls, self.output_tokens, strict=True):
            self._place(call, output_tokens)

    def _place(self, call: Call, output_tokens: int) -> None:
        content = self._trace.content
        if call.node is None:
            prompt = self._by_usage(call)
        else:
            prompt = self._placing.prompt(call.node, call.input_tokens, call.read_tokens)
        self.prompts.append(prompt)
        if call.reply is None or call.reasoning_tokens:
            self.replies.append(content.append(prompt, output_tokens))
        else:
            self.replies.append(self._placing.reply(call.reply, prompt, output_tokens))

    def _by_usage(self, call: Call) -> int:
        """A prompt of which only the length is known, behind the call before it in its session."""
        content, tokens = self._trace.content, call.input_tokens
        if tokens is None:
            raise InputError(f"{call.where}: neither messages nor the length of the prompt; allowed: one")
        if call.follows == NONE:
            return content.append(ROOT, tokens)
        at = self.replies[call.follows]
        if tokens >= content.end[at]:
            return content.append(at, tokens - content.end[at]) if tokens > content.end[at] else at
        shared = min(call.read_tokens or 0, tokens - 1, content.end[self.prompts[call.follows]])
        while content.end[content.parent[at]] >= shared > 0:
            at = content.parent[at]
        if not shared:
            at = ROOT
        elif content.end[at] > shared:
            at = content.cut(at, shared - content.end[content.parent[at]])
        return content.append(at, tokens - content.end[at])

    def name_messages(self) -> None:
        """Tell the trace which segments go on with a message and which end a system message."""
        trace, histories = self._trace, self._histories
        if not trace.messages:
            return
        placed = self._placing.nodes()
        ends = {*placed.values(), *self.replies, *self.prompts}
        trace.continuations = {
            segment
            for segment in range(1, len(trace.content))
            if (above := trace.content.parent[segment]) != ROOT and above not in ends
        }
        trace.system_messages = {
            segment
            for node, segment in placed.items()
            if segment != ROOT and histories.role[node] in SYSTEM_ROLES
        }

    def notes(self, counted: str) -> list[str]:
        """What was assumed about content and lengths; ``counted``: how texts without a logged one were."""
        calls, notes = self._calls, []
        unlogged = sum(call.input_tokens is None for call in calls)
        lengths = sum(call.node is None for call in calls)
        if unlogged:
            notes.append(f"the lengths of {unlogged:,} of {len(calls):,} prompts are {counted}")
        if lengths:
            notes.append(
                f"{lengths:,} of {len(calls):,} calls have no text: a prompt that is longer than "
                "the one before it in its session with its reply is taken to contain both, a shorter one "
                "what the provider read from its cache: hit rates rest on this"
            )
        if self._heads:
            sizes = sorted(self._heads.values())
            many = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
            notes.append(
                f"what stands before the first message (system prompt, tools) is not in the file: "
                f"{many} tokens "
                f"by the first prompts, in {len(sizes):,} variants"
            )
        if self._placing.shortened:
            notes.append(
                f"{self._placing.shortened:,} prompts are logged with fewer tokens than the messages they "
                "share with others: their end is taken to be new"
            )
        if self._reasoning:
            notes.append(
                f"{self._reasoning:,} replies are not resent whole (reasoning): their KV is not reused"
            )
        return notes


def _output_tokens(call: Call, histories: Histories, reply_tokens: int | None) -> int:
    """Length of a reply: as logged, else that of its text, else as configured."""
    if call.output_tokens is not None:
        return max(1, call.output_tokens)
    if call.reply is not None:
        return max(1, round(histories.tokens[call.reply]))
    if reply_tokens is None:
        raise InputError(
            f"{call.where}: no reply and no length of one; allowed: either, or reply_tokens in the "
            "configuration"
        )
    return reply_tokens


def _find_replies(calls: Sequence[Call], histories: Histories, output_tokens: list[int]) -> int:
    """Find replies that only the next prompt shows, and which replies are not resent whole.

    Sets the size of every reply as it is resent; returns how many are resent without their reasoning.
    """
    for call in calls:
        earlier = call.continues
        if earlier == NONE or call.node is None:
            continue
        before = calls[earlier]
        assert before.node is not None
        resent = histories.child_towards(call.node, before.node)
        assert resent is not None
        if before.reply is None:
            before.reply = resent
        if resent == before.reply:
            before.reasoning_tokens = _not_resent(before, call, output_tokens[earlier], histories)
    for call, tokens in zip(calls, output_tokens, strict=True):
        if call.reply is not None:
            histories.sizes[call.reply] = max(1, tokens - call.reasoning_tokens)
    return sum(call.reasoning_tokens > 0 for call in calls)


def _not_resent(before: Call, call: Call, output_tokens: int, histories: Histories) -> int:
    """Tokens of the reply to ``before`` that ``call``, which goes on from it, does not resend.

    Whether reasoning is resent depends on the API and the model. What the prompt has grown by tells: of all
    of the reply and the reply without its reasoning, the one that leaves more nearly what the new messages
    should have. A reply for which there is no room is not resent whole.
    """
    if before.input_tokens is None or call.input_tokens is None:
        return before.reasoning_tokens
    grown, node, messages, about = call.input_tokens - before.input_tokens, call.node, 0, 0.0
    while node is not None and node != before.reply:
        messages, about = messages + 1, about + histories.tokens[node]
        node = histories.before[node]
    hidden = before.reasoning_tokens
    left = grown - output_tokens
    if abs(left - about) < abs(left + hidden - about):
        hidden = 0
    if left + hidden < messages:
        hidden = output_tokens - max(1, grown - messages)
    return hidden


def _scale(calls: Sequence[Call], histories: Histories) -> tuple[float, dict[int, int]]:
    """Logged tokens per estimated one, and the sizes of heads that no log shows.

    Where prompts have such a head, the tokens that a turn adds tell the scale. A head is as long as the
    least that the first prompts of its sessions have too many.
    """
    known = [0.0] * len(histories.before)
    about = [0.0] * len(histories.before)
    for node in range(1, len(known)):
        size, before = histories.sizes.get(node), histories.before[node]
        known[node] = known[before] + (size or 0)
        about[node] = about[before] + (0.0 if size else histories.tokens[node])
    logged = estimated = 0.0
    for call in calls:
        if call.node is None or call.input_tokens is None:
            continue
        tokens, guess = call.input_tokens - known[call.node], about[call.node]
        if call.head is not None:
            earlier = calls[call.continues] if call.continues != NONE else None
            if earlier is None or earlier.node is None or earlier.input_tokens is None:
                continue
            tokens -= earlier.input_tokens - known[earlier.node]
            guess -= about[earlier.node]
        if tokens > 0:
            logged += tokens
            estimated += guess
    scale = max(LEAST_SCALE, logged / estimated) if logged and estimated else 1.0
    heads: dict[int, int] = {}
    for call in calls:
        if call.head is None or call.node is None or call.input_tokens is None:
            continue
        if call.follows == NONE:
            left = max(0, round(call.input_tokens - known[call.node] - scale * about[call.node]))
            heads[call.head] = min(left, heads.get(call.head, left))
    for call in calls:
        if call.head is not None:
            heads.setdefault(call.head, 0)
    return scale, heads
