from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.wire import g711
from flare_actors.wire.g711 import Law

EVERY_BYTE = bytes(range(256))
EVERY_SAMPLE = b"".join(number.to_bytes(2, "little") for number in range(65_536))


@pytest.mark.parametrize(
    ("law", "decoded", "encoded"),
    [(Law.MU, "3dab54339e520bb2", "617fa4850d68d390"), (Law.A, "e04788d110e58ff8", "f77c76aa923ee256")],
)
def test_the_tables_are_those_of_the_standard_library_that_was(law: Law, decoded: str, encoded: str) -> None:
    # Digests of audioop.ulaw2lin, lin2ulaw, alaw2lin and lin2alaw, CPython 3.11, over all there is.
    assert hashlib.sha256(g711.decode(EVERY_BYTE, law)).hexdigest().startswith(decoded)
    assert hashlib.sha256(g711.encode(EVERY_SAMPLE, law)).hexdigest().startswith(encoded)


@given(st.binary(max_size=200), st.sampled_from(Law))
def test_what_was_companded_once_does_not_change_any_more(data: bytes, law: Law) -> None:
    pcm = g711.decode(data, law)
    assert g711.decode(g711.encode(pcm, law), law) == pcm


@pytest.mark.parametrize("law", Law)
def test_silence_is_the_byte_that_telephones_send(law: Law) -> None:
    assert g711.encode(bytes(4), law) == {Law.MU: b"\xff\xff", Law.A: b"\xd5\xd5"}[law]
    assert g711.encode(b"", law) == g711.decode(b"", law) == b""
