"""What documents are wrapped in: ConfigMaps, custom resources, API envelopes, exports. A wrapping says what is inside; it does not read it."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from analyzer.references.dashboards import is_dashboard, is_panel, read_dashboard
from analyzer.references.dashboards_v2 import is_dashboard_v2, read_dashboard_v2
from analyzer.references.grafana_alerts import is_alerting, read_alerting
from analyzer.references.queries import Found, Json, Unread
from analyzer.references.shapes import at as path_in
from analyzer.references.shapes import first, mapping, mappings, metadata, owner_of, scalar, shown
from analyzer.references.things import Around, At, Element, Entry, Inner, Met, Nothing, SourceType, Text, Wrapped, unreadable

MAX_DOCUMENT_BYTES = 32 * 2**20
"""Of one document, as text: Grafana itself refuses far smaller ones."""
Wrapping = Callable[[Json, At], Iterator[Wrapped] | None]
"""What is in a mapping of its kind; None for one of another kind."""


def of_resource(value: Json, at: At) -> At:
    """A Kubernetes resource is called by its name, and belongs to its folder, team or namespace."""
    if not isinstance(value.get("kind"), str) or not isinstance(value.get("metadata"), dict):
        return at
    name, namespace, labels = metadata(value)
    notes = mapping(path_in(value, "metadata", "annotations"))
    folder = next((scalar(notes[k]) for k in notes if k in _FOLDER_NOTES), None)
    at = at.renamed(name) if name else at
    return at.owned(folder or owner_of(labels, notes) or namespace)


_FOLDER_NOTES = frozenset({"grafana_folder", "grafana.app/folder", "grafana-folder", "folder", "k8s-sidecar-target-directory"})


def _config_map(value: Json, at: At) -> Iterator[Wrapped] | None:
    if value.get("kind") not in ("ConfigMap", "Secret"):
        return None
    secret = value["kind"] == "Secret"
    plain = {} if secret else mapping(value.get("data"))
    encoded = {**mapping(value.get("binaryData")), **(mapping(value.get("data")) if secret else {})}
    texts = {**{k: _decoded(v) for k, v in encoded.items()}, **plain, **mapping(value.get("stringData"))}
    return _entries(metadata(value)[0].rpartition("/")[2], texts, at)


def _entries(name: str, texts: Json, at: At) -> Iterator[Wrapped]:
    yield Nothing(at, "a ConfigMap or Secret in which nothing is a query", unless_met=True)
    for key, text in texts.items():
        yield Entry(name, str(key))
        if isinstance(text, str):
            yield Text(at.down(str(key), named=True), text, must=is_called(str(key)))
        elif isinstance(text, dict | list):
            yield Inner(at.down(str(key), named=True), text)
        elif is_called(str(key)) and text is None:
            yield unreadable(at.down(str(key), named=True), Unread("document", "", "not readable: neither text nor gzip in base64"))


_SUFFIX = re.compile(r"\.(?:json|ya?ml|rules?)(?:\.(?:gz|txt))?$", re.IGNORECASE)


def is_called(key: str) -> bool:
    """Whether a key or file name says that it holds JSON, YAML or rules."""
    return _SUFFIX.search(key) is not None


def _decoded(value: Any) -> str | None:
    """Base64, and gzip inside it; None when it is neither."""
    try:
        raw = base64.b64decode(value, validate=False) if isinstance(value, str) else b""
        return (inflated(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (binascii.Error, ValueError, zlib.error):
        return None


def inflated(raw: bytes, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """gzip, up to a limit: a few bytes may hold gigabytes."""
    decoder = zlib.decompressobj(wbits=31)
    text = decoder.decompress(raw, limit + 1)
    if len(text) > limit:
        raise ValueError(f"larger than {limit} bytes when decompressed")
    if not decoder.eof:
        raise ValueError("gzip that ends early")
    return text


# Grafana's operator


def _operator(value: Json, at: At) -> Iterator[Wrapped] | None:
    """Resources of the Grafana operator; `GrafanaAlertRuleGroup` is read as alerting."""
    if "grafana.integreatly.org" not in str(value.get("apiVersion")) and "integreatly.org" not in str(value.get("apiVersion")):
        return None
    spec = mapping(value.get("spec"))
    match value.get("kind"):
        case "GrafanaDashboard":
            return _of_spec(spec, at.owned(_folder(spec)))
        case "GrafanaLibraryPanel":
            return _of_spec(spec, at.owned(_folder(spec)), scalar(spec.get("uid")) or scalar(path_in(value, "metadata", "uid")) or "")
        case "GrafanaDatasource" | "GrafanaDataSource":
            held = [mapping(spec.get("datasource")), *mappings(spec.get("datasources"))]
            return (kind for source in held for kind in _source_types({**source, "uid": source.get("uid") or spec.get("uid")}))
        case _:
            return None


def _folder(spec: Json) -> str | None:
    return scalar(first(spec, "folder", "folderRef", "folderUID", "customFolderName"))


def _of_spec(spec: Json, at: At, library_uid: str | None = None) -> Iterator[Wrapped]:
    """The dashboard or library panel of a resource: as text, compressed, or told by where it is."""
    text, packed = spec.get("json"), spec.get("gzipJson")
    if isinstance(packed, str) and packed:
        text = _decoded(packed)
        if text is None:
            yield unreadable(at, Unread("gzipJson", "", "not readable: no gzip in base64, or too large"))
    if isinstance(text, str) and text.strip():
        yield Text(at, text, must=True) if library_uid is None else Text(at, text, must=True, library=library_uid)
    elif isinstance(text, dict):
        yield Inner(at, text)
    reference = mapping(first(spec, "configMapRef", "configMap"))
    if reference:
        yield _elsewhere(at, "configMapRef", reference)
    for key, reason in _ELSEWHERE.items():
        if spec.get(key):
            gone = Unread(key, shown(spec[key]), reason)
            yield Met(at, lambda _, gone=gone: Found("grafana_dashboard", at.key, at.key, (gone,)))


_ELSEWHERE = {
    "jsonnet": "jsonnet, which is not evaluated",
    "jsonnetLib": "jsonnet, which is not evaluated",
    "grafanaCom": "a dashboard of grafana.com, which is not among the documents",
    "url": "a dashboard behind an address, which is not among the documents",
}


def _elsewhere(at: At, where: str, reference: Json) -> Met:
    """A reference to a ConfigMap: harmless when that is among the documents, where it is read."""
    name, key = scalar(reference.get("name")) or "", scalar(reference.get("key")) or ""
    gone = Unread(where, f"{name}/{key}", f"the ConfigMap {name} with the key {key} is not among the documents")

    def read(around: Around) -> Found:
        return Found("grafana_dashboard", at.key, at.key, () if (name, key) in around.config_maps else (gone,))

    return Met(at, read)


# Grafana's API, exports and files


def _envelope(value: Json, at: At) -> Iterator[Wrapped] | None:
    """`{meta, dashboard}` when read, `{dashboard, folderUid, inputs}` when written."""
    inner = mapping(value.get("dashboard"))
    if not (is_dashboard(inner) or is_dashboard_v2(inner)) or is_dashboard(value):
        return None
    folder = scalar(path_in(value, "meta", "folderTitle")) or scalar(value.get("folderTitle"))
    inputs = value.get("inputs")
    return iter([Inner(at.owned(folder), {"__inputs": inputs, **inner} if isinstance(inputs, list) else inner)])


def _dashboard_v2(value: Json, at: At) -> Iterator[Wrapped] | None:
    if not is_dashboard_v2(value):
        return None
    return iter([Met(at, lambda around: read_dashboard_v2(value, around.grafana), stubs_of(value))])


def _alerting(value: Json, at: At) -> Iterator[Wrapped] | None:
    return iter([Met(at, lambda around: read_alerting(value, around.grafana))]) if is_alerting(value) else None


def _dashboard(value: Json, at: At) -> Iterator[Wrapped] | None:
    kind = "grafana_dashboard" if is_dashboard(value) else "grafana_panel" if is_panel(value) else None
    return _with_elements(value, at, kind) if kind else None


def _with_elements(value: Json, at: At, kind: str) -> Iterator[Wrapped]:
    yield Met(at, lambda around: read_dashboard(value, around.grafana, kind), stubs_of(value))
    elements = value.get("__elements")
    for element in mappings(list(mapping(elements).values()) if isinstance(elements, dict) else elements):
        if isinstance(element.get("model"), dict):
            yield Element(at, scalar(element.get("uid")) or "", scalar(element.get("name")) or "", mapping(element["model"]), spare=True)


def stubs_of(value: Any) -> frozenset[str]:
    """The library panels that a dashboard points at, by uid and by name."""
    found: set[str] = set()
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        elif isinstance(node, dict):
            stub = mapping(node.get("libraryPanel"))
            found.update(t for key in ("uid", "name") if (t := scalar(stub.get(key))))
            stack.extend(v for v in node.values() if isinstance(v, dict | list))
    return frozenset(found)


def _element(value: Json, at: At) -> Iterator[Wrapped] | None:
    """A library element as the API and exports give it."""
    model = mapping(value.get("model"))
    uid, name = scalar(value.get("uid")), scalar(value.get("name"))
    if not (uid or name) or "refId" in value or "datasourceUid" in value or not _is_model(model):
        return None
    return iter([Element(at.owned(scalar(path_in(value, "meta", "folderName"))), uid or "", name or "", model)])


def _is_model(model: Json) -> bool:
    return is_panel(model) or ("type" in model and not {"options", "fieldConfig", "gridPos", "targets"}.isdisjoint(model))


def library_panel(value: Json, at: At, uid: str) -> Element | None:
    """The text of an operator's library panel: an element, or its model alone."""
    held = mapping(value.get("model"))
    model = held if _is_model(held) else value
    if not _is_model(model):
        return None
    stub = mapping(model.get("libraryPanel"))
    name = scalar(value.get("name")) or scalar(stub.get("name")) or scalar(model.get("title")) or at.key
    return Element(at, scalar(value.get("uid")) or uid or scalar(stub.get("uid")) or "", name, model)


def _source(value: Json, at: At) -> Iterator[Wrapped] | None:
    """A data source, as provisioned or as the API lists it."""
    listed = at.keys[-2:-1] == ("datasources",) or not {"access", "typeLogoUrl"}.isdisjoint(value)
    return _source_types(value) if listed and scalar(value.get("type")) and scalar(value.get("name")) and "targets" not in value else None


def _source_types(source: Json) -> Iterator[SourceType]:
    kind = scalar(source.get("type"))
    if kind:
        default = source.get("isDefault") is True
        yield from (SourceType(name, kind, default) for key in ("name", "uid") if (name := scalar(source.get(key))))


WRAPPINGS: tuple[Wrapping, ...] = (_config_map, _operator, _envelope, _dashboard_v2, _alerting, _dashboard, _element, _source)
"""In this order: what wraps before what is wrapped, and exact marks before loose shapes."""
