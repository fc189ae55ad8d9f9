"""What a chat client does to the prompts it resends: good habits and bad ones.

A habit only decides which message stands where in a prompt. Turns, lengths of user messages and
replies, arrivals and think times are drawn without looking at it, so two chats differ in nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from workloads.schema import AlsoTakes, Schema


class Fixed(Schema):
    """The system message is the same on every request."""

    kind: Literal["fixed"] = "fixed"


class ClockHabit(Schema):
    """The current time in the system message: ``tokens`` more, after its first ``at_token`` tokens.

    The time is another one on every request, so nothing from there on is a known prefix.
    """

    kind: Literal["clock"] = "clock"
    tokens: PositiveInt = 20
    """How many tokens the clock adds to the system message."""
    at_token: int = Field(default=0, ge=0)
    """Behind how many tokens of the system message it stands; 0: at its very beginning."""


class NoFields(Schema):
    """Prompts carry no dynamic fields."""

    kind: Literal["none"] = "none"


class UserFields(Schema):
    """Dynamic fields (user, time, context) as the last ``tokens`` of the newest user message.

    They are new on every request. The client drops them from its history, or with ``kept`` resends every
    earlier user message with the fields that it was sent with.
    """

    kind: Literal["user"] = "user"
    tokens: PositiveInt = 100
    """How many tokens the fields have."""
    kept: bool = False
    """Whether earlier user messages are resent with the fields that they were sent with."""


class SystemFields(Schema):
    """The same fields in the system message, after its first ``at_token`` tokens (default: at its end)."""

    kind: Literal["system"] = "system"
    tokens: PositiveInt = 100
    """How many tokens the fields have."""
    at_token: int | None = Field(default=None, ge=0)
    """Behind how many tokens of the system message they stand; left out: at its end."""


class Append(Schema):
    """The history only ever grows."""

    kind: Literal["append"] = "append"

    def revise(self, messages: list[int]) -> tuple[list[int], int]:
        """The history as it is sent again, and how many of its leading messages stay as they were.

        ``messages`` are lengths in tokens: user message and reply of each earlier turn, oldest first. They
        are not changed in place.
        """
        return messages, len(messages)


class Window(Schema):
    """The history is the last ``turns`` turns; older ones are left out."""

    kind: Literal["window"] = "window"
    turns: PositiveInt = 5
    """How many of the latest turns are kept."""

    def revise(self, messages: list[int]) -> tuple[list[int], int]:
        """Drop the oldest turns; nothing stays in its place then."""
        excess = len(messages) - 2 * self.turns
        return (messages, len(messages)) if excess <= 0 else (messages[excess:], 0)


class Summarise(Schema):
    """Once more than ``turns`` turns stand in the history, one new message replaces the old ones.

    The message has ``tokens`` tokens and stands for the summary before it and for all turns but the last
    ``keep_turns``. The request that writes it is not part of the workload.
    """

    kind: Literal["summarise"] = "summarise"
    turns: PositiveInt = 5
    """Up to how many turns the history grows before it is replaced."""
    keep_turns: int = Field(default=2, ge=0)
    """How many of the latest turns stay as they are, behind the summary."""
    tokens: PositiveInt = 200
    """Length of the summary, in tokens."""

    @model_validator(mode="after")
    def _something_to_replace(self) -> Summarise:
        if self.keep_turns > self.turns:
            raise ValueError(f"keep_turns ({self.keep_turns}) must not exceed turns ({self.turns})")
        return self

    def revise(self, messages: list[int]) -> tuple[list[int], int]:
        """Put a new summary first; nothing stays in its place then."""
        if len(messages) // 2 <= self.turns:  # a summary makes the number of messages odd
            return messages, len(messages)
        return [self.tokens, *messages[len(messages) - 2 * self.keep_turns :]], 0


class Edit(Schema):
    """Before each request the user message of one earlier turn is rewritten, at the same length.

    ``turn`` counts from 1, or back from the last turn: -1 is the turn before the present one.
    """

    kind: Literal["edit"] = "edit"
    turn: int = 1
    """Which turn: 1 is the first one, -1 the one before the present one; 0 is refused."""

    @model_validator(mode="after")
    def _some_turn(self) -> Edit:
        if self.turn == 0:
            raise ValueError("turn 0 does not exist; allowed: 1, 2, ... or -1, -2, ... from the last one")
        return self

    def revise(self, messages: list[int]) -> tuple[list[int], int]:
        """The messages before the rewritten one stay."""
        edited = 2 * (self.turn - 1) if self.turn > 0 else len(messages) + 2 * self.turn
        return messages, edited if 0 <= edited < len(messages) else len(messages)


def _word_is_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


SystemPromptHabit = Annotated[
    Annotated[Fixed | ClockHabit, Field(discriminator="kind")],
    BeforeValidator(_word_is_kind),
    AlsoTakes({"enum": ["fixed", "clock"]}),
]
DynamicFields = Annotated[
    Annotated[NoFields | UserFields | SystemFields, Field(discriminator="kind")],
    BeforeValidator(_word_is_kind),
    AlsoTakes({"enum": ["none", "user", "system"]}),
]
HistoryHabit = Annotated[
    Annotated[Append | Window | Summarise | Edit, Field(discriminator="kind")],
    BeforeValidator(_word_is_kind),
    AlsoTakes({"enum": ["append", "window", "summarise", "edit"]}),
]


class Habits(Schema):
    """A client's habits; a bare word means that habit with its defaults. All good ones by default."""

    system_prompt: SystemPromptHabit = Fixed()
    """What stands in the system message: `fixed`, or `clock`, a time that is new in every request."""
    dynamic_fields: DynamicFields = NoFields()
    """Where fields that change with every request stand: `none`, or at the end of the `user` message, or
    in the `system` message."""
    history: HistoryHabit = Append()
    """What is resent of earlier turns: `append` (all), `window` (the latest), `summarise` or `edit`."""

    def system_parts(self, tokens: int) -> tuple[int, int]:
        """Tokens of a system message (before, from) the first that changes; its text has ``tokens``."""
        stable = whole = tokens
        for part in (self.system_prompt, self.dynamic_fields):
            if isinstance(part, ClockHabit | SystemFields):
                stable = min(stable, tokens if part.at_token is None else part.at_token)
                whole += part.tokens
        return stable, whole - stable

    @property
    def dropped_user_tokens(self) -> int:
        """Tokens at the end of the newest user message that are not in the history later."""
        fields = self.dynamic_fields
        return fields.tokens if isinstance(fields, UserFields) and not fields.kept else 0

    @property
    def kept_user_tokens(self) -> int:
        """Tokens by which every user message is longer, in the history too."""
        fields = self.dynamic_fields
        return fields.tokens if isinstance(fields, UserFields) and fields.kept else 0

    def require_place(self, tokens: int) -> None:
        """Raise ValueError if something stands behind the end of a system message of ``tokens``."""
        for name in ("system_prompt", "dynamic_fields"):
            at = getattr(getattr(self, name), "at_token", None)
            if at is not None and at > tokens:
                raise ValueError(
                    f"habits.{name}.at_token ({at}) lies behind the system message; allowed: 0 to "
                    f"system_prompt.tokens ({tokens})"
                )
