"""What a gateway's build holds: component types and the version, as a value, so that a configuration is judged for the target that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flowgate.errors import Invalid, Problem

KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")
Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    version: Version
    """Major and minor of the Collector: (0, 149)."""
    components: Mapping[str, frozenset[str]]
    """Component types by kind (`processors`: `filter`, …), under every name the version knows them by."""

    def has(self, kind: str, component: str) -> bool:
        """By type: `component` may be a whole name, such as `filter/x`."""
        return component.partition("/")[0] in self.components.get(kind, ())

    @property
    def text(self) -> str:
        return f"{self.version[0]}.{self.version[1]}"


_MODULE = re.compile(r"^ *- gomod: \S*?/(?P<module>[a-z]+)(?:/v\d+)? v", re.MULTILINE)
_KIND = re.compile(r"^(?P<kind>receivers|processors|exporters|connectors|extensions|providers|dist|replaces):", re.MULTILINE)
_IRREGULAR = {
    "memorylimiter": "memory_limiter",
    "probabilisticsampler": "probabilistic_sampler",
    "tailsampling": "tail_sampling",
    "healthcheck": "health_check",
    "filestorage": "file_storage",
}
_RENAMED: Mapping[str, tuple[str, Version]] = {
    "otlp exporters": ("otlp_grpc", (0, 144)),
    "otlphttp exporters": ("otlp_http", (0, 144)),
    "filelog receivers": ("file_log", (0, 147)),
}
"""New names of old types, which both work: the version that brought them, as far as the build that is shipped tells."""


def catalogue_of(manifest: str) -> Catalogue:
    """What the builder makes of a manifest such as gateway/manifest.yaml; `Invalid` when it names no version."""
    version = re.search(r"^  version: (\d+)\.(\d+)", manifest, re.MULTILINE)
    if version is None:
        raise Invalid("not a builder's manifest", (Problem("dist/version", "such as 0.149.0"),))
    number = (int(version[1]), int(version[2]))
    starts = [*_KIND.finditer(manifest)]
    ends = [*(s.start() for s in starts[1:]), len(manifest)]
    sections = {s["kind"]: manifest[s.end() : end] for s, end in zip(starts, ends, strict=True)}
    found = {kind: frozenset(_types(kind, (m["module"] for m in _MODULE.finditer(sections.get(kind, ""))), number)) for kind in KINDS}
    return Catalogue(number, found)


def _types(kind: str, modules: Iterable[str], version: Version) -> Iterable[str]:
    for module in modules:
        plain = module.removesuffix(kind.removesuffix("s"))
        yield _IRREGULAR.get(plain, plain)
        renamed, since = _RENAMED.get(f"{plain} {kind}", ("", (0, 0)))
        if renamed and version >= since:
            yield renamed


def with_component(catalogue: Catalogue, kind: str, component: str) -> Catalogue:
    """The same build with one more component."""
    return Catalogue(catalogue.version, {**catalogue.components, kind: catalogue.components.get(kind, frozenset()) | {component}})


GATEWAY = Catalogue(
    (0, 149),
    {
        "receivers": frozenset({"otlp", "nop", "prometheus", "hostmetrics", "filelog", "file_log", "fluentforward"}),
        "processors": frozenset(
            {
                "batch", "memory_limiter", "filter", "transform", "attributes", "resource", "metricstransform", "groupbyattrs", "redaction",
                "probabilistic_sampler", "tail_sampling", "logdedup", "interval", "cumulativetodelta", "deltatocumulative",
            }
        ),
        "exporters": frozenset({"otlp", "otlp_grpc", "otlphttp", "otlp_http", "debug", "nop", "prometheusremotewrite"}),
        "connectors": frozenset({"forward", "routing"}),
        "extensions": frozenset({"zpages", "opamp", "health_check", "file_storage", "bearertokenauth"}),
    },
)  # fmt: skip
"""The build of gateway/manifest.yaml, which a test holds against it."""
