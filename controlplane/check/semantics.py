"""What a configuration does to telemetry, as far as it can be told without running it: nothing all at once, nothing that makes two series one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import re2

from controlplane.check.catalogue import Catalogue, Version
from controlplane.render.compose import TAP, is_ours
from controlplane.render.ottl import Token, functions, tokens
from controlplane.yaml import children
from flowgate.errors import Problem

Config = Mapping[str, Any]
_OTTL = frozenset({"filter", "transform", "routing", "tail_sampling", "logdedup"})
_NO_OTTL = frozenset(
    {
        "error_mode",
        "context",
        "action",
        "pipelines",
        "default_pipelines",
        "match_type",
        "name",
        "type",
        "metric_names",
        "bodies",
        "expressions",
    }
)
_ERROR_MODE = frozenset({"filter", "transform", "routing"})
SINCE: Mapping[str, Version] = {
    "Base64Encode": (0, 147), "IsInCIDR": (0, 146), "delete_index": (0, 145), "Bool": (0, 143), "set_semconv_span_name": (0, 142),
    "ParseSeverity": (0, 141), "CommunityID": (0, 141), "TrimPrefix": (0, 139), "TrimSuffix": (0, 139), "XXH128": (0, 139), "XXH3": (0, 138),
    "merge_histogram_buckets": (0, 135), "Index": (0, 134), "UUIDv7": (0, 132), "convert_summary_quantile_val_to_gauge": (0, 132), "Values": (0, 131),
    "Keys": (0, 130), "ParseInt": (0, 130), "ContainsValue": (0, 129), "HasPrefix": (0, 126), "HasSuffix": (0, 126), "ProfileID": (0, 126),
    "IsValidLuhn": (0, 122), "Murmur3Hash": (0, 122), "Murmur3Hash128": (0, 122), "Weekday": (0, 121), "ToLowerCase": (0, 120), "ToUpperCase": (0, 120),
    "ToSnakeCase": (0, 120), "ToCamelCase": (0, 120), "Nanosecond": (0, 118), "Second": (0, 118), "FormatTime": (0, 118), "Trim": (0, 117),
}  # fmt: skip
"""OTTL functions by the release that brought them (the collector's change log); those not named here are older."""
FIELDS_SINCE: Mapping[tuple[str, str], Version] = {
    ("filter", "metric_conditions"): (0, 146),
    ("filter", "log_conditions"): (0, 146),
    ("filter", "trace_conditions"): (0, 146),
}
_LOSES_LABELS = frozenset(
    {
        "delete_key", "delete_matching_keys", "keep_keys", "keep_matching_keys", "limit", "aggregate_on_attributes", "aggregate_on_attribute_value",
        "truncate_all", "replace_all_patterns", "replace_all_matches",
    }
)  # fmt: skip


def semantics(config: Config, catalogue: Catalogue) -> Iterator[Problem]:
    yield from _error_modes(config)
    yield from _versions(config, catalogue)
    yield from _losses(config)
    yield from _lost_labels(config)


def _components(config: Config, *kinds: str) -> Iterator[tuple[str, str, Any]]:
    """Path, type and settings of each."""
    for kind in kinds:
        for name, settings in children(config.get(kind)):
            yield f"{kind}/{name}", name.partition("/")[0], settings


def _error_modes(config: Config) -> Iterator[Problem]:
    """Without `error_mode: ignore` one OTTL error drops a whole payload."""
    for path, component, settings in _components(config, "processors", "connectors"):
        if component in _ERROR_MODE and dict(children(settings)).get("error_mode") != "ignore":
            yield Problem(f"{path}/error_mode", "must be `ignore`")


# --- versions ----------------------------------------------------------------------------------------------------------------------


def _versions(config: Config, catalogue: Catalogue) -> Iterator[Problem]:
    for path, component, settings in _components(config, "processors", "connectors"):
        for key, _ in children(settings):
            since = FIELDS_SINCE.get((component, str(key)))
            if since and since > catalogue.version:
                yield Problem(f"{path}/{key}", f"needs {_text(since)}, the target runs {catalogue.text}")
        if component in _OTTL:
            for place, source in ottl_in(settings, path):
                yield from _newer(place, source, catalogue)


def _newer(path: str, source: str, catalogue: Catalogue) -> Iterator[Problem]:
    for name in sorted(functions(source)):
        since = SINCE.get(name)
        if since and since > catalogue.version:
            yield Problem(path, f"{name} needs {_text(since)}, the target runs {catalogue.text}")


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def ottl_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every condition and statement below a component, with its place."""
    for key, child in children(value):
        if key in _NO_OTTL:
            continue
        if isinstance(child, str):
            yield f"{path}/{key}", child
        yield from ottl_in(child, f"{path}/{key}")


# --- everything at once --------------------------------------------------------------------------------------------------------------


def _losses(config: Config) -> Iterator[Problem]:
    """A filter that is true for everything, a sampler that keeps nothing: a total loss in one line."""
    for path, component, settings in _components(config, "processors"):
        if component == "probabilistic_sampler" and not dict(children(settings)).get("sampling_percentage"):
            yield Problem(f"{path}/sampling_percentage", "it would drop everything: a share above 0 is needed")
        if component == "filter":
            for place, source in ottl_in(settings, path):
                if always(list(tokens(source))):
                    yield Problem(place, "it is true for everything, so it would drop everything")
            yield from _excludes_all(settings, path)


def always(listed: Sequence[Token]) -> bool:
    """Whether a condition is true whatever comes: it names no path, or it only asks for what every item has. One part of an `or` is enough."""
    parts = _alternatives(listed)
    if len(parts) > 1:
        return any(always(part) for part in parts)
    (listed,) = parts
    if not listed or any(t.text == "and" for t in listed):
        return False
    words = [t for t, following in pairwise([*listed, Token("end", "")]) if t.kind == "word" and following.text != "("]
    if not [w for w in words if w.text not in ("true", "false", "nil", "not", "or", "and")]:
        return any(t.kind in ("word", "string", "int", "float") for t in listed)
    return _matches_anything(listed)


def _alternatives(listed: Sequence[Token]) -> list[list[Token]]:
    """Cut at every `or` that stands outside parentheses; parentheses around the whole are taken off."""
    while listed and listed[0].text == "(" and _closes(listed) == len(listed) - 1:
        listed = listed[1:-1]
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in listed:
        depth += (token.text in ("(", "[", "{") and token.kind == "punct") - (token.text in (")", "]", "}") and token.kind == "punct")
        if depth == 0 and token.text == "or":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _closes(listed: Sequence[Token]) -> int:
    depth = 0
    for at, token in enumerate(listed):
        depth += (token.kind == "punct" and token.text == "(") - (token.kind == "punct" and token.text == ")")
        if depth == 0:
            return at
    return -1


def _matches_anything(listed: Sequence[Token]) -> bool:
    """`IsMatch(name, ".*")`, `HasPrefix(name, "")`, `name != ""`, `name == name`: of an item's own name or kind."""
    written = [t.text for t in listed]
    strings = [t.text[1:-1] for t in listed if t.kind == "string"]
    if written[:2] in (["HasPrefix", "("], ["HasSuffix", "("]):
        return strings == [""]
    if written[:2] == ["IsMatch", "("] and len(strings) == 1:
        return _empty_fits(strings[0].replace("\\\\", "\\"))
    if "==" in written:
        at = written.index("==")
        return written[:at] == written[at + 1 :]
    return "!=" in written and written[-1] in ('""', "nil") and "[" not in written


def _empty_fits(pattern: str) -> bool:
    """A pattern that finds something in every text."""
    try:
        return all(re2.search(pattern, text) for text in ("", "a", "_.9/"))
    except re2.error:
        return False


def _excludes_all(settings: Any, path: str) -> Iterator[Problem]:
    """The older way to say it: names by regular expression."""
    for signal, given in children(settings):
        exclude = dict(children(dict(children(given)).get("exclude")))
        if exclude.get("match_type") == "regexp":
            for index, pattern in children(exclude.get("metric_names")):
                if isinstance(pattern, str) and _empty_fits(pattern):
                    yield Problem(f"{path}/{signal}/exclude/metric_names/{index}", "it fits every name, so it would drop everything")


# --- labels ----------------------------------------------------------------------------------------------------------------------------


def _lost_labels(config: Config) -> Iterator[Problem]:
    """A label taken off metrics makes two series one without adding them up: a backend keeps either of their points. What Flowgate renders
    stands for a typed action, which is judged as such."""
    used = {p for name, pipeline in config["service"]["pipelines"].items() if _carries(name) for p in pipeline.get("processors") or []}
    for path, component, settings in _components(config, "processors"):
        name = path.partition("/")[2]
        if name in used and not is_ours(name):
            for place in _takes_labels(component, settings, path):
                yield Problem(
                    place, "a label taken off metrics like this makes series one that are not: the aggregation processor adds them up"
                )


def _carries(pipeline: str) -> bool:
    return pipeline.partition("/")[0] == "metrics" and TAP not in pipeline


def _takes_labels(component: str, settings: Any, path: str) -> Iterator[str]:
    given = dict(children(settings))
    match component:
        case "attributes" | "resource":
            key = "actions" if component == "attributes" else "attributes"
            for index, action in children(given.get(key)):
                if str(dict(children(action)).get("action")).lower() == "delete":
                    yield f"{path}/{key}/{index}"
        case "transform":
            for place, source in ottl_in(given.get("metric_statements"), f"{path}/metric_statements"):
                if functions(source) & _LOSES_LABELS:
                    yield place
        case "metricstransform":
            yield from _aggregating(given, path)
        case "redaction":
            yield path
        case _:
            return


def _aggregating(given: Config, path: str) -> Iterator[str]:
    for index, transform in children(given.get("transforms")):
        inner = dict(children(transform))
        if inner.get("action") == "combine":
            yield f"{path}/transforms/{index}/action"
        for at, operation in children(inner.get("operations")):
            if str(dict(children(operation)).get("action")) in ("aggregate_labels", "aggregate_label_values", "delete_label_value"):
                yield f"{path}/transforms/{index}/operations/{at}"
