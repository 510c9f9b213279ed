"""The shapes of CONTRACTS: actions survive a round trip, and bad ones name the field."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.actions import DropLogs, DropMetric
from flowgate.advice import Risk, Waiver, raised
from flowgate.errors import Invalid
from flowgate.ids import OrgId, WaiverId, gateway_id
from flowgate.money import Cost, Volume
from flowgate.ports import bearer
from flowgate.shapes import action_from_json, action_json, cost_json, volume_json

actions = st.one_of(
    st.builds(DropMetric, st.text(min_size=1)),
    st.builds(DropLogs, st.text(min_size=1), st.integers(1, 24)),
)


@given(actions)
def test_an_action_survives_the_round_trip(action: DropMetric | DropLogs) -> None:
    assert action_from_json(action_json(action)) == action


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, "action/type"),
        ({"type": "drop_everything"}, "action/type"),
        ({"type": "drop_metric"}, "action/metric"),
        ({"type": "drop_metric", "metric": ""}, "action/metric"),
        ({"type": "drop_metric", "metric": 7}, "action/metric"),
        ({"type": "drop_metric", "metric": "a", "why": "b"}, "action/why"),
        ({"type": "drop_logs", "service": "a"}, "action/max_severity_number"),
        ({"type": "drop_logs", "service": "a", "max_severity_number": True}, "action/max_severity_number"),
        ({"type": "drop_logs", "service": "a", "max_severity_number": 0}, "action/max_severity_number"),
        ({"type": "drop_logs", "service": "a", "max_severity_number": 25}, "action/max_severity_number"),
        ({"type": "drop_logs", "max_severity_number": 8}, "action/service"),
    ],
)
def test_a_bad_action_names_the_field(value: dict[str, object], path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        action_from_json(value)
    assert [p.path for p in refusal.value.problems] == [path]


@pytest.mark.parametrize("severity", [0, 25, -1])
def test_unset_severity_can_never_be_dropped(severity: int) -> None:
    with pytest.raises(ValueError, match="severity"):
        DropLogs("a", severity)


def test_a_cost_is_a_decimal_string_with_its_currency_and_period() -> None:
    assert cost_json(Cost(Decimal("1.00005"), "USD")) == {"amount": "1.0000", "currency": "USD", "per": "30d"}


def test_currencies_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="cannot add"):
        _ = Cost(Decimal(1), "USD") + Cost(Decimal(1), "EUR")


def test_volumes_subtract_field_by_field() -> None:
    difference = Volume(10, 20, 3.0, 40.0) - Volume(1, 2, 1.0, 10.0)
    assert volume_json(difference) == {"series": 9, "prom_series": 18, "points_per_second": 2.0, "bytes_per_second": 30.0}


def test_risk_rises_one_step_and_stops_at_high() -> None:
    assert [raised(r) for r in Risk] == [Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.HIGH]


def test_a_waiver_ends_at_its_expiry_and_covers_only_its_scope_and_org() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    waiver = Waiver(WaiverId("w"), OrgId("o"), "template/a", "why", "someone", now + timedelta(hours=1))
    assert waiver.allows(OrgId("o"), "template/a", now)
    assert not waiver.allows(OrgId("o"), "template/b", now)
    assert not waiver.allows(OrgId("p"), "template/a", now)
    assert not waiver.allows(OrgId("o"), "template/a", now + timedelta(hours=1))


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), ("", None), ("Bearer ", None), ("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", None)],
)
def test_an_empty_bearer_counts_as_none(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a/b", "a" * 64, "..", "a\n"])
def test_a_gateway_name_is_a_slug(text: str) -> None:
    with pytest.raises(Invalid):
        gateway_id(text)


def test_a_slug_has_up_to_63_characters() -> None:
    assert gateway_id("a" * 63) == "a" * 63
