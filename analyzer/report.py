"""A usage as JSON: the shape `usage` of CONTRACTS (`docs/schemas/usage.json`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from analyzer.naming import Part
from analyzer.reading import Pattern
from analyzer.together import together
from flowgate.advice import BlindSpot, Reference, Usage
from flowgate.shapes import blind_spot_json
from flowgate.telemetry import Signal
from flowgate.usage import Condition, LabelSet, Use

Json = dict[str, object]
Found = list[tuple[Reference, Use]]


def usage_json(usage: Usage, narrowing: Sequence[BlindSpot] = ()) -> Json:
    """Documents by their place in the list; metrics by the name that queries use; what was not understood beside its document."""
    places = {document.path: k for k, document in enumerate(usage.documents)}
    exact, patterns = _by_name(usage)
    return {
        "documents": _documents(usage),
        "metrics": {name: _metric(found, places) for name, found in sorted(_with_patterns(exact, patterns, usage.recorded).items())},
        "recorded": _recorded(usage),
        "attributes": {signal.value: _attributes(usage, signal, places) for signal in (Signal.LOGS, Signal.TRACES)},
        "everywhere": {label: evidence.document for label, evidence in sorted(usage.everywhere.items())},
        "blind_spots": [blind_spot_json(spot) for spot in (*usage.blind_spots, *narrowing)],
        "skipped": _skipped(usage.skipped),
        "totals": {"documents": len(usage.documents), "expressions": usage.expressions, "understood": usage.understood},
    }


MAX_SKIPPED = 5
"""Paths named for each reason; the rest is counted."""


def _skipped(skipped: Iterable[tuple[str, str]]) -> list[Json]:
    """By reason, the rarest first: that a thousand files are pictures surprises less than that one list is empty."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path, reason in skipped:
        found[reason].append(path)
    listed = sorted(found.items(), key=lambda item: (len(item[1]), item[0]))
    return [{"reason": reason, "count": len(paths), "paths": paths[:MAX_SKIPPED]} for reason, paths in listed]


# --- documents -------------------------------------------------------------------------------------------------------------------------


def _documents(usage: Usage) -> list[Json]:
    metrics: defaultdict[str, set[str]] = defaultdict(set)
    patterns: defaultdict[str, set[str]] = defaultdict(set)
    unclear: defaultdict[str, list[Json]] = defaultdict(list)
    for reference in usage.references:
        metrics[reference.evidence.document or ""] |= reference.metrics
        patterns[reference.evidence.document or ""] |= reference.patterns
    for spot in usage.blind_spots:
        if spot.kind == "hiding":
            unclear[spot.document or ""].append({"where": spot.where, "text": spot.text, "reason": spot.reason})
    return [
        {
            "path": d.path, "id": d.id, "kind": d.kind, "title": d.title, "owner": d.owner,
            "metrics": sorted(metrics[d.path]), "patterns": sorted(patterns[d.path]), "not_understood": unclear[d.path],
        }
        for d in usage.documents
    ]  # fmt: skip


# --- metrics ---------------------------------------------------------------------------------------------------------------------------


def _by_name(usage: Usage) -> tuple[dict[str, Found], list[tuple[Pattern, Reference, Use]]]:
    exact: defaultdict[str, Found] = defaultdict(list)
    patterns: list[tuple[Pattern, Reference, Use]] = []
    for reference in usage.references:
        for use in reference.uses:
            if use.signal is not Signal.METRICS:
                continue
            if use.pattern:
                patterns.append((Pattern(use.name), reference, use))
            else:
                exact[use.name].append((reference, use))
    return exact, patterns


def _with_patterns(
    exact: Mapping[str, Found], patterns: Sequence[tuple[Pattern, Reference, Use]], recorded: Iterable[str]
) -> dict[str, Found]:
    """A pattern that matches a name reads it: of every known name, those of recording rules among them."""
    found = {name: list(uses) for name, uses in exact.items()}
    distinct = {use.name: pattern for pattern, _, use in patterns}
    readers: defaultdict[str, Found] = defaultdict(list)
    for _, reference, use in patterns:
        readers[use.name].append((reference, use))
    for text, pattern in distinct.items():
        for name in {*exact, *recorded}:
            if pattern.fullmatch(name):
                found.setdefault(name, []).extend(readers[text])
    return found


def _metric(found: Found, places: Mapping[str, int]) -> Json:
    joined = together([use for _, use in found])
    return {
        "documents": sorted({places[r.evidence.document or ""] for r, _ in found}),
        "labels": sorted(joined.mentioned),
        "demand": demand_json(joined.demand),
        "operator": joined.operator,
        "conditions": [_condition(c) for c in joined.conditions],
        "why": _why(found, joined.demand),
        "live": any(r.live for r, _ in found),
        "owners": sorted({r.owner for r, _ in found if r.owner}),
        **_executed(found),
    }


def _executed(found: Found) -> Json:
    """How often and when last somebody ran a query that reads it: of query logs, so absent where none was given."""
    ran = {id(r): r for r, _ in found if r.evidence.kind == "executed"}
    if not ran:
        return {}
    seen = [r.last_seen for r in ran.values() if r.last_seen is not None]
    return {"executed": {"count": sum(r.count for r in ran.values()), "last_seen": max(seen).isoformat() if seen else None}}


def demand_json(demand: LabelSet) -> Json:
    return {"all_except" if demand.all_except else "only": sorted(demand.names)}


def _condition(condition: Condition) -> Json:
    return {"kind": condition.kind, "labels": sorted(condition.labels), "reason": condition.reason}


def _why(found: Found, demand: LabelSet) -> Json:
    """For each label that is kept by name, and for `*` (every other one), the first rule, document and expression that keep it."""
    why: dict[str, object] = {}
    for reference, use in found:
        for label, rule in use.why.items():
            if label not in why and (label in demand if label != "*" else demand.all_except):
                why[label] = {"rule": rule, "document": reference.evidence.document, "expression": reference.evidence.expression}
    return dict(sorted(why.items()))


def _recorded(usage: Usage) -> Json:
    sources: defaultdict[str, set[str]] = defaultdict(set)
    for reference in usage.references:
        if reference.recorded is not None:
            sources[reference.recorded] |= reference.metrics | reference.patterns
    return {name: {"live": live, "from": sorted(sources[name])} for name, live in sorted(usage.recorded.items())}


def _attributes(usage: Usage, signal: Signal, places: Mapping[str, int]) -> Json:
    """Attributes of logs or traces that queries read, and in which documents."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    for reference in usage.references:
        for use in reference.uses:
            if use.signal is signal:
                for name in use.mentioned:
                    found[name].add(places[reference.evidence.document or ""])
    return {name: sorted(documents) for name, documents in sorted(found.items())}


# --- one OTLP metric ---------------------------------------------------------------------------------------------------------------------


def otlp_json(usage: Usage, names: Mapping[str, Part]) -> Json:
    """What reads one OTLP metric, under any of the names it may have. `names`: see `analyzer.naming.candidates`."""
    exact, patterns = _by_name(usage)
    places = {document.path: k for k, document in enumerate(usage.documents)}
    all_found = _with_patterns(exact, patterns, names)
    hits = {name: all_found[name] for name in names if all_found.get(name)}
    hiding = [s for s in usage.blind_spots if s.kind == "hiding" and _touches(s, names)]
    joined = [hit for found in hits.values() for hit in found]
    nothing: Json = {"documents": [], "labels": [], "demand": demand_json(LabelSet()), "operator": None, "conditions": [], "why": {}}
    return {
        "prom_names": sorted(hits),
        "parts": sorted({str(names[name]) for name in hits if names[name] is not None}),
        "blind_spots": [blind_spot_json(s) for s in hiding],
        **(_metric(joined, places) if joined else nothing),
    }


def _touches(spot: BlindSpot, names: Iterable[str]) -> bool:
    patterns = [Pattern(t) for t in spot.touches]
    return not patterns or any(p.fullmatch(n) for p in patterns for n in names)
