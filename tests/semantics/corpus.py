"""Expressions of dashboards and rule files, found by their key alone: the judge does not lean on the readers that it judges beside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ryaml._ryaml import InvalidYamlError, loads_all

from analyzer.references.substitution import spellings
from tests.semantics.claims import tree_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "usage"
SAMPLES = ROOT.parent / "shared" / "samples" / "usage"


def expressions_under(*folders: Path) -> list[str]:
    """Every expression that parses once its variables are filled in, sorted, each once."""
    files = sorted(f for folder in folders for f in folder.rglob("*") if f.suffix in (".json", ".yaml", ".yml"))
    written = {text for file in files for text in _expressions(_loaded(file.read_text()))}
    return sorted({finished for text in written if (finished := _finished(text)) is not None})


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return list(loads_all(text))
    except InvalidYamlError:
        return None


def _expressions(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, each in value.items():
                if key == "expr" and isinstance(each, str):
                    yield each
                else:
                    yield from _expressions(each)
        case list():
            for each in value:
                yield from _expressions(each)
        case str() if value.lstrip().startswith("{") and '"expr"' in value:
            yield from _expressions(_loaded(value))
        case _:
            return


def _finished(text: str) -> str | None:
    """The first spelling of the first choice of variables that is PromQL."""
    return next((each for choice in spellings(text, {})[:1] for each in choice if tree_of(each) is not None), None)
