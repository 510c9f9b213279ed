"""What a variable that a query fills may hold, and what that makes of the queries it stands in."""

from __future__ import annotations

from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from analyzer.references.dashboards import ALONE, read_dashboard, scope_of
from analyzer.references.expressions import Parsed, names_of, read_trees
from analyzer.references.filled import ANYTHING, NUMBERS
from analyzer.references.queries import Json, Query
from analyzer.references.syntax import parse_text
from analyzer.references.tree import Selector
from flowgate.usage import NotUnderstood
from tests.analyzer.trees import walk


def board(*variables: Json, expr: str = "up") -> Json:
    return {
        "title": "x",
        "templating": {"list": [{"type": "query", **v} for v in variables]},
        "panels": [{"title": "p", "datasource": {"type": "prometheus"}, "targets": [{"expr": expr}]}],
    }


def held(query: Any, **more: Any) -> tuple[str, ...]:
    return scope_of(board({"name": "v", "query": query, **more}), ALONE).patterns["v"]


OBJECT = {"qryType": 2, "metric": "node_.*"}

NAMES = [
    ("metrics(node_.*)", {}, {"node_load1", "my_node_load1"}, {"up"}),
    ("metrics(requests_total)", {}, {"http_requests_total"}, {"up"}),
    (OBJECT, {}, {"node_load1"}, {"up"}),
    ("metrics(node_.*)", {"regex": "/cpu/"}, {"node_cpu"}, {"up"}),
    ("metrics(node_.*)", {"regex": "/^(.*)$/"}, {"node_cpu"}, {"up"}),
    ("metrics(node_.*)", {"current": {"value": "up"}}, {"node_load1", "up"}, {"down"}),
    ("metrics(node_.*)", {"current": {"value": ["$__all", "up"]}, "options": [{"value": "old"}]}, {"node_load1", "up", "old"}, {"down"}),
    ("metrics(node_.*)", {"allValue": "any_node"}, {"any_node"}, {"down"}),
    ("label_values(my_metric, __name__)", {}, {"my_metric"}, {"up"}),
    ('label_values(my_metric{a="b"}, __name__)', {}, {"my_metric"}, {"up"}),
    ('label_values({__name__=~"my_.*", job="x"}, __name__)', {}, {"my_metric"}, {"up"}),
    ('label_values({job="x",__name__="my.metric"},__name__)', {}, {"my.metric"}, {"my_metric"}),
    ('label_values({__name__=~"$unknown.*_total"}, __name__)', {}, {"a_total"}, {"up"}),
]


@pytest.mark.parametrize(("query", "more", "names", "others"), NAMES)
def test_a_variable_of_names_holds_those_that_its_query_may_find_and_those_that_were_stored(
    query: Any, more: Json, names: set[str], others: set[str]
) -> None:
    patterns = held(query, **more)
    assert all(any(re2.fullmatch(p, name) for p in patterns) for name in names)
    assert not any(re2.fullmatch(p, name) for p in patterns for name in others)


STORED = {"current": {"value": "5"}, "options": [{"value": "5"}, {"value": "1e3"}]}


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("label_values(m, replicas)", STORED),
        ("label_values(m, replicas)", {"current": {"value": "0.5"}}),
        ("select n from t", {**STORED, "datasource": {"type": "postgres"}}),
        ("label_values(m, l)", {"regex": "/port-([0-9]+)$/"}),
        ("label_values(m, l)", {"regex": "/(?<value>\\d+)/"}),
        ("query_result(1 - $other)", {}),
        ("query_result(time())", {"regex": "/.* ([^ ]*) .*/"}),
        ("query_result(count(m))", {"regex": "{} (.*) .*"}),
        ("query_result(count(m))", {"regex": "/.*} (.*) .*/"}),
        ("query_result(count(m))", {"regex": "/\\{\\} (.*) \\d+/"}),
        ("query_result(count(m))", {"regex": "/.*\\s(.*)\\s.*/"}),
        ("query_result(count(m))", {"current": {"value": '{a="b"} 5 1700000000000'}}),
    ],
)
def test_a_variable_holds_numbers_where_nothing_else_could_make_a_query(query: str, more: Json) -> None:
    assert held(query, **more) == NUMBERS


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("label_values(m, metric_name)", {}),
        ("label_values(metric_name)", {}),
        ("label_values(__name__)", {}),
        ("label_values(m, l)", {"current": {"value": "5"}, "options": [{"value": "5"}, {"value": "up"}]}),
        ("label_values(m, l)", {"regex": "/(\\w+)/"}),
        ("label_values(m, l)", {"regex": "/(\\d+|up)/"}),
        ("label_values(m, l)", {"regex": "/(\\d+)|(up)/"}),
        ("metrics(node_.*)", {"regex": "/node_(.*)/"}),
        ("metrics(node_.*)", {"regex": "/(?<value>node_.*)_total/"}),
        ("metrics([)", {}),
        ("metrics(node_.*)", {"datasource": {"type": "loki"}}),
        ("metrics(node_.*)", {"options": [{"value": f"m{i}"} for i in range(100)]}),
        ('label_values({__name__!="up"}, __name__)', {}),
        ('label_values({__name__="up" or job="x"}, __name__)', {}),
        ('label_values({__name__=~"a.*",__name__=~"b.*"}, __name__)', {}),
        ('label_values({job="x"}, __name__)', {}),
        ("label_values($m, __name__)", {}),
        ("label_names()", {}),
        ("query_result(topk(5, count by (__name__) ({a=~'.+'})))", {"regex": "/(.*){.*/"}),
        ("query_result(m)", {"regex": '/name="([^"]+)"/'}),
        ("query_result(m)", {"regex": "/ ([^ ]*) .*/"}),
        ("query_result(m)", {"regex": "/} ([^ ]*) .*/"}),
        ("query_result(m)", {"regex": "/.* (.*)/", "current": {"value": "up"}}),
        ("query_result(m)", {"current": {"value": "up"}}),
        ("SELECT name FROM metrics", {"datasource": {"type": "mysql"}}),
        ("up", {}),
        ("", {}),
    ],
)
def test_a_variable_whose_values_come_from_a_result_that_is_not_stored_may_hold_any_name(query: str, more: Json) -> None:
    assert held(query, **more) == ANYTHING


# --- in queries -------------------------------------------------------------------------------------------------------------------------


def read(expr: str, *variables: Json) -> set[str]:
    """Names and patterns that the panel reads; `?` when it is not understood."""
    asked = [i for i in read_dashboard(board(*variables, expr=expr)).items if isinstance(i, Query) and i.role == "panel"]
    answers = read_trees([(q.text, q.variables) for q in asked], lambda ts: [parse_text(t) for t in ts], [q.patterns for q in asked])
    found: set[str] = set()
    for answer in answers:
        assert isinstance(answer, Parsed | NotUnderstood)
        if isinstance(answer, NotUnderstood):
            found.add("?")
            continue
        for tree in answer.trees:
            for node in walk(tree):
                if isinstance(node, Selector):
                    found |= frozenset().union(*names_of(node))
    return found


NUMBER = {"name": "n", "query": "query_result(1 - scalar(up))"}
METRIC = {"name": "m", "query": "metrics(node_load)"}
LABEL = {"name": "l", "query": "label_values(a, b)"}
LOAD = "(?:.*(?:node_load).*)"


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("foo * $n", {"foo"}),
        ("foo - (9999 * ${n}) >= 0", {"foo"}),
        ("foo > $n", {"foo"}),
        ("foo > bool [[n]]", {"foo"}),
        ("$n{a='b'}", {".*"}),
        ("${n}_total", {".*_total"}),
        ("foo * $m", {"foo", LOAD}),
        ("foo > $m", {"foo", LOAD}),
        ('sum(rate($m{a="b"}[5m]))', {LOAD}),
        ('{__name__="$m"}', {LOAD}),
        ('{__name__=~"$m|other"}', {LOAD, "other"}),
        ('{__name__=~"${m:regex}"}', {LOAD}),
        ("foo * $l", {"foo", ".*"}),
        ("foo > $l", {"foo", ".*"}),
        ("foo > $threshold", {"foo"}),
        ("foo * $threshold", {"foo", ".*"}),
        ("topk($l, foo)", {"foo"}),
        ('foo{a="$m"}', {"foo"}),
        ("rate(foo[$m])", {"foo"}),
        ("sum by ($m) (foo)", {"foo"}),
    ],
)
def test_a_variable_alone_is_what_it_may_hold(expr: str, names: set[str]) -> None:
    assert read(expr, NUMBER, METRIC, LABEL) == names


def test_a_pattern_that_says_too_little_or_too_much_is_any_name() -> None:
    assert read("$m", {"name": "m", "query": "metrics(\\S.*)"}) == {".*"}
    assert read("$m", {"name": "m", "query": f"metrics({'|'.join(f'metric_number_{i}' for i in range(50))})"}) == {".*"}
    assert read("$m", {"name": "m", "query": "metrics(node_.*)", "current": {"value": "a"}}) == {".*"}


@given(st.text(alphabet='{}()[]*.+?|\\"/=~$, _ab05', max_size=30), st.text(alphabet="(){}.*+?|\\/ ^$[]dSsw0-9<>Pa", max_size=30))
def test_nothing_that_a_variable_says_raises(query: str, regex: str) -> None:
    for call in ("metrics({})", "label_values({}, __name__)", "query_result({})", "{}"):
        read("foo * $v", {"name": "v", "query": call.replace("{}", query), "regex": regex})


@given(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.dictionaries(st.sampled_from("abc"), st.text(alphabet=' {}"\\abc15', max_size=12), max_size=2),
    st.floats(allow_nan=False),
    st.sampled_from([r"{} (.*) .*", r"/.* ([^ ]*) .*/", r"/.*} (.*) .*/", r"/.*\s(\S+)\s.*/", r"/.*} ([^ ]*) \d+/", r"/\} (.*) .*/", ""]),
)
def test_a_regex_behind_the_labels_never_leaves_a_name(name: str, labels: dict[str, str], value: float, regex: str) -> None:
    """Grafana writes a series as `name{label="value",…} value milliseconds`, values not escaped."""
    import re

    shown = ",".join(f'{k}="{v}"' for k, v in labels.items())
    series = f"{name}{{{shown}}} {value:g} 1700000000000"
    assert held("query_result(m)", regex=regex) == NUMBERS
    bare = regex[1:-1] if regex.startswith("/") else f"^{regex}$"
    found = re.search(bare.replace("{}", r"\{\}").replace("\\\\", "\\"), series) if regex else None
    if found is not None and re.fullmatch(r"[a-zA-Z_:][\w:]*", found[1]):
        assert found[1] in ("inf", "nan")
