"""The JSON shape of every action: written by their fields, read back field by field so that what is wrong names its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal, cast, get_args

from flowgate.actions import (
    Action,
    AggregateLabels,
    DeleteLabel,
    DropLogs,
    DropMetric,
    DropPoints,
    DropPrefix,
    DropSpans,
    Label,
    Match,
    Merge,
    PersonalData,
    Place,
    Redact,
    ReduceBuckets,
    Rename,
    Route,
    SampleLogs,
    SampleTraces,
    SetInterval,
    TrimAttribute,
)
from flowgate.errors import Invalid, Problem
from flowgate.telemetry import Signal

Json = dict[str, object]


def action_json(action: Action) -> Json:
    """`type` first, then the action's fields under their own names."""
    return {"type": action.type, **{f.name: _plain(getattr(action, f.name)) for f in fields(action) if f.name != "type"}}


def _plain(value: object) -> object:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(v) for v in cast("tuple[object, ...]", value)]
    return value.value if isinstance(value, StrEnum) else value


def action_from_json(value: Mapping[str, object], path: str = "action") -> Action:
    """The action a JSON object says; `Invalid` names the field that is missing, of the wrong type or unknown."""
    kind = value.get("type")
    known = _ACTIONS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise Invalid("unknown action", (Problem(f"{path}/type", f"{kind!r} is not an action type"),))
    names, read = known
    given = _Object(value, path)
    given.only({"type", *names})
    try:
        return read(given)
    except ValueError as error:
        raise Invalid("bad action", (Problem(path, str(error)),)) from None


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object and where it stands."""

    value: Mapping[str, object]
    path: str

    def only(self, known: set[str]) -> None:
        extra = sorted(set(self.value) - known)
        if extra:
            raise Invalid("bad action", tuple(Problem(f"{self.path}/{key}", "unknown field") for key in extra))

    def wrong(self, key: str, expected: str) -> Invalid:
        return Invalid("bad action", (Problem(f"{self.path}/{key}", expected),))

    def text(self, key: str, empty: bool = False) -> str:
        text = self.value.get(key)
        if not isinstance(text, str) or not (text or empty):
            raise self.wrong(key, "a string" if empty else "a non-empty string")
        return text

    def integer(self, key: str, low: int, high: int) -> int:
        number = self.value.get(key)
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise self.wrong(key, f"an integer from {low} to {high}")
        return number

    def number(self, key: str) -> float:
        return self._float(self.value.get(key), key)

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(self._float(n, f"{key}/{index}") for index, n in enumerate(self._list(key)))

    def _float(self, number: object, key: str) -> float:
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise self.wrong(key, "a number")
        try:
            return float(number)
        except OverflowError:
            raise self.wrong(key, "a number that is not too large") from None

    def texts(self, key: str) -> tuple[str, ...]:
        listed = self._list(key)
        for index, text in enumerate(listed):
            if not isinstance(text, str):
                raise self.wrong(f"{key}/{index}", "a string")
        return tuple(cast("list[str]", listed))

    def signal(self) -> Signal:
        return Signal(self.choice("signal", tuple(Signal)))

    def choice(self, key: str, known: tuple[str, ...]) -> str:
        text = self.value.get(key)
        if text not in known:
            raise self.wrong(key, f"one of {', '.join(known)}")
        return str(text)

    def label(self, key: str) -> Label:
        return _label(self._object(self.value.get(key), key))

    def labels(self, key: str) -> tuple[Label, ...]:
        return tuple(_label(o) for o in self.objects(key))

    def objects(self, key: str) -> tuple[_Object, ...]:
        return tuple(self._object(item, f"{key}/{index}") for index, item in enumerate(self._list(key)))

    def _object(self, value: object, key: str) -> _Object:
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object")
        return _Object(cast("Mapping[str, object]", value), f"{self.path}/{key}")

    def _list(self, key: str) -> list[object]:
        listed = self.value.get(key)
        if not isinstance(listed, list):
            raise self.wrong(key, "a list")
        return cast("list[object]", listed)


def _label(given: _Object) -> Label:
    given.only({"place", "key"})
    return Label(cast("Place", given.choice("place", get_args(Place))), given.text("key"))


def _match(given: _Object) -> Match:
    given.only({"label", "values"})
    return Match(given.label("label"), given.texts("values"))


def _attribute_signal(given: _Object) -> Literal[Signal.LOGS, Signal.TRACES]:
    return cast("Literal[Signal.LOGS, Signal.TRACES]", Signal(given.choice("signal", (Signal.LOGS, Signal.TRACES))))


def _redact(given: _Object) -> Redact:
    label = None if given.value.get("label", 0) is None else given.label("label")
    return Redact(_attribute_signal(given), label, cast("PersonalData", given.choice("shape", get_args(PersonalData))))


def _aggregate(given: _Object) -> AggregateLabels:
    operator = cast("Merge", given.choice("operator", get_args(Merge)))
    return AggregateLabels(given.text("metric"), given.labels("labels"), operator, given.number("interval_seconds"))


_READERS: Mapping[type[Any], Callable[[_Object], Action]] = {
    DropMetric: lambda g: DropMetric(g.text("metric")),
    DropPrefix: lambda g: DropPrefix(g.text("prefix")),
    DropPoints: lambda g: DropPoints(g.text("metric"), tuple(_match(m) for m in g.objects("where"))),
    AggregateLabels: _aggregate,
    DeleteLabel: lambda g: DeleteLabel(g.text("metric"), g.label("label"), g.labels("determined_by")),
    ReduceBuckets: lambda g: ReduceBuckets(g.text("metric"), g.numbers("bounds"), g.numbers("of")),
    Rename: lambda g: Rename(g.text("metric"), g.text("to")),
    SetInterval: lambda g: SetInterval(g.text("job"), g.integer("seconds", 1, 3600)),
    DropLogs: lambda g: DropLogs(g.text("service"), g.integer("max_severity_number", 1, 24)),
    SampleLogs: lambda g: SampleLogs(g.text("service"), g.integer("max_severity_number", 1, 24), g.number("keep_percent")),
    DropSpans: lambda g: DropSpans(g.text("service"), g.text("name")),
    SampleTraces: lambda g: SampleTraces(g.number("keep_percent")),
    TrimAttribute: lambda g: TrimAttribute(_attribute_signal(g), g.label("label"), g.integer("max_bytes", 1, 65_536)),
    Redact: _redact,
    Route: lambda g: Route(g.signal(), g.text("service"), g.text("exporter")),
}
_ACTIONS: Mapping[str, tuple[frozenset[str], Callable[[_Object], Action]]] = {
    str(next(f.default for f in fields(made) if f.name == "type")): (frozenset(f.name for f in fields(made) if f.name != "type"), read)
    for made, read in _READERS.items()
}
ACTION_TYPES = tuple(_ACTIONS)
