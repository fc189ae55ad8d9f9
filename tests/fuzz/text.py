"""Changes to the bytes of a file: cut, doubled, overwritten, with chunks that trouble readers."""

from __future__ import annotations

import gzip
from random import Random

CHUNKS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\r\n", b"\t", b"\n\n", b"{", b"}",
    b"[", b"]",
    b'"', b"'", b":", b",", b"- ", b"#", b"&a [*a]", b"*x", b"!!python/object:os.system {}", b"!!binary x",
    b"---\n",
    b"...\n", b"%YAML 9\n", b"1e400", b"-1", b"NaN", b"Infinity", b"0x" + b"f" * 5000, b"9" * 5000,
    b"[" * 2000,
    b"null", b"true", b"\\u0000", b"\\ud800", b"<<: *a", b"? [a]\n", b"|", b">", b"\x1b[2J",
    b"2026-13-01", b"\xa0",
)  # fmt: skip


def mangled(draw: Random, content: bytes, times: int = 1) -> bytes:
    """``content`` with so many changes."""
    for _ in range(times):
        content = _mangled(draw, content)
    return content


def _mangled(draw: Random, content: bytes) -> bytes:
    sort, at = draw.randrange(9), draw.randrange(len(content) + 1)
    to = min(len(content), at + draw.choice([1, 1, 2, 8, 60]))
    if sort <= 1:
        return content[:at] + draw.choice(CHUNKS) + content[at:]
    if sort == 2:
        return content[:at] + draw.choice(CHUNKS) + content[to:]
    if sort == 3:
        return content[:at] + content[to:]
    if sort == 4:
        return content[:at]
    if sort == 5:
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    if sort == 6 and draw.random() < 0.3:
        return draw.choice(
            [b"", b"\n", gzip.compress(content)[: draw.randrange(1, 60)], b"PAR1", b"\x1f\x8b"]
        )
    lines = content.split(b"\n")
    line = draw.randrange(len(lines))
    if sort == 7:
        lines.insert(draw.randrange(len(lines) + 1), lines[line])
    else:
        del lines[line]
    return b"\n".join(lines)
