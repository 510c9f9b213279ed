"""Expressions of dashboards and rule files, found by their key alone: the judge does not lean on the readers that it judges beside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ryaml._ryaml import InvalidYamlError, loads_all

from analyzer.references.substitution import spellings
from tests.semantics.claims import tree_of
from tests.semantics.series import Rule

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "usage"
SAMPLES = ROOT.parent / "shared" / "samples" / "usage"


def expressions_under(*folders: Path) -> list[str]:
    """Every expression that parses once its variables are filled in, sorted, each once."""
    written = {entry["expr"] for entry in _entries_under(folders)}
    return sorted({finished for text in written if (finished := _finished(text)) is not None})


def rules_under(*folders: Path) -> list[Rule]:
    """Every recording rule."""
    recording = [e for e in _entries_under(folders) if isinstance(e.get("record"), str)]
    return [Rule(e["record"], e["expr"].strip(), tuple(sorted((e.get("labels") or {}).items()))) for e in recording]


def _entries_under(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    files = sorted(f for folder in folders for f in folder.rglob("*") if f.suffix in (".json", ".yaml", ".yml"))
    for file in files:
        yield from _entries(_loaded(file.read_text()))


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return list(loads_all(text))
    except InvalidYamlError:
        return None


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping with an expression, also in JSON that a ConfigMap holds as text."""
    match value:
        case dict():
            if isinstance(value.get("expr"), str):
                yield value
            for each in value.values():
                yield from _entries(each)
        case list():
            for each in value:
                yield from _entries(each)
        case str() if value.lstrip().startswith("{") and '"expr"' in value:
            yield from _entries(_loaded(value))
        case _:
            return


def _finished(text: str) -> str | None:
    """The first spelling of the first choice of variables that is PromQL."""
    return next((each for choice in spellings(text, {})[:1] for each in choice if tree_of(each) is not None), None)
