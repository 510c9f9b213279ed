"""One action of each type, broken ones, and any: shared by the tests of everything that must know every action."""

from __future__ import annotations

from hypothesis import strategies as st

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
    Redact,
    ReduceBuckets,
    Rename,
    Route,
    SampleLogs,
    SampleTraces,
    SetInterval,
    TrimAttribute,
)
from flowgate.telemetry import Signal

POD, NODE, HOST = Label("point", "pod"), Label("point", "node"), Label("resource", "host.name")
EXAMPLES: tuple[Action, ...] = (
    DropMetric("process.idle"),
    DropPrefix("go_memstats_"),
    DropPoints("http.server.requests", (Match(Label("point", "http.route"), ("/health", "/ready")),)),
    AggregateLabels("http.server.duration", (POD, HOST), "sum", 60.0),
    DeleteLabel("container.cpu.time", NODE, (POD, HOST)),
    ReduceBuckets("rpc.duration", (0.1, 1.0), (0.05, 0.1, 0.5, 1.0, 5.0)),
    Rename("old.name", "new.name"),
    SetInterval("node", 30),
    DropLogs("cart", 8),
    SampleLogs("cart", 12, 10.0),
    DropSpans("cart", "GET /health"),
    SampleTraces(12.5),
    TrimAttribute(Signal.LOGS, Label("point", "exception.stacktrace"), 1000),
    Redact(Signal.LOGS, None, "email"),
    Route(Signal.LOGS, "batch-jobs", "otlp/archive"),
)

names = st.text(min_size=1, max_size=30)
labels = st.builds(Label, st.sampled_from(["resource", "point"]), names)
label_lists = st.lists(labels, min_size=1, max_size=3, unique=True).map(tuple)
matches = st.builds(Match, labels, st.lists(st.text(max_size=10), min_size=1, max_size=3, unique=True).map(tuple))
shares = st.floats(0.01, 99.9)
record_signals = st.sampled_from([Signal.LOGS, Signal.TRACES])


@st.composite
def deletes(draw: st.DrawFn) -> DeleteLabel:
    found = draw(st.lists(labels, min_size=2, max_size=4, unique=True))
    return DeleteLabel(draw(names), found[0], tuple(found[1:]))


@st.composite
def reductions(draw: st.DrawFn) -> ReduceBuckets:
    bounds = sorted(draw(st.sets(st.floats(-1e6, 1e6).map(lambda b: round(b, 3) + 0.0), min_size=1, max_size=8)))
    kept = draw(st.sets(st.sampled_from(bounds)))
    return ReduceBuckets(draw(names), tuple(sorted(kept - {bounds[0]})), tuple(bounds))


def any_action(name: st.SearchStrategy[str] = names) -> st.SearchStrategy[Action]:
    return st.one_of(
        st.builds(DropMetric, name),
        st.builds(DropPrefix, name),
        st.builds(DropPoints, name, st.lists(matches, min_size=1, max_size=3, unique_by=lambda m: m.label).map(tuple)),
        st.builds(AggregateLabels, name, label_lists, st.sampled_from(["sum", "min", "max", "group"]), st.floats(1, 3600)),
        deletes(),
        reductions(),
        st.tuples(name, name).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: Rename(*pair)),
        st.builds(SetInterval, name, st.integers(1, 3600)),
        st.builds(DropLogs, name, st.integers(1, 24)),
        st.builds(SampleLogs, name, st.integers(1, 24), shares),
        st.builds(DropSpans, name, name),
        st.builds(SampleTraces, shares),
        st.builds(TrimAttribute, record_signals, labels, st.integers(1, 65_536)),
        st.builds(Redact, record_signals, labels, st.sampled_from(["email", "ip", "uuid", "card", "phone", "jwt"])),
        st.builds(Route, st.sampled_from(list(Signal)), name, name),
    )
