"""A bundle is its bytes; its hash is the fleet's only truth."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowgate.fleet import ConfigBundle, ConfigFile, config_hash

names = st.text(min_size=1, max_size=8)
bodies = st.binary(min_size=1, max_size=16).filter(bytes.strip)


def test_the_hash_is_the_one_contracts_spells_out() -> None:
    file = ConfigFile("collector.yaml", "text/yaml", b"a: 1\n")
    expected = hashlib.sha256(
        (14).to_bytes(8, "big") + b"collector.yaml" + (9).to_bytes(8, "big") + b"text/yaml" + (5).to_bytes(8, "big") + b"a: 1\n"
    ).digest()
    assert config_hash((file,)) == expected


@given(st.dictionaries(names, bodies, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_change_the_hash(files: dict[str, bytes], random) -> None:  # type: ignore[no-untyped-def]
    made = [ConfigFile(n, "text/yaml", b) for n, b in files.items()]
    shuffled = list(made)
    random.shuffle(shuffled)
    assert ConfigBundle(tuple(made)).hash == ConfigBundle(tuple(shuffled)).hash


def test_bytes_moved_between_name_and_body_change_the_hash() -> None:
    left = config_hash((ConfigFile("ab", "t", b"c"),))
    right = config_hash((ConfigFile("a", "t", b"bc"),))
    assert left != right


@pytest.mark.parametrize("files", [(), (ConfigFile("a", "text/yaml", b""),), (ConfigFile("a", "text/yaml", b" \n"),)])
def test_an_empty_bundle_does_not_exist(files: tuple[ConfigFile, ...]) -> None:
    with pytest.raises(ValueError, match="never empty"):
        ConfigBundle(files)


def test_two_files_of_one_name_are_refused() -> None:
    file = ConfigFile("a", "text/yaml", b"x")
    with pytest.raises(ValueError, match="unique"):
        ConfigBundle((file, file))
