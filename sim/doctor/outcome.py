"""The outcome of the doctor as it is printed by ``--json``: types, units and what each figure means."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from sim.results.about import About


class CauseEntry(TypedDict):
    """What one cause of misses cost."""

    cause: Annotated[str, About("", "Its name; `docs/doctor.md` says what each means.")]
    provider_reason: Annotated[str, About("", "The provider's own word for it; empty where it has none.")]
    calls: Annotated[int, About("calls", "Calls that it explains.")]
    tokens: Annotated[int, About("tokens", "Tokens that the call before had left and that were not read.")]
    usd: Annotated[float, About("USD", "What writing them cost above reading them.")]


class ReasonEntry(TypedDict):
    """The same in the provider's words."""

    reason: Annotated[str, About("", "As in the provider's diagnosis of a reply.")]
    calls: Annotated[int, About("calls", "Calls whose cause has this word.")]
    tokens: Annotated[int, About("tokens", "Tokens that were not read.")]
    usd: Annotated[float, About("USD", "What that cost.")]
    said: Annotated[int, About("calls", "Calls for which the log has this word from the provider itself.")]


class GroupEntry(TypedDict):
    """The misses of some calls: a session, a day, a project, a version of the client."""

    name: Annotated[str, About("", "Which; sessions and projects are numbered unless `--names` is given.")]
    calls: Annotated[int, About("calls", "Calls in it.")]
    billed_usd: Annotated[float, About("USD", "Input as billed.")]
    lost_usd: Annotated[float, About("USD", "What misses cost, first calls left out.")]
    lost_share: Annotated[float, About("0-1", "The part of the bill that is.")]
    worst: Annotated[str, About("", "The cause that cost most; empty where nothing was lost.")]


class AliveEntry(TypedDict):
    """Losses inside the lifetime of one version of the client at one kind of turn."""

    client: Annotated[str, About("", "Version of the client; `all` for all of them.")]
    turn: Annotated[str, About("", "What the call answers: a `user`, or a `tool`.")]
    calls: Annotated[int, About("calls", "Calls whose prefix was there by the rules.")]
    lost: Annotated[int, About("calls", "Those of them that did not find it.")]
    share: Annotated[float, About("0-1", "The part that is.")]
    usd: Annotated[float, About("USD", "What that cost.")]


class Expected(TypedDict):
    """The bill of one half of the lanes with losses inside the lifetime as an expectation."""

    lanes: Annotated[int, About("lanes", "Lanes that the expectation is held against.")]
    billed_usd: Annotated[float, About("USD", "What they were billed.")]
    predicted_usd: Annotated[float, About("USD", "By the rules alone.")]
    expected_usd: Annotated[float, About("USD", "With losses as frequent as in the other half.")]
    rules_error: Annotated[float, About("0-1", "How far the rules alone are off, signed.")]
    expected_error: Annotated[float, About("0-1", "How far the expectation is off, signed.")]


class Invoice(TypedDict):
    """The log beside what the provider charged."""

    invoice_usd: Annotated[float, About("USD", "The invoice, as given.")]
    input_usd: Annotated[float, About("USD", "Input of the logged calls.")]
    output_usd: Annotated[float, About("USD", "Their output, as far as the log has it: a lower bound.")]
    difference_usd: Annotated[float, About("USD", "The invoice less both.")]
    unlogged_at_least_usd: Annotated[
        float, About("USD", "Writing what logged calls read and no logged call had written.")
    ]


class WhatIf(TypedDict):
    """What the same calls would have cost with one thing changed."""

    change: Annotated[str, About("", "What is changed.")]
    usd: Annotated[float, About("USD", "What that saves; negative: it costs more.")]
    interval: Annotated[
        tuple[float, float] | None,
        About("USD", "95 % interval of the saving over resampled sessions; None: there is one session."),
    ]
    kind: Annotated[
        Literal["client", "upper bound", "other answers"],
        About(
            "",
            "What a client could have done; what none could, knowing no more than it did; or what changes "
            "answers too, or is another model.",
        ),
    ]
    note: Annotated[str, About("", "What the figure rests on.")]


class Diagnosis(TypedDict):
    """The outcome; dollars are those of the input."""

    calls: Annotated[int, About("calls", "Billed calls in the log; rows of one reply are one call.")]
    lanes: Annotated[int, About("lanes", "Threads: main ones and sub-agents.")]
    sessions: Annotated[int, About("sessions", "Sessions that they belong to.")]
    given: Annotated[int, About("calls", "First calls of a lane, taken as billed.")]
    exact: Annotated[int, About("calls", "Calls whose read, write and plain input all equal the bill.")]
    within_1_percent: Annotated[
        int, About("calls", "Calls whose read is off by at most 1 % of the prompt's tokens.")
    ]
    billed_usd: Annotated[float, About("USD", "What was billed.")]
    predicted_usd: Annotated[float, About("USD", "The same by the rules.")]
    absolute_error_usd: Annotated[float, About("USD", "The difference of each call, added up unsigned.")]
    uncached_usd: Annotated[float, About("USD", "The same prompts if nothing were cached.")]
    saved_usd: Annotated[float, About("USD", "`uncached_usd` less `billed_usd`.")]
    lost_usd: Annotated[float, About("USD", "What misses cost, first calls left out.")]
    lost_share: Annotated[float, About("0-1", "`lost_usd` as a part of `billed_usd`.")]
    causes: Annotated[list[CauseEntry], About("", "Why less was read than there was, most dollars first.")]
    reasons: Annotated[list[ReasonEntry], About("", "The same in the provider's words.")]
    by_session: Annotated[list[GroupEntry], About("", "The sessions that lost most.")]
    by_day: Annotated[list[GroupEntry], About("", "In order of time: days, or months if that is known.")]
    by_project: Annotated[list[GroupEntry], About("", "Folders that the client worked in.")]
    by_version: Annotated[list[GroupEntry], About("", "Versions of the client.")]
    lost_alive: Annotated[list[AliveEntry], About("", "Losses inside the lifetime: a regression shows.")]
    expected: Annotated[
        list[Expected],
        About("", "Each half of the lanes by the losses of the other; empty where there are too few."),
    ]
    what_if: Annotated[list[WhatIf], About("", "Changes priced by replay, the best first.")]
    invoice: NotRequired[Annotated[Invoice, About("", "With `--invoice-usd`.")]]
    notes: Annotated[list[str], About("", "What a reader has to know.")]
