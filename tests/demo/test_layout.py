"""The demo's folder is its own, and its ports move when they are taken."""

import socket
from pathlib import Path

import pytest

from controlplane.demo import layout
from controlplane.demo.layout import FIXED, choose_ports, prepare
from flowgate.errors import Broken, Refused


def test_a_folder_that_is_not_the_demos_is_left_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Refused, match="not made by the demo"):
        prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    prepare(tmp_path / "data")
    (tmp_path / "data" / "segments" / "old").mkdir(parents=True)
    paths = prepare(tmp_path / "data")
    assert sorted(p.name for p in paths.data.iterdir()) == [layout.MARKER, "logs"]


def test_a_folder_below_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Broken, match="cannot be written"):
        prepare(tmp_path / "file" / "data")


def test_a_nearly_full_disk_is_refused_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "NEEDED_BYTES", 2**62)
    with pytest.raises(Broken, match="free"):
        prepare(tmp_path / "data")


def test_a_taken_port_moves_and_says_so() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        original = FIXED["api"]
        FIXED["api"] = port
        try:
            ports = choose_ports(1)
        finally:
            FIXED["api"] = original
    assert ports.fixed["api"] != port
    assert ("api", port, ports.fixed["api"]) in ports.moved


def test_gateways_have_ports_of_their_own() -> None:
    ports = choose_ports(3)
    every = [*ports.fixed.values(), *(p for g in ports.gateways for p in g.values())]
    assert len(every) == len(set(every))
