from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from librarian.checksums import ALGORITHMS, Checksum, check_algorithm, checksum_of, new_hasher
from librarian.errors import AlgorithmNotAllowed, InvalidInput


@given(st.sampled_from(ALGORITHMS), st.binary(min_size=32, max_size=32))
def test_text_and_back(algorithm: str, value: bytes) -> None:
    checksum = Checksum(algorithm, value)
    assert str(checksum) == f"{algorithm}:{value.hex()}"
    assert Checksum.parse(str(checksum)) == checksum
    assert Checksum.parse(str(checksum).replace(value.hex(), value.hex().upper())) == checksum


@given(st.lists(st.binary(max_size=5000), max_size=5))
def test_hashers_agree_with_their_libraries(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    expected = {"sha256": hashlib.sha256(whole).digest(), "blake3": blake3(whole).digest()}
    for algorithm, value in expected.items():
        hasher = new_hasher(algorithm)
        for part in parts:
            hasher.update(memoryview(part))
        assert hasher.digest() == value
        assert checksum_of(algorithm, whole) == Checksum(algorithm, value)


@pytest.mark.parametrize("algorithm", ["md5", "xxh3", "SHA256", "", "sha256\n", "\udcff"])
def test_weak_and_unknown_algorithms_are_refused(algorithm: str) -> None:
    for attempt in (check_algorithm, new_hasher, lambda name: checksum_of(name, b"")):
        with pytest.raises(AlgorithmNotAllowed) as caught:
            attempt(algorithm)
        caught.value.message.encode()


@pytest.mark.parametrize(
    "text", ["sha256:", "sha256:00", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "0" * 64, ""]
)
def test_no_checksum(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Checksum.parse(text)
    assert "hexadecimal" in caught.value.remedy
