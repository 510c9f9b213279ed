"""Values as Go's encoding/json writes them: what OTTL's `String` and `Concat` make of an attribute or a body."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import cast

_HTML = re.compile("[<>&\u2028\u2029]")


def like_string(value: object) -> str | None:
    """OTTL's StringLikeGetter: text as it is, bytes in hex, everything else as JSON; None for nothing and for what JSON cannot say."""
    match value:
        case None:
            return None
        case str():
            return value
        case bytes():
            return value.hex()
        case _:
            return go_json(value)


def go_json(value: object) -> str | None:
    """Keys sorted, no spaces, and <, >, & escaped as Go does for HTML's sake; None where Go would fail."""
    match value:
        case bool() | None:
            return json.dumps(value)
        case int():
            return str(value)
        case float():
            return go_double(value) if math.isfinite(value) else None
        case str():
            return _text(value)
        case bytes():
            return None  # base64 in a list or map; no name is compared with one
        case Mapping():
            return _object(cast("Mapping[str, object]", value))
        case _:
            return _list(cast("Sequence[object]", value))


def _object(value: Mapping[str, object]) -> str | None:
    written = [(_text(key), go_json(child)) for key, child in sorted(value.items(), key=lambda item: item[0].encode())]
    return None if any(child is None for _, child in written) else "{" + ",".join(f"{key}:{child}" for key, child in written) + "}"


def _list(value: Sequence[object]) -> str | None:
    written = [go_json(child) for child in value]
    return None if None in written else f"[{','.join(w for w in written if w)}]"


def _text(value: str) -> str:
    return _HTML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def go_double(number: float) -> str:
    """The shortest digits that are this double, plain from 1e-6 up to 1e21, with a short exponent beyond."""
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa.removesuffix('.0')}e{exponent.replace('-0', '-')}"
