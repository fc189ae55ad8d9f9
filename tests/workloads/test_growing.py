"""A tree that grows while prompts arrive: the same sharing as one that knows them all beforehand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workloads.content import ROOT, ContentTree, Route
from workloads.growing import GrowingTree

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)


def common(one: list[int], other: list[int]) -> int:
    """Tokens that two prompts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def content_of(route: Route, begins: dict[int, int]) -> list[tuple[int, int]]:
    """(node, position) of each token on a route; ``begins``: where each node was first entered."""
    found, before = [], 0
    for node, end in zip(route.nodes, route.ends, strict=True):
        begins.setdefault(node, before)
        found += [(node, position) for position in range(before, end)]
        before = end
    return found


@given(PROMPTS)
def test_two_prompts_share_what_their_tokens_share(prompts: list[list[int]]) -> None:
    """In segments and in chains, whatever came in between."""
    tree = GrowingTree(ContentTree())
    ends = [tree.insert(prompt) for prompt in prompts]
    tree.check()
    begins: dict[int, int] = {}
    in_chains = [content_of(tree.chains.route(end), begins) for end in ends]
    for i, one in enumerate(prompts):
        assert tree.content.end[ends[i]] == len(one)
        for j, other in enumerate(prompts):
            shared = common(one, other)
            assert tree.content.end[tree.content.shared(ends[i], ends[j])] == shared
            pairs = zip(in_chains[i], in_chains[j], strict=False)
            assert [a == b for a, b in pairs] == [k < shared for k in range(min(len(one), len(other)))]


@given(PROMPTS)
def test_same_segments_as_from_a_file(prompts: list[list[int]]) -> None:
    """The tree of an importer, which is told every prompt before any is used."""
    grown, static = GrowingTree(ContentTree()), ContentTree()
    for prompt in prompts:
        grown.insert(prompt)
        static.insert([(token, 1) for token in prompt])
    for prompt in prompts:
        known = static.insert([(token, 1) for token in prompt])
        mine = grown.insert(prompt)
        assert [static.end[at] for at in static.path(known)] == [
            grown.content.end[at] for at in grown.content.path(mine)
        ]
    assert len(grown.content) == len(static)


@given(PROMPTS)
def test_chains_stay_what_they_were(prompts: list[list[int]]) -> None:
    """A route that was handed out once is right for ever: nothing has to be told of a cut."""
    tree = GrowingTree(ContentTree())
    routes: list[tuple[int, list[int], list[int]]] = []
    for prompt in prompts:
        end = tree.insert(prompt)
        route = tree.chains.route(end)
        routes.append((end, route.nodes, route.ends))
        for earlier, nodes, ends in routes:
            again = tree.chains.route(earlier)
            assert (again.nodes, again.ends) == (nodes, ends)


@given(PROMPTS)
def test_every_cut_is_announced(prompts: list[list[int]]) -> None:
    """Who keeps something by segment and copies it at a cut has it for every part."""
    tree = GrowingTree(ContentTree())
    sent: dict[int, set[int]] = {}

    def split(upper: int, lower: int) -> None:
        if lower in sent:
            sent[upper] = set(sent[lower])

    tree.content.watch(split)
    ends = []
    for number, prompt in enumerate(prompts):
        ends.append(tree.insert(prompt))
        for segment in tree.content.path(ends[-1]):
            sent.setdefault(segment, set()).add(number)
    for number, end in enumerate(ends):
        assert all(number in sent[segment] for segment in tree.content.path(end))


def test_messages() -> None:
    """A segment ends with each message; what is cut inside of one goes on with it."""
    tree = GrowingTree(ContentTree())
    first = tree.insert([1, 2, 3, 4, 5, 6], ends=[2])
    assert [tree.content.end[at] for at in tree.content.path(first)] == [2, 6]
    assert not tree.continued
    other = tree.insert([1, 2, 3, 4, 9, 9], ends=[2])
    cut = tree.content.parent[first]
    assert tree.content.end[cut] == 4 and tree.content.parent[other] == cut
    assert tree.continued == {first, other}
    reply = tree.insert([7, 8], after=other)
    assert tree.content.end[reply] == 8 and reply not in tree.continued
    assert tree.insert([1, 2, 3, 4, 9, 9, 7, 8]) == reply


def test_replies_that_nobody_resends_leave_a_chat_in_one_chain() -> None:
    """A thousand turns whose replies are dropped: the next prompt goes on where the last one ended."""
    tree, prompt = GrowingTree(ContentTree()), [0]
    for turn in range(1000):
        prompt = [*prompt, turn]
        end = tree.insert(prompt)
        tree.append(end, 5)
    route = tree.chains.route(tree.insert(prompt))
    assert len(route.nodes) == 1 and route.ends == [1001]
    assert ROOT not in route.nodes


def test_prompts_of_one_token_more() -> None:
    """Each a prefix of the next: a chain, not a cut."""
    tree = GrowingTree(ContentTree())
    cuts: list[int] = []
    tree.content.watch(lambda upper, lower: cuts.append(upper))
    for tokens in range(1, 200):
        tree.insert(range(tokens))
    assert not cuts and len(tree.content) == 200
    for tokens in range(1, 200):  # and the longest one first
        tree.insert([7, *range(200 - tokens)])
    assert len(cuts) == 198
