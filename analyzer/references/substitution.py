from __future__ import annotations

from collections.abc import Mapping


def spellings(text: str, variables: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    return [[text]]
