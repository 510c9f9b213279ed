"""Writing the Collector's YAML: scalars whose type cannot be mistaken, and names that are never expanded."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from controlplane.yaml import children

Config = dict[str, Any]


def escaped(scalar: str) -> str:
    """The Collector expands `${…}` in every string value and reads `$$` as `$`: each `$` of a finished scalar is doubled, once."""
    return scalar.replace("$", "$$")


def finished(value: Any) -> Any:
    """A generated part of a configuration, ready to be written: `escaped` on every string value in it (keys are not expanded)."""
    if isinstance(value, Mapping):
        return {key: finished(child) for key, child in children(value)}
    if isinstance(value, list):
        return [finished(child) for _, child in children(value)]
    return escaped(value) if isinstance(value, str) else value


def dumped(config: Config | list[Config]) -> bytes:
    """YAML with every string in double quotes, so that no scalar is read as another type; keys in the base's order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.default_style = '"'  # pyright: ignore[reportAttributeAccessIssue] - annotated as always None
    yaml.width = 2**30
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[attr-defined]
    yaml.representer.add_representer(int, _plain("tag:yaml.org,2002:int", str))
    yaml.representer.add_representer(float, _plain("tag:yaml.org,2002:float", _float))
    yaml.representer.add_representer(bool, _plain("tag:yaml.org,2002:bool", json.dumps))
    yaml.representer.add_representer(type(None), _plain("tag:yaml.org,2002:null", json.dumps))
    out = io.BytesIO()
    yaml.dump(config, out)
    return out.getvalue()


def _float(value: float) -> str:
    """YAML's own spelling of what Python calls inf and nan."""
    return repr(value) if math.isfinite(value) else {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}[repr(value)]


def _plain(tag: str, spell: Any) -> Any:
    def represent(representer: Any, value: Any) -> Any:
        return representer.represent_scalar(tag, spell(value), style="")

    return represent
