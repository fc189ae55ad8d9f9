"""Pairs of client habits to compare on one chat: a good one and a bad one."""

from __future__ import annotations

from typing import Any

from pydantic import field_serializer

from workloads.base import Workload
from workloads.errors import InputError
from workloads.generators.chat import ChatWorkload
from workloads.habits import Habits
from workloads.schema import Schema


class HabitPair(Schema):
    """``{good: HABITS, bad: HABITS}``: each says what it changes of the workload's own habits."""

    good: Habits = Habits()
    """The habits of the good client; by default the workload's."""
    bad: Habits
    """What the bad client does otherwise."""

    @field_serializer("good", "bad")
    def _only_what_is_written(self, habits: Habits) -> dict[str, Any]:
        return habits.model_dump(mode="json", include=habits.model_fields_set, exclude_none=True)


USUAL = {
    name: HabitPair.model_validate({"good": good, "bad": bad})
    for name, good, bad in (
        ("clock", {"system_prompt": "fixed"}, {"system_prompt": "clock"}),
        ("fields-in-system", {"dynamic_fields": "user"}, {"dynamic_fields": "system"}),
        ("window", {"history": "append"}, {"history": "window"}),
        ("summarise", {"history": "append"}, {"history": "summarise"}),
        ("edit", {"history": "append"}, {"history": "edit"}),
    )
}
"""The pairs of an experiment that names none, with the habits' default parameters."""


def changed(workload: Workload, change: Habits, key: str) -> ChatWorkload:
    """The same chat with the habits written in ``change``; InputError at ``key`` if it cannot be."""
    if not isinstance(workload, ChatWorkload):
        raise InputError(
            f"workload.kind = {workload.kind!r}: only generated chats have habits; allowed: chat"
        )
    written = {name: getattr(change, name) for name in change.model_fields_set}
    habits = workload.habits.model_copy(update=written)
    try:
        habits.require_place(workload.system_prompt.tokens)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None
    return workload.model_copy(update={"habits": habits})


def pair(workload: Workload, both: HabitPair, key: str) -> tuple[ChatWorkload, ChatWorkload]:
    """The chat under the good and under the bad habit; InputError if they are the same."""
    good = changed(workload, both.good, f"{key}.good")
    bad = changed(workload, both.bad, f"{key}.bad")
    if good == bad:
        raise InputError(f"{key}: good and bad are the same habits; allowed: two that differ")
    return good, bad


def described(habits: Habits) -> str:
    """What ``habits`` writes, in short: each habit with the parameters that are not the default ones."""
    parts = []
    for name in Habits.model_fields:
        if name in habits.model_fields_set:
            habit = getattr(habits, name)
            words = [f"{name}: {habit.kind}"]
            for key, field in type(habit).model_fields.items():
                value = getattr(habit, key)
                if value != field.default:
                    words.append(key if value is True else f"{key} {value}")
            parts.append(", ".join(words))
    return "; ".join(parts) or "as configured"
