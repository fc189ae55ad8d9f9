"""What `import sim` offers."""

from __future__ import annotations

import sim


def test_public_names() -> None:
    """The public surface is this list, and every name on it exists."""
    assert sim.__all__ == ["Config", "InputError", "Result", "load_config", "run"]
    for name in sim.__all__:
        assert getattr(sim, name).__name__ == name
