"""What every `Authenticator` promises; the fake passes it too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flowgate.ids import DEFAULT_ORG, GatewayId, OrgId
from flowgate.ports import Authenticator, Identity
from ingest.tokens import REREAD_SECONDS, FileTokens, token_hash
from tests.fakes import MemoryTokens

KNOWN = {"secret": Identity(OrgId("a"), GatewayId("g"))}
Make = Callable[[bool], Authenticator]


def written(path: Path, known: dict[str, Identity]) -> Path:
    path.write_text(json.dumps({token_hash(t): {"org": i.org, "gateway": i.gateway} for t, i in known.items()}))
    return path


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def memory(open_default: bool) -> Authenticator:
        return MemoryTokens({} if open_default else KNOWN, DEFAULT_ORG if open_default else None)

    def file(open_default: bool) -> Authenticator:
        return FileTokens(None if open_default else written(tmp_path / "t.json", KNOWN), lambda: 0.0)

    return memory if request.param == "memory" else file


def test_a_known_token_names_org_and_gateway(make: Make) -> None:
    assert make(False).authenticate("secret") == KNOWN["secret"]


@pytest.mark.parametrize("token", ["wrong", "secre", "secret2", "SECRET"])
def test_an_unknown_token_is_refused(make: Make, token: str) -> None:
    assert make(False).authenticate(token) is None
    assert make(True).authenticate(token) is None


@pytest.mark.parametrize("token", [None, "", "  "])
def test_no_token_is_the_default_org_only_where_no_tokens_are_asked_for(make: Make, token: str | None) -> None:
    assert make(True).authenticate(token) == Identity(DEFAULT_ORG, None)
    assert make(False).authenticate(token) is None


def test_a_change_of_the_file_is_seen_in_time(tmp_path: Path) -> None:
    now = [0.0]
    tokens = FileTokens(written(tmp_path / "t.json", KNOWN), lambda: now[0])
    assert tokens.authenticate("new") is None
    written(tmp_path / "next", {"new": Identity(OrgId("a"), None)}).replace(tmp_path / "t.json")
    now[0] += REREAD_SECONDS
    assert tokens.authenticate("new") == Identity(OrgId("a"), None)
    assert tokens.authenticate("secret") is None
    assert REREAD_SECONDS <= 5


def test_a_damaged_file_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    now = [0.0]
    tokens = FileTokens(written(tmp_path / "t.json", KNOWN), lambda: now[0])
    assert tokens.authenticate("secret") == KNOWN["secret"]
    (tmp_path / "t.json").write_text("{")
    now[0] += REREAD_SECONDS
    assert tokens.authenticate("secret") == KNOWN["secret"]
    assert tokens.damaged == 1


def test_a_file_that_is_missing_lets_nobody_in(tmp_path: Path) -> None:
    tokens = FileTokens(tmp_path / "nothing.json", lambda: 0.0)
    assert tokens.authenticate(None) is None
    assert tokens.authenticate("secret") is None
