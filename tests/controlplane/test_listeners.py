"""A taken port is named with whoever holds it, where that can be known."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from controlplane.app import _listen, make_folder
from controlplane.listeners import owner
from flowgate.errors import Broken, Invalid, Unreachable


def test_who_listens_on_a_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert owner(port) is None, "bound, but not listening"
        taken.listen()
        name = Path("/proc/self/comm").read_text().strip()
        assert owner(port) == name
        with pytest.raises(Unreachable, match=rf"port {port} \(API\) cannot be had: .* by {name}"):
            _listen(f"127.0.0.1:{port}", "API")


def test_where_processes_cannot_be_seen_nobody_is_named(tmp_path: Path) -> None:
    assert owner(80, tmp_path) is None


@pytest.mark.parametrize("address", ["", "8000", ":8000", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_is_one_clear_sentence(address: str) -> None:
    with pytest.raises(Invalid, match="host:port"):
        _listen(address, "API")


def test_a_folder_below_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Broken, match="cannot be written"):
        make_folder(tmp_path / "file" / "logs")
