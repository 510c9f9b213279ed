"""Token → principal. The org comes from here, never from a query or a body."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from controlplane.ports import ControlStore, UnitOfWork
from flowgate.errors import Broken, Unauthorized
from flowgate.ids import DEFAULT_ORG, OrgId
from flowgate.ports import Identity, bearer

TOKEN_BYTES = 32
"""256 random bits need no slow hash: SHA-256 at rest is enough."""
USER_PREFIX, GATEWAY_PREFIX = "fgu_", "fgg_"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls the API."""

    org: OrgId
    name: str


class Forbidden(Unauthorized):
    """A credential that is known, but not for this."""


def new_token(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> str:
    """What is stored and looked up; the look-up is by the hash of a random value, so its timing tells nothing about any token."""
    return hashlib.sha256(token.encode()).hexdigest()


def principal(work: UnitOfWork, header: str | None) -> Principal:
    """The caller of the API. Raises `Unauthorized`, or `Forbidden` for a gateway's token."""
    token = bearer(header)
    if token is None:
        raise Unauthorized("a bearer token is needed")
    org = work.user_org(digest(token))
    if org is None:
        if work.gateway_identity(digest(token)) is not None:
            raise Forbidden("a gateway's token opens OpAMP and the tap, not the API")
        raise Unauthorized("the token is not known")
    return Principal(org, "admin")


def gateway_identity(work: UnitOfWork, header: str | None) -> Identity | None:
    """The gateway that a token was issued to; None: refused."""
    token = bearer(header)
    return work.gateway_identity(digest(token)) if token else None


def bootstrap(store: ControlStore, token_file: Path) -> None:
    """At the first start: the default org, and an admin token written once to `token_file`, readable by its owner only."""
    with store.begin() as work:
        if work.orgs():
            return
        token = new_token(USER_PREFIX)
        work.add_org(DEFAULT_ORG)
        work.add_user_token(DEFAULT_ORG, digest(token))
        write_private(token_file, token + "\n")
        work.commit()


def write_tap_tokens(work: UnitOfWork, path: Path) -> None:
    """The tap's token file: `{sha256 of token: {"org", "gateway"}}`, replaced whole."""
    entries = {d: {"org": i.org, "gateway": i.gateway} for d, i in work.gateway_tokens()}
    write_private(path, json.dumps(entries))


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 by rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        raise Broken(f"{path} cannot be written: {error.strerror}") from error
