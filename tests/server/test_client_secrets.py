from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ClientError
from flare_actors.server.client_secrets import ClientSecrets

KNOWN = ClientSecrets(["k"])  # made once: to derive its key takes 50 ms
SESSION = {"instructions": "Be a pirate.", "output_modalities": ["text"]}


class Clock:
    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


def test_a_secret_is_good_for_its_session_until_it_expires() -> None:
    clock = Clock()
    known = ClientSecrets(["the key"], now=clock)
    value, expires_at = known.mint(SESSION, 60)
    assert expires_at == 1_060
    opened = known.open(value)
    assert opened is not None
    assert opened.session == SESSION
    assert "pirate" not in repr(opened)
    clock.at = 1_060.0
    assert known.open(value) is None


def test_servers_with_the_same_keys_know_each_others_secrets_and_no_others() -> None:
    value, _ = ClientSecrets(["a", "b"]).mint({})
    assert ClientSecrets(["b", "a"]).open(value) is not None
    assert ClientSecrets(["c"]).open(value) is None
    assert ClientSecrets().open(value) is None


@given(st.integers(3, 200), st.sampled_from("AZaz09-_"))
def test_a_secret_that_was_touched_is_none(place: int, letter: str) -> None:
    value, _ = KNOWN.mint(SESSION)
    place %= len(value)
    changed = value[:place] + letter + value[place + 1 :]
    assert (KNOWN.open(changed) is None) or changed.rstrip("=") == value or changed[:-1] == value[:-1]


@given(st.text(max_size=60))
def test_anything_else_is_no_secret(text: str) -> None:
    assert KNOWN.open(text) is None
    assert KNOWN.open(f"ek_{text}") is None


def test_what_a_session_cannot_be_is_no_secret_either() -> None:
    known = ClientSecrets()
    with pytest.raises(ClientError, match="voise"):
        known.mint({"voise": 1})
    with pytest.raises(ClientError, match="too large"):
        known.mint({"instructions": "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(9_000))})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "not_json"),
        (b"[1]", "not_json"),
        (b'{"session": 1}', "invalid_field"),
        (b'{"session": {"type": "transcription"}}', "invalid_field"),
        (b'{"expires_after": {"seconds": 5}}', "invalid_field"),
        (b'{"expires_after": 5}', "invalid_field"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(body: bytes, code: str) -> None:
    status, answer = ClientSecrets().answer(body)
    assert status == 400
    assert answer["error"]["code"] == code  # type: ignore[index]


def test_the_answer_is_what_the_sdk_reads() -> None:
    from openai.types.realtime import ClientSecretCreateResponse

    body = json.dumps({"expires_after": {"anchor": "created_at", "seconds": 30}, "session": {"type": "realtime"}})
    status, answer = ClientSecrets(now=Clock()).answer(body.encode())
    assert status == 200
    read = ClientSecretCreateResponse.model_validate(answer)
    assert read.expires_at == 1_030
    assert ClientSecrets().answer(b"")[0] == 200
