"""A chat client that writes every prompt out token by token, habits applied as a client would."""

from __future__ import annotations

from typing import Any

Token = tuple[Any, ...]
Message = list[Token]


def words(count: int, *name: Any) -> Message:
    """A text of ``count`` tokens that equals another one exactly if it has the same name."""
    return [(*name, i) for i in range(count)]


def system_message(text: Message, request: int, habits: dict[str, Any]) -> Message:
    """The text with the time and the fields of this request written into it, the later place first."""
    insertions = []
    clock, fields = habits["system_prompt"], habits["dynamic_fields"]
    if clock["kind"] == "clock":
        insertions.append((clock["at_token"], words(clock["tokens"], "clock", request)))
    if fields["kind"] == "system":
        at = len(text) if fields["at_token"] is None else fields["at_token"]
        insertions.append((at, words(fields["tokens"], "fields", request)))
    for at, words_there in sorted(insertions, reverse=True):
        text = text[:at] + words_there + text[at:]
    return text


def revised(
    turns: list[tuple[Message, Message]], summary: Message, request: int, habit: dict[str, Any]
) -> tuple[list[tuple[Message, Message]], Message]:
    """The earlier turns and the summary before them as the client keeps them when it asks again."""
    kind = habit["kind"]
    if kind == "window":
        return turns[-habit["turns"] :], summary
    if kind == "summarise" and len(turns) > habit["turns"]:
        kept = turns[len(turns) - habit["keep_turns"] :]
        return kept, words(habit["tokens"], "summary", request)
    if kind == "edit":
        number = habit["turn"] - 1 if habit["turn"] > 0 else len(turns) + habit["turn"]
        if 0 <= number < len(turns):
            user, reply = turns[number]
            turns = [*turns[:number], (words(len(user), "edited", request), reply), *turns[number + 1 :]]
    return turns, summary


def prompts(
    sessions: list[list[tuple[int, int]]],
    texts: list[Any],
    text_tokens: int,
    habits: dict[str, Any],
    steps: list[str] | None = None,
    document_tokens: int = 0,
) -> list[list[Message]]:
    """The messages of every prompt, request by request.

    ``sessions`` are lists of (user tokens, reply tokens) per turn; ``texts`` names the text of each
    request's system message. ``steps`` says of each turn whether the user asks, has the last prompt
    answered again (regenerate) or rewrites the last question (edit). Each session has its own document.
    """
    out: list[list[Message]] = []
    for session, turns_of_one in enumerate(sessions):
        turns: list[tuple[Message, Message]] = []
        summary: Message = []
        document = words(document_tokens, "document", session)
        for user_tokens, reply_tokens in turns_of_one:
            request = len(out)
            step = "ask" if steps is None or not turns else steps[request]
            said = words(user_tokens, "user", request)
            if step == "edit":
                turns = turns[:-1]
            if step == "regenerate":
                turns, said = turns[:-1], turns[-1][0]
            else:
                turns, summary = revised(turns, summary, request, habits["history"])
            system = system_message(words(text_tokens, "text", texts[request]), request, habits)
            fields = habits["dynamic_fields"]
            resent = step == "regenerate" and fields.get("kept")
            new_fields = fields["kind"] == "user" and not resent
            sent = said + (words(fields["tokens"], "fields", request) if new_fields else [])
            history = [message for turn in turns for message in turn]
            out.append([message for message in (system, document, summary, *history, sent) if message])
            remembered = sent if fields.get("kept") else said
            turns = [*turns, (remembered, words(reply_tokens, "reply", request))]
    return out
