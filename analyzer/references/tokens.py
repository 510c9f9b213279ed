from __future__ import annotations


def touched(text: str) -> tuple[str, ...]:
    """Every name the text might read; none: any name."""
    return ()
