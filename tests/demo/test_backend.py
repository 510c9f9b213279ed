"""The backend's own counter, read as a rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.demo.backend import ACCEPTED, counter, slope

PAGE = f"""# HELP {ACCEPTED}_total Number of points
# TYPE {ACCEPTED}_total counter
{ACCEPTED}_total{{receiver="otlp",transport="grpc"}} 1200
{ACCEPTED}_total{{receiver="otlp",transport="http"}} 34
otelcol_receiver_refused_metric_points_total{{receiver="otlp"}} 5
"""


def test_a_counter_is_the_sum_over_its_label_sets() -> None:
    assert counter(PAGE, ACCEPTED) == 1234


def test_a_counter_that_is_not_there_is_zero() -> None:
    assert counter(PAGE, "otelcol_nothing") == 0


@given(st.floats(0.1, 1e5), st.floats(0, 1e6), st.integers(2, 200))
def test_a_straight_line_has_its_own_slope(rate: float, base: float, n: int) -> None:
    points = [(1.7e9 + k * 0.25, base + rate * k * 0.25) for k in range(n)]
    assert slope([(t - 1.7e9, c) for t, c in points]) == pytest.approx(rate, rel=1e-6)


def test_steps_of_one_second_do_not_bend_the_rate() -> None:
    """Read at the two ends a staircase is off by up to a step in 60; the fit stays within a tenth of that."""
    stairs = [(k * 0.25 + 0.13, math.floor(k * 0.25 + 0.13) * 1000.0) for k in range(240)]
    assert slope(stairs) == pytest.approx(1000.0, rel=0.0017)


def test_one_reading_is_no_rate() -> None:
    with pytest.raises(ValueError, match="two readings"):
        slope([(0.0, 1.0)])
