"""YAML and JSON within bounds: what is refused, in one line that names the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workloads import documents
from workloads.documents import Tree, read_json, read_yaml
from workloads.errors import InputError
from workloads.shown import brief, plain, shown

EXPLODING = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGING = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)
)
DEEP_BY_ALIAS = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 120))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\ncreated: 2026-13-01", "x.yaml:2: not YAML: month must be in 1..12"),
        ("a: 0x" + "f" * 4000, "x.yaml:1: not YAML: an integer of over 100 digits"),
        ("a: " + "9" * 5000, "x.yaml:1: not YAML: an integer of thousands of digits"),
        ("a: 1\n\nb: &b [*b]", "x.yaml:3: an alias stands inside what it names"),
        (EXPLODING, "2097151 values on 21 levels, with its aliases written out; allowed: 2000000 on 100"),
        (MERGING, "with its aliases written out; allowed: 2000000 on 100"),
        (DEEP_BY_ALIAS, "on 101 levels, with its aliases written out"),
        ("a: " + "[" * 3000, "x.yaml: nested too deeply; allowed: 100 levels"),
        ("a: " + "[" * 150 + "]" * 150, "levels"),
        ('a: "\\e[2J"', "x.yaml:1: '\\x1b[2J' is not text"),
        ('a: "line\\nerror: all is well"', "x.yaml:1: 'line\\nerror: all is well' is not text"),
        ('"\\a": 1', "x.yaml:1: '\\x07' is not text"),
        ('a: "\\uD800"', "is not text"),
        ("[1]: 2", "x.yaml:1: a key that is a list or a mapping; allowed: text"),
        ("a: {b: 1,\n b: 2}", "x.yaml:2: a.b is given twice; allowed: once"),
        ("a: \x00", "x.yaml: not YAML: unacceptable character"),
        ("a: !!python/object:os.system {}", "x.yaml:1: not YAML: could not determine a constructor"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """One message of one line."""
    with pytest.raises(InputError) as refused:
        Tree(text, "x.yaml")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_taken() -> None:
    """What YAML 1.2 calls a number, text of several lines, aliases; and where each key stands."""
    tree = Tree("a: &a {b: 1e3}\nc: *a\nd:\n  - |\n    two\n    lines\n", "x.yaml")
    assert tree.data == {"a": {"b": 1000.0}, "c": {"b": 1000.0}, "d": ["two\nlines\n"]}
    assert tree.line == {(): 1, ("a",): 1, ("a", "b"): 1, ("c",): 2, ("d",): 3, ("d", 0): 4}
    assert Tree("", "x.yaml").data is None


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_files(
    tmp_path: Path, read: Callable[[Path, str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no file, no text, no mapping, or too long, is told with what is allowed."""
    path = tmp_path / "f"
    for content, said in (
        (None, "No such file or directory; allowed: a thing"),
        (b"\xff", "not UTF-8 text; allowed: a thing"),
        (b"[1]", "[1]; allowed: a thing, keys and values"),
        (b"{", "not "),
        (b'{"a": ' + b"9" * 200 + b"}", "an integer of over 100 digits"),
        (b'{"a": ' + b"[" * 10**5, "nested too deeply"),
        (b" " * 101, "over 0 MiB; allowed: a thing"),
    ):
        if content is not None:
            path.write_bytes(content)
        if content == b" " * 101:
            monkeypatch.setattr(documents, "MOST_BYTES", 100)
        with pytest.raises(InputError) as refused:
            read(path, "a thing")
        assert said in str(refused.value) and str(refused.value).startswith(str(path))
    path.write_bytes(b'{"a": [1, 2]}')
    assert read(path, "a thing") == {"a": [1, 2]}
    with pytest.raises(InputError, match="not a path"):
        read(tmp_path / "a\0b", "a thing")


def test_shown() -> None:
    """On one line, printable, short, whatever the value."""
    endless: list[Any] = []
    for _ in range(5000):
        endless = [endless]
    assert shown("a\x1b\n") == "'a\\x1b\\n'" and shown(3) == "3"
    assert shown("x" * 5000) == "'" + "x" * 59 + "..."
    assert shown(endless) == "list of many levels" and shown(16**5000) == "int of thousands of digits"
    assert brief(f"--set a={'x' * 400}: no") == f"--set a={'x' * 58}...: no"
    assert brief("x" * 9999) == "x" * 60 + "..." and brief("y" * 200) == "y" * 200
    assert plain("two\nlines\x1b]0;\x07\u2028") == "two\nlines\\x1b]0;\\x07\\u2028"
