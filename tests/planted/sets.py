"""One set: what is sent, the files that read it, and the truth about both, kept while they were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from flowgate.telemetry import Kind
from tests.planted import documents
from tests.planted.asks import Ask, Read, aggregated, ask, by, maybe, name_of, selector, some
from tests.planted.documents import DAMAGES, File
from tests.planted.world import BUILT_IN, World, world

UNREADABLE_SHARE = 0.12
"""Of sets: in them one document cannot be read."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A set and its truth. `hidden`: a document cannot be read, so anything may be; `everywhere`: labels listed over all metrics;
    `resource`: resource attributes that somebody takes from `target_info`."""

    name: str
    world: World
    files: tuple[File, ...]
    reads: tuple[Read, ...]
    hidden: bool
    everywhere: frozenset[str] = frozenset()
    resource: frozenset[str] = frozenset()
    packed: str = ""

    def of(self, metric: str) -> tuple[Read, ...]:
        return tuple(r for r in self.reads if r.metric == metric)


@dataclass(slots=True)
class _Draft:
    rng: Random
    world: World
    files: list[File] = field(default_factory=list[File])
    reads: list[Read] = field(default_factory=list[Read])
    everywhere: set[str] = field(default_factory=set[str])
    resource: set[str] = field(default_factory=set[str])
    hidden: bool = False

    @property
    def number(self) -> int:
        return len(self.files)

    def mention(self) -> str:
        """A metric's name where no query stands."""
        return self.rng.choice(self.world.sent).said


def planted(seed: int, number: int) -> Planted:
    """The set of that number: the same for the same seed."""
    name = f"{seed}:{number}"
    rng = Random(name)
    sent = world(rng, rng.randint(4, 12))
    draft = _Draft(rng, sent)
    for _ in range(rng.randint(1, 4)):
        rng.choice((_board, _board, _board, _others, _others, _others, _chain, _chain, _whole_chain))(draft)
    for part, share in PARTS:
        if rng.random() < share:
            part(draft)
    draft.reads += [Read(m.name, m.labels, bounds=None) for m in sent.sent if m.name == BUILT_IN]
    rng.shuffle(draft.files)
    packed = rng.choice(["", "", "zip", "tar.gz"])
    return Planted(
        name,
        sent,
        tuple(draft.files),
        tuple(dict.fromkeys(draft.reads)),
        draft.hidden,
        frozenset(draft.everywhere),
        frozenset(draft.resource),
        packed,
    )


def _asks(draft: _Draft, variables: bool) -> list[Ask]:
    return [ask(draft.rng, draft.world, variables) for _ in range(draft.rng.randint(1, 4))]


def _board(draft: _Draft) -> None:
    asks = _asks(draft, True)
    draft.files += documents.grafana(draft.rng, draft.number, asks, draft.mention())
    draft.reads += [r for a in asks for r in a.reads]


def _others(draft: _Draft) -> None:
    asks, write = _asks(draft, False), draft.rng.choice(documents.WITHOUT)
    made = write(draft.rng, draft.number, asks, draft.mention())
    draft.files += made
    unread = write is documents.alerts and any(b"unread:" in f.body for f in made)
    draft.reads += [r for a in asks for r in a.reads] if not unread else [r for a in asks for r in _perhaps(a)]


def _perhaps(asked: Ask) -> list[Read]:
    """A rule that nothing reads reads for nobody: which of them are such rules is not looked at, so all only may."""
    return [replace(r, certain=False, exact=False) for r in asked.reads]


def _chain(draft: _Draft) -> None:
    """Recording rules, one over the other, read by a panel or an alert, or by nobody."""
    rng = draft.rng
    metric = rng.choice(draft.world.metrics)
    labels = some(rng, metric)
    first = aggregated(rng, metric, labels, variables=False)
    text, keep = (first.text.replace("$var", "a"), labels)
    recorded = f"job{draft.number}:chain:rate5m"
    rules: list[dict[str, Any]] = [{"record": recorded, "expr": text, **({"labels": {"tier": "gold"}} if rng.random() < 0.3 else {})}]
    if rng.random() < 0.5:
        keep = rng.sample(keep, rng.randint(0, len(keep)))
        rules.append({"record": f"{recorded}:sum", "expr": by(rng, "sum", keep, recorded)})
        recorded = f"{recorded}:sum"
    read = rng.random() < 0.8
    reads = first.reads if read else tuple(replace(r, certain=False, exact=False) for r in first.reads)
    question = Ask(rng.choice([recorded, f"sum({recorded})", f"topk(3, {recorded})", f"{recorded} > 1"]), (), tuple(keep))
    draft.files += documents.prometheus(rng, draft.number, rules)
    if read:
        write = rng.choice((documents.grafana, documents.grafana_alerts, documents.perses, documents.keda))
        draft.files += write(rng, draft.number, [question], draft.mention())
    draft.reads += reads


def _whole_chain(draft: _Draft) -> None:
    """A rule that keeps every series: its readers say what is needed of them, and whether all is known that reads it nobody can say."""
    rng = draft.rng
    counters = [m for m in draft.world.metrics if m.counter]
    if not counters:
        return
    metric, recorded = rng.choice(counters), f"all{draft.number}:chain:rate5m"
    found, labels = selector(rng, metric, window="5m"), some(rng, metric)
    rules = [{"record": recorded, "expr": f"rate({found.text.replace('$var', 'a')})"}]
    chosen = rng.sample(sorted(metric.labels), 1)
    summed = rng.choice([recorded, f"{recorded}{{{name_of(chosen[0])}='a'}}"])
    matched = found.matched | (frozenset(chosen) if summed != recorded else frozenset())
    shape = rng.randrange(4)
    text = (summed, f"avg({summed})", by(rng, "sum", labels, summed), by(rng, "sum", labels, summed))[shape]
    keep = metric.labels if shape == 0 else matched | (frozenset(labels) if shape > 1 else frozenset())
    draft.files += documents.prometheus(rng, draft.number, rules)
    draft.files += documents.grafana_alerts(rng, draft.number, [Ask(text, ())], draft.mention())
    draft.reads.append(Read(metric.name, keep, metric.labels if shape == 1 else frozenset(), "sum", exact=False))


def _log(draft: _Draft) -> None:
    """What was run, long enough ago and until now."""
    asks = _asks(draft, False)
    draft.files += documents.query_log(draft.rng, draft.number, asks, draft.mention())
    draft.reads += [r for a in asks for r in a.reads]


def _noise(draft: _Draft) -> None:
    draft.files += documents.noise(draft.rng, draft.number, draft.mention())


def _everywhere(draft: _Draft) -> None:
    """A variable lists a label's values over all metrics."""
    label = draft.rng.choice(sorted({label for m in draft.world.sent for label in m.labels}))
    said = label if label.replace("_", "a").isalnum() else f'"{label}"'
    draft.files += documents.grafana(draft.rng, draft.number, [Ask(f"label_values({said})", (), variable_only=True)], draft.mention())
    draft.everywhere.add(label)


def _info(draft: _Draft) -> None:
    """A resource attribute is taken from `target_info`: whatever sends it must keep it."""
    found = [k.said for m in draft.world.sent for k in m.keys if k.place == "resource" and k.said not in ("job", "instance")]
    metrics = [m for m in draft.world.metrics if m.kind in (Kind.GAUGE, Kind.SUM)]
    if not found or not metrics:
        return
    rng, metric, taken = draft.rng, draft.rng.choice(metrics), draft.rng.choice(found)
    selected = metric.said if metric.said.replace("_", "a").isalnum() else f'{{"{metric.said}"}}'
    text = f"{selected} * on (job, instance) group_left ({name_of(taken)}) target_info"
    draft.files += draft.rng.choice((documents.grafana_alerts, documents.keda, documents.perses))(rng, draft.number, [Ask(text, ())], "")
    draft.reads.append(Read(metric.name, metric.labels, bounds=None))
    draft.resource |= {taken, "job", "instance"}


def _ad_hoc(draft: _Draft) -> None:
    """A dashboard with ad-hoc filters: somebody may ask for any label of what it shows."""
    metric = draft.rng.choice(draft.world.metrics)
    made = aggregated(draft.rng, metric, some(draft.rng, metric))
    adhoc = {"type": "adhoc", "name": "filters", "datasource": documents.SOURCE}
    made = replace(made, variables={**made.variables, "filters": adhoc})
    draft.files.append(documents.File(f"adhoc-{draft.number}.json", _dumped(documents.dashboard(draft.rng, draft.number, [made]))))
    draft.reads += [replace(r, keep=metric.labels) for r in made.reads]


def _sql(draft: _Draft) -> None:
    """A query in a language that is not read protects every name in it."""
    metric = draft.rng.choice(draft.world.metrics)
    target = {
        "refId": "A",
        "rawSql": f"SELECT time, value FROM {metric.said} WHERE x = 1",
        "format": "table",
        "datasource": {"type": "mysql", "uid": "m"},
    }
    panel = {"id": 1, "type": "table", "title": "sql", "datasource": {"type": "mysql", "uid": "m"}, "targets": [target]}
    draft.files.append(File(f"sql-{draft.number}.json", _dumped({"uid": "s", "title": "sql", "panels": [panel], "schemaVersion": 39})))
    draft.reads.append(maybe(metric) if "." in metric.said else Read(metric.name, metric.labels, bounds=None))


def _pyrra(draft: _Draft) -> None:
    """Burn rates and alerts by the grouping, which the controller makes."""
    counters = [m for m in draft.world.metrics if m.counter and m.said.replace("_", "a").isalnum()]
    if not counters:
        return
    rng, metric = draft.rng, draft.rng.choice(counters)
    labels, matched = some(rng, metric, 2), draft.rng.choice(sorted(metric.labels))
    indicator = {
        "ratio": {"errors": {"metric": f'{metric.said}{{{matched}=~"5.."}}'}, "total": {"metric": metric.said}, "grouping": labels}
    }
    spec = {"target": "99", "window": "4w", "indicator": indicator}
    document = {"apiVersion": "pyrra.dev/v1alpha1", "kind": "ServiceLevelObjective", "metadata": {"name": "p"}, "spec": spec}
    draft.files.append(File(f"pyrra-{draft.number}.yaml", _dumped(document)))
    draft.reads.append(Read(metric.name, frozenset(labels) | {matched}, merge="sum", exact=False))


def _datadog(draft: _Draft) -> None:
    """A backend that names metrics and tags as they are sent."""
    rng, metric = draft.rng, draft.rng.choice(draft.world.metrics)
    tags = {k.key: k.said for k in metric.keys if k.place == "point" and "-" not in k.key}
    by = rng.sample(sorted(tags), min(len(tags), rng.randint(0, 2)))
    space = rng.choice(["avg", "sum", "max"])
    query = f"{space}:{metric.name}{{*}}" + (f" by {{{','.join(by)}}}" if by else "")
    widget = {"definition": {"type": "timeseries", "title": "t", "requests": [{"q": query, "display_type": "line"}]}}
    document = {"title": "d", "layout_type": "ordered", "widgets": [widget], "template_variables": []}
    draft.files.append(File(f"datadog-{draft.number}.json", _dumped(document)))
    named = frozenset(tags[b] for b in by)
    draft.reads.append(Read(metric.name, named, metric.labels if space == "avg" else frozenset(), exact=False, bounds=None))


def _google(draft: _Draft) -> None:
    rng, metric = draft.rng, draft.rng.choice(draft.world.metrics)
    label = rng.choice([k for k in metric.keys if k.place == "point"])
    filter_ = f'metric.type="workload.googleapis.com/{metric.name}" metric.labels."{label.key}"="a"'
    query = {"timeSeriesFilter": {"filter": filter_, "aggregation": {"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_RATE"}}}
    widget = {"title": "w", "xyChart": {"dataSets": [{"timeSeriesQuery": query, "plotType": "LINE"}]}}
    document = {"displayName": "g", "gridLayout": {"columns": "2", "widgets": [widget]}}
    draft.files.append(File(f"google-{draft.number}.json", _dumped(document)))
    draft.reads.append(Read(metric.name, metric.labels, bounds=None))


def _nameless(draft: _Draft) -> None:
    """A selector without a name, or with nearly any: it may read everything."""
    text = draft.rng.choice(['count({job="shop"})', 'count by (job) ({__name__=~".+"})', 'sum({__name__!="a_b_c", job="x"})'])
    draft.files += documents.grafana_alerts(draft.rng, draft.number, [Ask(text, ())], "")
    draft.hidden = True


def _lost_panel(draft: _Draft) -> None:
    """A dashboard with a panel of a library that is not there."""
    panel = {"id": 1, "title": "gone", "libraryPanel": {"uid": f"nowhere-{draft.number}", "name": "n"}}
    draft.files.append(File(f"lost-{draft.number}.json", _dumped({"uid": "l", "title": "lost", "panels": [panel], "schemaVersion": 39})))
    draft.hidden = True


def _federated(draft: _Draft) -> None:
    """Another Prometheus takes whole series."""
    metric = draft.rng.choice([m for m in draft.world.metrics if m.kind in (Kind.SUM, Kind.GAUGE)] or [draft.world.metrics[0]])
    selected = metric.said if metric.said.replace("_", "a").isalnum() else f'{{__name__="{metric.said}"}}'
    job = {"job_name": "f", "honor_labels": True, "metrics_path": "/federate", "params": {"match[]": [selected]}}
    draft.files.append(File(f"prometheus-{draft.number}.yml", _dumped({"global": {}, "scrape_configs": [job]})))
    draft.reads.append(Read(metric.name, metric.labels, bounds=None))


def _adapted(draft: _Draft) -> None:
    """Autoscaling by a metric with whatever labels its objects have."""
    metric = draft.rng.choice(draft.world.metrics)
    if not metric.said.replace("_", "a").isalnum():
        return
    part = metric.part("count") if metric.kind in (Kind.HISTOGRAM, Kind.SUMMARY) else metric.said
    rule = {"seriesQuery": f'{part}{{namespace!=""}}', "resources": {"template": "<<.Resource>>"}, "name": {"as": "x"},
            "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)"}  # fmt: skip
    draft.files.append(File(f"adapter-{draft.number}.yaml", _dumped({"rules": [rule]})))
    draft.reads.append(Read(metric.name, metric.labels))


def _dumped(document: object) -> bytes:
    return documents.json.dumps(document).encode()


def _unreadable(draft: _Draft) -> None:
    """One file more, whose queries read metrics that may be read nowhere else, and which nobody can read."""
    every = World(draft.world.style, draft.world.sent, draft.world.sent)
    asks = [ask(draft.rng, every, False) for _ in range(3)]
    file = documents.grafana_alerts(draft.rng, 900 + draft.number, asks, "")[0]
    draft.files.append(draft.rng.choice(DAMAGES)(file, draft.rng))
    draft.reads += [r for a in asks for r in a.reads]
    draft.hidden = True


PARTS: tuple[tuple[Callable[[_Draft], None], float], ...] = (
    (_everywhere, 0.04), (_info, 0.12), (_log, 0.3), (_noise, 0.3), (_ad_hoc, 0.05), (_sql, 0.03), (_pyrra, 0.06), (_datadog, 0.06),
    (_google, 0.06), (_federated, 0.05), (_adapted, 0.05), (_nameless, 0.02), (_lost_panel, 0.02), (_unreadable, UNREADABLE_SHARE),
)  # fmt: skip
"""What a set has besides its queries, and how often."""
