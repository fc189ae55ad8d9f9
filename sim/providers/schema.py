"""The caching rules of a provider as data: what one record says, with the provenance of each value."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from workloads.schema import MOST_S, Schema, Usd

SOURCED = {"value", "source", "seen", "confidence", "alternatives"}
"""Keys of a value that is written with its provenance."""
Mode = Literal["automatic", "explicit"]
UNLIMITED = 10**9


Seconds = Annotated[float, Field(gt=0, le=1e15)]
"""Of a lifetime; the longest one has no end."""
Multiple = Annotated[float, Field(ge=0, le=1e6)]
"""Of the input price."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{error}; allowed: a regular expression") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]


def _window(times: tuple[time, time]) -> tuple[time, time]:
    begin, end = times
    if begin.tzinfo is not None or end.tzinfo is not None or begin >= end:
        raise ValueError("allowed: [begin, end] of one day in UTC, such as ['01:00', '04:00']")
    return times


class Lifetime(Schema):
    """A lifetime that the provider sells, and what writing costs.

    An entry lives ``seconds``, or as long as drawn evenly between ``seconds`` and ``longest_s``, but no
    longer than ``cap_s`` after it was first written. ``write_mult`` is the price of a written token as a
    multiple of the input price where the price list has none; null: writes are not billed apart.
    ``list_price`` names the price in the price library.
    """

    name: str = Field(min_length=1)
    """What the provider calls it, such as 5m."""
    seconds: Seconds
    """How long an entry lives, s."""
    longest_s: Seconds | None = None
    """Its longest life, s, where that is drawn evenly from `seconds` on."""
    cap_s: Seconds | None = None
    """Its longest life since it was first written, s, however often it is read."""
    write_mult: Multiple | None = None
    """Price of a written token as a multiple of the input price; null: writes are not billed apart."""
    list_price: Literal["cache_write_mtok", "cache_write_1h_mtok"] | None = None
    """Which price of the price library holds for writes."""

    @model_validator(mode="after")
    def _no_shorter_than_itself(self) -> Lifetime:
        if self.longest_s is not None and self.longest_s < self.seconds:
            raise ValueError(f"longest_s ({self.longest_s:g}) must be at least seconds ({self.seconds:g})")
        return self


class Routing(Schema):
    """Which machine serves: a hash of the first ``prefix_tokens`` and the client's cache key.

    A machine takes ``rpm`` requests within 60 s, further ones overflow to the next, which is cold.
    ``budget`` says whether that counts per key and prefix or per key alone.
    """

    prefix_tokens: PositiveInt
    """First tokens of a prompt that decide, with the cache key, which machine serves."""
    rpm: PositiveInt
    """Requests that a machine takes within 60 s; further ones go to another one, which is cold."""
    budget: Literal["prefix_key", "key"] = "prefix_key"
    """Whether `rpm` counts per prefix and key, or per key alone."""


class Peak(Schema):
    """Hours of the day (UTC) in which every price is multiplied."""

    windows_utc: list[Annotated[tuple[time, time], AfterValidator(_window)]] = Field(min_length=1)
    """Hours of the day, UTC: `[['01:00', '04:00']]`."""
    weekdays: list[Annotated[int, Field(ge=0, le=6)]] = Field(min_length=1)
    """Days on which the windows hold, Monday is 0."""
    holidays: list[date] = Field(default=[])
    """Days on which no window holds."""
    mult: float = Field(gt=0, le=1e6)
    """The factor on every price."""


Probability = Annotated[float, Field(ge=0, le=1)]


class ByTurn(Schema):
    """A probability for requests that answer a user, and one for those that answer a tool's result."""

    user: Probability = 1.0
    """Probability for requests that answer a user."""
    tool: Probability = 1.0
    """Probability for requests that answer a tool's result."""


def _probability(value: Any) -> Any:
    """A number for all, or one by kind of turn."""

    def share(number: Any) -> bool:
        return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1

    by_turn = (
        isinstance(value, dict) and value.keys() <= {"user", "tool"} and all(map(share, value.values()))
    )
    if by_turn or share(value) or isinstance(value, ByTurn):
        return value
    raise ValueError("allowed: a number from 0 to 1, or {user: ..., tool: ...} with such numbers")


HitProbability = Annotated[float | ByTurn, BeforeValidator(_probability)]


class Storage(Schema):
    """Storage price of ``object`` caches by model, USD per million tokens and hour; first match that still
    holds wins."""

    match: Pattern
    """A regular expression for the model's name."""
    usd: Usd
    """USD per million tokens and hour."""
    until: date | None = None
    """The day before which it holds; null: for good."""


COMMON = (
    "kind", "match", "modes", "lifetimes", "min_tokens", "hit_probability", "read_mult", "read_mult_until",
    "scope", "routing", "usage_style", "peak", "batch", "notes", "at_ttl",
)  # fmt: skip
TIMED = ("clock", "refresh_on_read", "visible_at", "visible_delay_s")
GRID = ("granularity", "first_tokens", "unstored_tokens")
USED = {
    "breakpoint": (
        *TIMED, "auto_mark", "client_marks", "max_writes", "over_limit", "lookback", "lookback_unit",
        "opening", "opening_written",
    ),
    "grid": (*TIMED, *GRID),
    "chance": (*TIMED, *GRID),
    "unit": (*TIMED, "unit_at_reply_end", "common_prefix_after", "interval_tokens"),
    "object": ("client_marks", "storage_usd_per_mtok_hour"),
}  # fmt: skip
"""The rules that each kind uses beside the common ones; what a user gives must be among them."""


class DatedMultiple(Schema):
    """The price of a read token as a multiple of the input price before the day ``until``."""

    until: date
    """The day before which it held."""
    mult: Multiple
    """Price of a read token as a multiple of the input price."""


class Rules(Schema):
    """How one provider caches prompts for the models and modes that the record names.

    ``kind``: ``breakpoint`` (entries end at marks), ``grid`` (any stored prefix, rounded down to
    ``granularity``), ``unit`` (whole stored units only), ``object`` (made and paid for by the client),
    ``chance`` (a grid without a promise: what is there may be found, see ``hit_probability``).
    """

    match: Pattern
    """A regular expression for the names of the models."""
    modes: list[Mode]
    """The caching modes that the record is about."""
    kind: Literal["breakpoint", "grid", "unit", "object", "chance"]
    """What is found: `breakpoint`, `grid`, `unit`, `object` or `chance` (docs/providers.md)."""
    lifetimes: list[Lifetime] = Field(min_length=1)
    """The first one is the default."""
    min_tokens: NonNegativeInt = 0
    """Shortest prompt, or entry, that is cached, in tokens."""
    granularity: PositiveInt = 1
    """Steps in which a match grows, in tokens."""
    first_tokens: NonNegativeInt = 0
    """Where the steps of ``granularity`` begin: a match is this long or a number of steps longer."""
    unstored_tokens: NonNegativeInt = 0
    """Tokens at the end of every prompt that are not stored."""
    auto_mark: bool = False
    """Whether the provider puts a breakpoint of its own at the end of the prompt (mode automatic)."""
    client_marks: bool = False
    """Whether the request may carry marks."""
    max_writes: PositiveInt = UNLIMITED
    """Marks of a request that are written at most."""
    over_limit: Literal["reject", "latest"] = "reject"
    """More marks than ``max_writes``: an error, or only the latest are written."""
    lookback: PositiveInt = UNLIMITED
    """How many places before a mark are looked up."""
    lookback_unit: Literal["position", "message"] = "position"
    """What is counted from a mark backwards: all positions, or only ends of messages to the model."""
    opening: bool = False
    """Whether the end of the system message is always tried as well."""
    opening_written: bool = False
    """Whether a request writes an entry there too, without a mark of the client's."""
    clock: Literal["request_start", "response_end"] = "request_start"
    """When a lifetime begins: at the `request_start` or at the `response_end`."""
    refresh_on_read: bool = True
    """Whether a read begins the lifetime anew."""
    at_ttl: Literal["miss", "hit"] = "miss"
    """A lookup at exactly the end of the lifetime."""
    visible_at: Literal["request_start", "first_token", "response_end"] = "first_token"
    """When what a request writes can be read: at its start, its first token, or its end."""
    visible_delay_s: float = Field(default=0.0, ge=0, le=MOST_S)
    """How much later than that, s."""
    hit_probability: HitProbability = 1.0
    """Share of the lookups that find what is there; the others find nothing and write anew."""
    read_mult: Multiple = 1.0
    """Price of a read token as a multiple of the input price where the price list has none."""
    read_mult_until: list[DatedMultiple] = Field(default=[])
    """What it was earlier, whatever the price list says; ascending, the first that still held counts."""
    storage_usd_per_mtok_hour: list[Storage] = Field(default=[])
    """Price of keeping cache objects, by model."""
    scope: Literal["organisation", "subscription", "workspace", "project"] = "organisation"
    """Who shares a cache."""
    routing: Routing | None = None
    """Which machine serves, where each has a cache of its own; null: there is one."""
    usage_style: Literal["inclusive", "exclusive"] = "inclusive"
    """Whether the reported input tokens are with (`inclusive`) or without (`exclusive`) cached ones."""
    unit_at_reply_end: bool = True
    """Whether the end of a reply ends a unit."""
    common_prefix_after: PositiveInt | None = None
    """So many requests with a common prefix make it a unit; null: never."""
    interval_tokens: PositiveInt | None = None
    """Units at every so many tokens; null: none."""
    peak: Peak | None = None
    """Hours at which prices are multiplied; null: none."""
    batch: bool = True
    """Whether batch requests may be cached."""
    notes: list[str] = Field(default=[])
    """What a reader of the figures has to know."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return plain(data)

    @model_validator(mode="after")
    def _goes_together(self) -> Rules:
        if len(set(self.sold)) < len(self.sold):
            raise ValueError(f"lifetimes {', '.join(self.sold)}: allowed: each name once")
        if self.unstored_tokens and any(one.write_mult is not None for one in self.lifetimes):
            raise ValueError(
                "unstored_tokens with a write_mult; allowed: where writes are not billed apart"
            )
        if self.interval_tokens is not None and self.routing is not None:
            raise ValueError("interval_tokens does not go with routing; allowed: one of the two")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """The names of the rules that this kind uses."""
        return (*COMMON, *USED[self.kind])

    @property
    def hit_chances(self) -> tuple[float, float]:
        """The probability that a lookup finds what is there, at user turns and at tool turns."""
        chances = self.hit_probability
        return (chances.user, chances.tool) if isinstance(chances, ByTurn) else (chances, chances)

    @property
    def sold(self) -> list[str]:
        """The names of the lifetimes."""
        return [lifetime.name for lifetime in self.lifetimes]


def plain(data: Any) -> Any:
    """``data`` with every sourced value (``{value: 512, source: ...}``) replaced by the value alone."""
    if isinstance(data, list):
        return [plain(item) for item in data]
    if isinstance(data, dict):
        if is_sourced(data):
            return plain(data["value"])
        return {key: plain(value) for key, value in data.items()}
    return data


def is_sourced(data: Any) -> bool:
    """Whether ``data`` is a value written with its provenance."""
    return isinstance(data, dict) and "value" in data and set(data) <= SOURCED
