"""Documentation that fails when the code moves on."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from flowgate.actions import DropLogs, DropMetric
from flowgate.advice import BlindSpot, Evidence, Finding, Recommendation, Risk, Verdict
from flowgate.ids import FindingId, RecommendationId
from flowgate.money import Cost, Estimated, Volume
from flowgate.shapes import action_json, finding_json, recommendation_json
from flowgate.telemetry import Signal

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "gateway" / "README.md",
]
SCHEMAS = sorted((ROOT / "docs" / "schemas").glob("*.json"))


def schema(name: str) -> Draft202012Validator:
    registry = Registry().with_resources((s.name, Resource.from_contents(json.loads(s.read_text()))) for s in SCHEMAS)  # type: ignore[arg-type]
    return Draft202012Validator(json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text()), registry=registry)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda p: p.name)
def test_every_schema_is_one(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text()))


COST = Cost(Decimal("1.5"), "USD")
FINDING = Finding(
    FindingId("f-1"), "unused_metric", Signal.METRICS, "m", None, Verdict.UNREFERENCED, "not referenced", Risk.LOW,
    (Evidence("traffic", expression="m"),), (BlindSpot("narrowing", "why"),), Volume(1, 1, 1.0, 1.0), COST, DropMetric("m"),
)  # fmt: skip


def test_findings_have_the_shape_of_the_contract() -> None:
    schema("finding").validate(finding_json(FINDING))


@pytest.mark.parametrize("action", [DropMetric("m"), DropLogs("s", 8)])
def test_actions_and_recommendations_have_the_shape_of_the_contract(action: DropMetric | DropLogs) -> None:
    schema("action").validate(action_json(action))
    made = Recommendation(
        RecommendationId("r-1"),
        (FINDING.id,),
        (action,),
        Estimated(Volume(1, 1, 1.0, 1.0), COST),
        (1.0, 1.0),
        Risk.LOW,
        True,
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    schema("recommendation").validate(recommendation_json(made))


@pytest.mark.parametrize("value", [{"type": "drop_everything"}, {"type": "drop_metric"}, {"type": "drop_metric", "metric": "m", "x": 1}])
def test_the_schema_refuses_what_the_code_refuses(value: dict[str, object]) -> None:
    assert not schema("action").is_valid(value)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_targets_and_commands_that_are_named_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    from controlplane.cli import app

    commands = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    text = page.read_text()
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    assert set(re.findall(r"`flowgate ([a-z]+)", text)) <= commands


def test_every_setting_is_documented() -> None:
    from controlplane.settings import Settings

    text = (ROOT / "docs" / "commands.md").read_text()
    for name in Settings.model_fields:
        assert f"FLOWGATE_{name.upper()}" in text


def test_every_make_target_says_what_it_does() -> None:
    text = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert declared
    assert set(declared[1].split()) == set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


def test_every_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    groups += [d for extra in project["project"]["optional-dependencies"].values() for d in extra]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for name in {re.split(r"[\[><=]", d)[0] for d in groups}:
        assert f"`{name}`" in page, name


def test_the_licence_is_apache_2() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


def test_urllib3_is_what_it_says() -> None:
    """A package that overwrites urllib3 through a .pth file once broke every HTTP test."""
    assert find_spec("urllib3_future") is None
    import urllib3

    assert tuple(map(int, urllib3.__version__.split(".")[:2])) < (2, 20)


def test_locks_name_no_address() -> None:
    for name in ("constraints.txt", "requirements.lock"):
        assert "://" not in (ROOT / name).read_text()


def test_the_openapi_document_is_fresh() -> None:
    from controlplane.api.document import document

    assert json.loads((ROOT / "docs" / "openapi.json").read_text()) == document()
