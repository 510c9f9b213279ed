"""MetricsQL's `WITH (a = …, f(x) = …) …`: templates written out, on the level of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyzer.references.lexing import Token, Unreadable

MAX_TOKENS = 20_000
_OPENS, _CLOSES = ("(", "{", "["), (")", "}", "]")
_MATCHES = ("=", "!=", "=~", "!~")


@dataclass(frozen=True, slots=True)
class Template:
    """`parameters` is None for a template without brackets."""

    parameters: tuple[str, ...] | None
    body: tuple[Token, ...]


Templates = Mapping[str, Template]


def expanded(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without any template in them; as they are when they hold none."""
    if not any(t.means("with") for t in tokens):
        return list(tokens)
    return _Expansion().of(tokens, {}, 0)


class _Expansion:
    """Counts what it writes: templates of templates grow without bound."""

    def __init__(self) -> None:
        self._written = 0

    def of(self, tokens: Sequence[Token], known: Templates, depth: int) -> list[Token]:
        if depth > 30:
            raise Unreadable("templates nested too deep")
        out: list[Token] = []
        braces, at = 0, 0
        while at < len(tokens):
            token = tokens[at]
            if token.means("with") and _at(tokens, at + 1).says("("):
                end = _closing(tokens, at + 1)
                known = {**known, **_definitions(tokens[at + 2 : end])}
                at = end + 1
                continue
            braces += token.says("{") - token.says("}")
            template = known.get(token.text) if token.kind == "name" and not self._is_label(tokens, at, braces) else None
            if template is None:
                self._count(1)
                out.append(token)
                at += 1
                continue
            written, at = self._written_out(template, tokens, at, known, depth)
            out += _fitted(written, braces > 0, _at(tokens, at))
        return out

    @staticmethod
    def _is_label(tokens: Sequence[Token], at: int, braces: int) -> bool:
        return braces > 0 and _at(tokens, at + 1).says(*_MATCHES)

    def _written_out(self, template: Template, tokens: Sequence[Token], at: int, known: Templates, depth: int) -> tuple[list[Token], int]:
        name, at = tokens[at].text, at + 1
        inner = {k: v for k, v in known.items() if k != name}  # a template may not read itself
        if template.parameters is not None and _at(tokens, at).says("("):
            end = _closing(tokens, at)
            arguments = [self.of(a, known, depth + 1) for a in _parts(tokens[at + 1 : end])]
            inner |= {p: Template(None, tuple(a)) for p, a in zip(template.parameters, arguments, strict=False)}
            at = end + 1
        return self.of(template.body, inner, depth + 1), at

    def _count(self, more: int) -> None:
        self._written += more
        if self._written > MAX_TOKENS:
            raise Unreadable("the templates grow too large")


def _at(tokens: Sequence[Token], at: int) -> Token:
    return tokens[at] if at < len(tokens) else Token("end", "")


def _fitted(body: list[Token], in_braces: bool, follows: Token) -> list[Token]:
    """Filters lose their braces where they join others; what is more than one selector goes into brackets."""
    if in_braces:
        return body[1:-1] if body and body[0].says("{") and body[-1].says("}") else body
    selector = len(body) == 1 or (body and body[-1].says("}") and sum(t.says("{") for t in body) == 1 and body[1].says("{"))
    if selector or follows.says("{"):
        return body
    return [Token("sign", "("), *body, Token("sign", ")")]


def _definitions(tokens: Sequence[Token]) -> dict[str, Template]:
    found: dict[str, Template] = {}
    for part in _parts(tokens):
        if not part:
            continue
        name, at, parameters = part[0], 1, None
        if _at(part, 1).says("("):
            end = _closing(part, 1)
            parameters = tuple(t.text for t in part[2:end] if t.kind == "name")
            at = end + 1
        if name.kind != "name" or not _at(part, at).says("=") or at + 1 >= len(part):
            raise Unreadable(f"a template expected at {name.at}")
        found[name.text] = Template(parameters, tuple(part[at + 1 :]))
    return found


def _closing(tokens: Sequence[Token], at: int) -> int:
    level = 0
    for here in range(at, len(tokens)):
        level += tokens[here].says(*_OPENS) - tokens[here].says(*_CLOSES)
        if level == 0:
            return here
    raise Unreadable("a bracket is not closed")


def _parts(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens cut at the commas that are in no brackets."""
    parts: list[list[Token]] = [[]]
    level = 0
    for token in tokens:
        level += token.says(*_OPENS) - token.says(*_CLOSES)
        if level == 0 and token.says(","):
            parts.append([])
        else:
            parts[-1].append(token)
    return [p for p in parts if p]
