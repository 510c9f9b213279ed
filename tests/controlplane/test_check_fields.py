"""The allow-list: every row is a field that the real binary knows, and what has no row is refused with its place and a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import ryaml

from controlplane.check import ALLOWED, GATEWAY, catalogue_of, check_config, with_component
from controlplane.check.components import SERVICE
from controlplane.check.fields import Either, Keyed, Leaf, Many, Spec, refused
from controlplane.collector import Collector
from controlplane.render import dumped, render
from tests.actions import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "examples"
COMPONENTS = [(kind, component) for kind, listed in ALLOWED.items() for component in listed]
MUST_BE = {"error_mode": "ignore", "context": "resource"}


def skeleton(spec: Spec, key: str = "") -> Any:
    """A value with every field of a spec, all of them empty."""
    match spec:
        case Leaf():
            return MUST_BE.get(key)
        case Many(of):
            return [] if isinstance(of, Leaf) else [skeleton(of)]
        case Keyed():
            return {}
        case Either(first, _):
            return skeleton(first)
        case _:
            return {k: skeleton(v, k) for k, v in spec.items()}


def mappings(spec: Spec, path: str) -> Iterator[tuple[str, Any]]:
    """Each place that has a fixed set of fields, and a value that is right everywhere but for one unknown field there."""
    match spec:
        case Leaf():
            return
        case Many(of):
            yield from ((p, [v]) for p, v in mappings(of, f"{path}/0"))
        case Keyed(of):
            yield from ((p, {"any": v}) for p, v in mappings(of, f"{path}/any"))
        case Either(first, second):
            yield from mappings(first, path)
            yield from mappings(second, path)
        case _:
            yield f"{path}/unknown", {"unknown": 1}
            for key, child in spec.items():
                yield from ((p, {key: v}) for p, v in mappings(child, f"{path}/{key}"))


def config(kind: str, component: str, settings: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "receivers": {"nop": {}},
        "exporters": {"nop": {}},
        "service": {"pipelines": {"metrics": {"receivers": ["nop"], "exporters": ["nop"]}}},
    }
    made.setdefault(kind, {})[component] = settings
    return made


@pytest.mark.binary
@pytest.mark.parametrize(("kind", "component"), [c for c in COMPONENTS if c[1] != "aggregation"])
def test_every_field_that_is_allowed_is_one_the_binary_knows(collector: Path, kind: str, component: str) -> None:
    body = dumped(config(kind, component, skeleton(ALLOWED[kind][component])))
    assert not [p for p in Collector(collector).validate(body) if "invalid keys" in p.message or "not found in type" in p.message]


@pytest.mark.binary
def test_every_field_of_the_service_is_one_the_binary_knows(collector: Path) -> None:
    made = config("receivers", "nop", {})
    made["service"]["telemetry"] = skeleton(SERVICE["telemetry"])
    assert not [p for p in Collector(collector).validate(dumped(made)) if "invalid keys" in p.message]


@pytest.mark.parametrize(("kind", "component"), COMPONENTS)
def test_an_unknown_field_is_refused_wherever_it_stands(kind: str, component: str) -> None:
    spec = ALLOWED[kind][component]
    places = list(mappings(spec, f"{kind}/{component}"))
    assert places
    for path, value in places:
        assert path in [p.path for p in refused(value, spec, f"{kind}/{component}")]


@pytest.mark.parametrize(("kind", "component"), COMPONENTS)
def test_nothing_at_all_is_allowed(kind: str, component: str) -> None:
    assert list(refused(None, ALLOWED[kind][component], "x")) == []


DENIED: Mapping[str, tuple[str, ...]] = {
    "receivers": (
        "{otlp: {protocols: {grpc: {endpoint: 'unix:///run/x.sock'}}}}", "{otlp: {protocols: {grpc: {transport: unix}}}}",
        "{otlp: {protocols: {http: {tls: {cert_file: /x}}}}}", "{otlp: {protocols: {http: {tls: {client_ca_file: /x}}}}}",
        "{otlp: {protocols: {http: {tls: {key_pem: secret}}}}}", "{otlp: {protocols: {http: {middlewares: []}}}}",
        "{prometheus: {config: {scrape_config_files: [/x]}}}", "{prometheus: {config: {scrape_configs: [{file_sd_configs: []}]}}}",
        "{prometheus: {config: {scrape_configs: [{http_sd_configs: []}]}}}", "{prometheus: {config: {scrape_configs: [{kubernetes_sd_configs: []}]}}}",
        "{prometheus: {config: {scrape_configs: [{authorization: {credentials_file: /x}}]}}}", "{prometheus: {config: {scrape_configs: [{proxy_url: x}]}}}",
        "{prometheus: {config: {scrape_configs: [{authorization: {credentials: secret}}]}}}", "{prometheus: {config: {scrape_configs: [{oauth2: {}}]}}}",
        "{prometheus: {config: {scrape_configs: [{basic_auth: {password_file: /x}}]}}}", "{prometheus: {config: {scrape_configs: [{tls_config: {ca_file: /x}}]}}}",
        "{prometheus: {config: {scrape_configs: [{tls_config: {insecure_skip_verify: true}}]}}}", "{prometheus: {config: {remote_write: []}}}",
        "{prometheus: {config: {rule_files: [/x]}}}", "{prometheus: {target_allocator: {endpoint: x}}}", "{prometheus: {api_server: {enabled: true}}}",
        "{prometheus: {config: {scrape_configs: [{static_configs: [{targets: ['file:///x']}]}]}}}", "{hostmetrics: {root_path: /hostfs}}",
        "{filelog: {include: [/etc/shadow]}}", "{filelog: {include: ['${env:FLOWGATE_LOGS}/*.log']}}", "{filelog: {delete_after_read: true}}",
        "{filelog: {operators: [{type: file_output, path: /x}]}}", "{filelog: {operators: [{type: stdin}]}}", "{filelog: {ordering_criteria: {}}}",
    ),
    "processors": (
        "{filter: {error_mode: ignore, profiles: {profile: []}}}", "{redaction: {hmac_key: secret}}", "{tail_sampling: {policies: [{type: external}], x: 1}}",
        "{transform: {error_mode: ignore, metric_statements: [{context: metric, error_mode: propagate, statements: []}]}}",
        "{redaction: {db_sanitizer: {}}}",
    ),
    "exporters": (
        "{otlp/x: {endpoint: 'file:///x'}}", "{otlp/x: {endpoint: 'http://me:secret@host'}}", "{otlp/x: {tls: {ca_file: /x}}}",
        "{otlp/x: {tls: {insecure_skip_verify: true}}}", "{otlp/x: {tls: {insecure_skip_verify: '${env:FLOWGATE_X}'}}}", "{otlp/x: {tls: {tpm: {enabled: true}}}}",
        "{otlp_http/x: {proxy_url: 'http://x'}}", "{otlphttp/x: {logs_endpoint: 'gopher://x'}}", "{prometheusremotewrite: {wal: {directory: /x}}}",
        "{debug: {output_paths: [/etc/passwd]}}", "{otlp/x: {middlewares: [{id: x}]}}",
    ),
    "connectors": ("{routing: {error_mode: ignore, x: 1}}", "{forward: {x: 1}}"),
    "extensions": (
        "{file_storage: {directory: /var/lib}}", "{file_storage: {create_directory: true}}", "{bearertokenauth: {filename: /x}}", "{bearertokenauth: {token: secret}}",
        "{health_check: {tls: {cert_file: /x}}}", "{zpages: {endpoint: 'unix:/x'}}", "{opamp: {server: {http: {tls: {key_file: /x}}}}}",
    ),
    "service": (
        "{telemetry: {logs: {output_paths: [/x]}}}", "{telemetry: {logs: {processors: []}}}", "{telemetry: {traces: {processors: []}}}",
        "{telemetry: {metrics: {readers: [{periodic: {exporter: {otlp: {certificate: /x}}}}]}}}", "{telemetry: {metrics: {readers: [{pull: {exporter: {x: 1}}}]}}}",
        "{pipelines: {metrics: {receivers: [nop], exporters: [nop], x: 1}}}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, listed in DENIED.items() for text in listed])
def test_what_reads_files_or_reaches_out_is_refused_with_a_reason(kind: str, text: str) -> None:
    made = config("receivers", "nop", {})
    if kind == "service":
        made["service"] = {**made["service"], **ryaml.loads(text)}
    else:
        made[kind] = {**made.get(kind, {}), **ryaml.loads(text)}
    problems = [p for p in check_config(dumped(made).decode()) if p.path.startswith(kind)]
    assert problems
    assert all(p.message for p in problems)


@pytest.mark.parametrize("text", ["{file/x: {path: /x}}", "{clickhouse: {}}", "{'': {}}", "{otlp2: {}}"])
def test_a_component_that_is_not_listed_is_refused(text: str) -> None:
    made = config("receivers", "nop", {})
    made["exporters"] |= ryaml.loads(text)
    assert "this component is not one that a gateway may run" in [p.message for p in check_config(dumped(made).decode())]


def test_a_section_that_is_not_known_is_refused() -> None:
    made = {**config("receivers", "nop", {}), "x-anchors": {}}
    assert [p.path for p in check_config(dumped(made).decode())] == ["x-anchors"]


# --- what the product itself makes -------------------------------------------------------------------------------------------------


def test_the_catalogue_is_what_the_manifest_builds() -> None:
    found = catalogue_of((ROOT / "gateway" / "manifest.yaml").read_text())
    assert found == GATEWAY
    assert all(component in ALLOWED[kind] for kind, types in found.components.items() for component in types)


def test_an_older_manifest_is_an_older_catalogue() -> None:
    found = catalogue_of((ROOT / "gateway" / "manifest-0.130.yaml").read_text())
    assert found.version == (0, 130)
    assert found.components["processors"] == GATEWAY.components["processors"]
    assert found.components["exporters"] == {"otlp", "otlphttp", "debug", "nop", "prometheusremotewrite"}


@pytest.mark.parametrize("name", ["base.yaml", "backend.yaml"])
def test_the_configurations_that_are_shipped_pass(name: str) -> None:
    assert check_config((ROOT / "gateway" / name).read_text()) == []


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/examples is not here")
@pytest.mark.parametrize("name", ["gateway-base.yaml", "backend.yaml"])
def test_the_configurations_of_the_examples_pass(name: str) -> None:
    assert check_config((SHARED / name).read_text()) == []


def test_everything_rendered_passes() -> None:
    base = (ROOT / "gateway" / "base.yaml").read_text().replace("exporters:\n", "exporters:\n  otlp/archive:\n    endpoint: a:1\n", 1)
    rendered = render(base, EXAMPLES).files[0].body.decode()
    assert [p.path for p in check_config(rendered)] == ["processors/aggregation/flowgate"]
    assert check_config(rendered, with_component(GATEWAY, "processors", "aggregation")) == []
