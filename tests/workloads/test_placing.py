"""Conversations in the content tree: exact lengths, shared beginnings, whatever was logged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workloads.content import ROOT, ContentTree
from workloads.formats.history import PIECE_CHARACTERS, START, Histories
from workloads.formats.placing import Placing

HEAD = "a" * PIECE_CHARACTERS
TEXTS = st.sampled_from([HEAD + HEAD + "b" * 70, HEAD + "c" * 200, HEAD + HEAD, "d" * 30, "e" * 90, ""])
ROLES = st.sampled_from(["user", "assistant", "tool"])
PROMPTS = st.lists(st.tuples(ROLES, TEXTS), min_size=1, max_size=5)
LOGGED = st.none() | st.integers(1, 400)


def _common(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> tuple[int, bool]:
    """Whole messages in common, and whether the next ones may begin alike."""
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    partly = same < min(len(a), len(b)) and a[same][0] == b[same][0] and a[same][1][:64] == b[same][1][:64]
    return same, partly


def _shared(content: ContentTree, a: int, b: int) -> int:
    path = set(content.path(a))
    return max((content.end[segment] for segment in content.path(b) if segment in path), default=0)


@given(st.lists(st.tuples(PROMPTS, LOGGED), min_size=1, max_size=12))
def test_logged_lengths_are_exact_and_nothing_else_is_shared(
    prompts: list[tuple[list[tuple[str, str]], int | None]],
) -> None:
    """Each prompt ends where its log says; prompts share tokens only if their messages agree."""
    histories, content = Histories(lambda text: len(text) / 4), ContentTree()
    placing = Placing(content, histories)
    ends = []
    for messages, logged in prompts:
        node = START
        for role, text in messages:
            node = histories.add(node, role, text)
        ends.append(placing.prompt(node, logged))
        assert logged is None or content.end[ends[-1]] == logged
        content.check()
    for (a, _), end_a in zip(prompts, ends, strict=True):
        for (b, _), end_b in zip(prompts, ends, strict=True):
            same, partly = _common(a, b)
            if not same and not partly:
                assert _shared(content, end_a, end_b) == 0
    for node, segment in placing.nodes().items():
        assert node == START or content.end[segment] > content.end[content.parent[segment]]


@given(st.lists(PROMPTS, min_size=2, max_size=8))
def test_without_logged_lengths_whole_messages_are_shared(prompts: list[list[tuple[str, str]]]) -> None:
    """Two prompts share at least the messages that they have in common, each by its estimate."""
    histories, content = Histories(lambda text: len(text) / 4), ContentTree()
    placing = Placing(content, histories)
    nodes = []
    for messages in prompts:
        node = START
        for role, text in messages:
            node = histories.add(node, role, text)
        nodes.append(node)
    ends = [placing.prompt(node, None) for node in nodes]
    for a, end_a in zip(prompts, ends, strict=True):
        for b, end_b in zip(prompts, ends, strict=True):
            same, partly = _common(a, b)
            whole = sum(max(1, round(len(text) / 4)) for _, text in a[:same])
            shared = _shared(content, end_a, end_b)
            assert shared >= whole - same  # a message cut in two may round twice
            if not partly:
                assert shared <= whole + same


def test_pieces_of_a_long_message() -> None:
    """Two documents that part after 10,000 characters share all but a 32nd of them; replies end that."""
    histories, content = Histories(lambda text: float(len(text))), ContentTree()
    placing = Placing(content, histories)
    text = "x" * 10_000
    ends = [placing.prompt(histories.add(START, "user", text + tail * 2000), None) for tail in "yz"]
    assert 10_000 * 31 / 32 <= _shared(content, *ends) <= 10_000
    answered = histories.add(histories.add(START, "user", "q"), "assistant", "r")
    ends = [placing.prompt(histories.add(answered, "user", text + tail), None) for tail in "yz"]
    assert _shared(content, *ends) == 2


def test_a_shorter_message_ends_inside_a_longer_one() -> None:
    """The longer one is cut there, and both stay what they are."""
    histories, content = Histories(lambda text: float(len(text))), ContentTree()
    placing = Placing(content, histories)
    long = placing.prompt(histories.add(START, "user", HEAD * 3), None)
    short = placing.prompt(histories.add(START, "user", HEAD * 2), None)
    assert (content.end[long], content.end[short]) == (192, 128)
    assert content.path(long) == [short, long]
    assert placing.prompt(histories.add(START, "user", HEAD * 3), 192) == long


def test_heads_and_moves() -> None:
    """The same messages behind another head share nothing; a head of no tokens is no segment."""
    histories, content = Histories(lambda text: float(len(text))), ContentTree()
    placing = Placing(content, histories)
    first, second = histories.head("one"), histories.head("two")
    placing.put_head(first, 50)
    placing.put_head(second, 0)
    node = histories.add(histories.add(first, "user", HEAD * 2), "assistant", "yes")
    moved = histories.behind(second, node)
    assert histories.behind(second, node) == moved and histories.behind(first, moved) == node
    ends = placing.prompt(node, None), placing.prompt(moved, None)
    assert [content.end[end] for end in ends] == [50 + 131, 131]
    assert _shared(content, *ends) == 0 and placing.nodes()[second] == ROOT
