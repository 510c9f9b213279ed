"""The loader numbers every point, so that loss and duplication can be told apart."""

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from examples.load import make_body


def test_every_point_has_the_next_number_and_the_given_time() -> None:
    request = ExportMetricsServiceRequest.FromString(make_body(50).numbered(1_000, 42))
    points = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert [p.as_int for p in points] == list(range(1_000, 1_050))
    assert {p.time_unix_nano for p in points} == {42}


def test_a_body_can_be_numbered_again() -> None:
    body = make_body(3)
    assert body.numbered(5, 1) != body.numbered(6, 1)
    assert body.numbered(5, 1) == body.numbered(5, 1)
