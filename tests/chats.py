"""Small chats under any habits, as a configuration and written out as a client would send them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.oracles import naive_prompts
from workloads.generators.chat import ChatWorkload
from workloads.trace import Trace

TEXT = 30
"""Tokens of the system message's text in most tests."""


def workload(habits: dict[str, Any], **changes: Any) -> ChatWorkload:
    plain: dict[str, Any] = {
        "kind": "chat",
        "sessions": 4,
        "arrival": {"process": "poisson", "rate_per_s": 1},
        "turns": {"distribution": "geometric", "mean": 5},
        "think_time_s": {"distribution": "exponential", "mean": 9},
        "system_prompt": {"tokens": TEXT},
        "user_tokens": {"distribution": "uniform", "low": 1, "high": 6},
        "reply_tokens": {"distribution": "uniform", "low": 1, "high": 6},
        "habits": habits,
    }
    return ChatWorkload.model_validate(plain | changes)


def drawn(trace: Trace) -> list[list[tuple[int, int]]]:
    """(user tokens, reply tokens) of every turn by session, of a chat with good habits."""
    trace = trace.by_message
    ends, parents = trace.content.end, trace.content.parent
    sessions: list[list[tuple[int, int]]] = [[] for _ in range(max(trace.session) + 1)]
    for prompt, reply, session in zip(trace.prompt, trace.output_tokens, trace.session, strict=True):
        sessions[session].append((ends[prompt] - ends[parents[prompt]], reply))
    return sessions


@dataclass(frozen=True)
class Chat:
    """A chat as the generator lays it out, and its prompts as lists of messages, token by token."""

    trace: Trace
    prompts: list[list[naive_prompts.Message]]

    def whole(self) -> list[list[naive_prompts.Token]]:
        """Each prompt as one list of tokens."""
        return [[token for message in prompt for token in message] for prompt in self.prompts]


def chat(habits: dict[str, Any], seed: int, **changes: Any) -> Chat:
    """Both for ``workload(habits, **changes)``; all requests have the same text in the system message."""
    configured, plain = workload(habits, **changes), workload({}, **changes)
    trace = configured.build(seed, Path())
    texts = [0] * len(trace)
    text = configured.system_prompt.tokens
    return Chat(trace, naive_prompts.prompts(drawn(plain.build(seed, Path())), texts, text, habits))


def common(one: list[Any], other: list[Any]) -> int:
    """How many leading items are equal."""
    most = min(len(one), len(other))
    return next((i for i in range(most) if one[i] != other[i]), most)


AT = st.integers(0, TEXT)
SYSTEM_HABITS = st.one_of(
    st.just({"kind": "fixed"}),
    st.fixed_dictionaries({"kind": st.just("clock"), "tokens": st.integers(1, 5), "at_token": AT}),
)
FIELDS = st.one_of(
    st.just({"kind": "none"}),
    st.fixed_dictionaries({"kind": st.just("user"), "tokens": st.integers(1, 5), "kept": st.booleans()}),
    st.fixed_dictionaries(
        {"kind": st.just("system"), "tokens": st.integers(1, 5), "at_token": st.none() | AT}
    ),
)
HISTORIES = st.one_of(
    st.just({"kind": "append"}),
    st.fixed_dictionaries({"kind": st.just("window"), "turns": st.integers(1, 4)}),
    st.integers(1, 4).flatmap(
        lambda turns: st.fixed_dictionaries(
            {
                "kind": st.just("summarise"),
                "turns": st.just(turns),
                "keep_turns": st.integers(0, turns),
                "tokens": st.integers(1, 9),
            }
        )
    ),
    st.fixed_dictionaries({"kind": st.just("edit"), "turn": st.integers(1, 4) | st.integers(-4, -1)}),
)
HABITS = st.fixed_dictionaries(
    {"system_prompt": SYSTEM_HABITS, "dynamic_fields": FIELDS, "history": HISTORIES}
)
