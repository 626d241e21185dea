from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ConfigError
from flare_actors.server.access import Access, check_exposure, is_loopback, parse_authority, parse_origin, plain_address

PORT = 8765


def access(**changes: object) -> Access:
    return Access.make(**{"scheme": "http", "host": "127.0.0.1", "ports": [PORT], **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
def test_this_machine_has_its_names(host: str) -> None:
    assert access().host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example:8765",  # DNS rebinding: a name of theirs, an address of ours
        "localhost",  # that is port 80
        "localhost:8766",
        "localhost:8765.evil.example",
        "localhost.evil.example:8765",
        "localhost.:8765",
        "evil.example@localhost:8765",
        "localhost:8765/",
        "localhost: 8765",
        "localhost:+8765",
        "localhost:٨٧٦٥",
        "localhost:",
        "192.168.1.5:8765",
        "127.0.0.2:8765",
        "2130706433:8765",
        "0x7f.1:8765",
        "[::1:8765",
        "[localhost]:8765",
        "[::1]8765",
    ],
)
def test_other_names_are_not_ours(host: str | None) -> None:
    assert not access().host_allowed(host)


def test_a_server_may_be_addressed_by_the_address_that_was_reached() -> None:
    everywhere = access(host=None)
    assert everywhere.host_allowed("192.168.1.5:8765", "192.168.1.5")
    assert everywhere.host_allowed("192.168.1.5:8765", "::ffff:192.168.1.5")
    assert everywhere.host_allowed("[FD00::5]:8765", "fd00::5")
    assert not everywhere.host_allowed("192.168.1.6:8765", "192.168.1.5")
    assert not everywhere.host_allowed("192.168.1.5:80", "192.168.1.5")
    assert everywhere.origin_allowed(["http://192.168.1.5:8765"], "192.168.1.5")
    assert not everywhere.origin_allowed(["http://192.168.1.6:8765"], "192.168.1.5")


def test_a_default_port_need_not_be_said() -> None:
    assert access(ports=[80]).host_allowed("localhost")
    assert access(ports=[443], scheme="https").host_allowed("localhost")
    assert access(ports=[443], scheme="https").origin_allowed(["https://localhost"])
    assert not access(ports=[443], scheme="https").origin_allowed(["http://localhost"])


def test_no_origin_is_no_browser() -> None:
    assert access().origin_allowed([])


@pytest.mark.parametrize("origin", ["http://localhost:8765", "http://127.0.0.1:8765", "http://[::1]:8765"])
def test_our_own_pages_may_connect(origin: str) -> None:
    assert access().origin_allowed([origin])


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://evil.example:8765",
        "http://localhost:3000",
        "https://localhost:8765",
        "http://localhost",
        "http://localhost:8765.evil.example",
        "http://localhost:8765@evil.example",
        "http://evil.example/http://localhost:8765",
        "file://",
        "chrome-extension://abcdef",
        "localhost:8765",
        "http://localhost:8765/",
    ],
)
def test_foreign_pages_may_not(origin: str) -> None:
    assert not access().origin_allowed([origin])


def test_two_origins_are_none() -> None:
    assert not access().origin_allowed(["http://localhost:8765", "http://localhost:8765"])


def test_an_allowed_origin_brings_its_host_for_a_proxy() -> None:
    behind_proxy = access(allowed_origins=["https://voice.example.com"])
    assert behind_proxy.origin_allowed(["https://voice.example.com"])
    assert behind_proxy.origin_allowed(["https://voice.example.com:443"])
    assert behind_proxy.host_allowed("voice.example.com")
    assert not behind_proxy.origin_allowed(["http://voice.example.com"])
    assert not behind_proxy.origin_allowed(["https://voice.example.com:8443"])
    assert not behind_proxy.origin_allowed(["https://example.com"])


def test_an_allowed_host_is_a_name_of_ours() -> None:
    named = access(allowed_hosts=["my-laptop.local", "fd00::7"])
    assert named.host_allowed("my-laptop.local:8765")
    assert named.host_allowed("[fd00::7]:8765")
    assert named.origin_allowed(["http://my-laptop.local:8765"])
    assert not named.origin_allowed(["http://my-laptop.local:3000"])


@pytest.mark.parametrize("origin", ["voice.example.com", "https://voice.example.com/", "https://", "*", "https://a b"])
def test_an_origin_that_is_none_is_a_mistake_with_its_fix(origin: str) -> None:
    with pytest.raises(ConfigError, match="such as https://"):
        access(allowed_origins=[origin])


@pytest.mark.parametrize("host", ["https://voice.example.com", "", "a b", "*"])
def test_a_host_that_is_none_is_a_mistake_with_its_fix(host: str) -> None:
    with pytest.raises(ConfigError, match=r"such as voice\.example\.com"):
        access(allowed_hosts=[host])


@given(st.text(), st.sampled_from(["http", "https"]))
def test_any_text_is_an_authority_or_none(text: str, scheme: str) -> None:
    parsed = parse_authority(text, scheme)
    assert parsed is None or (parsed[0] and 0 <= parsed[1] < 100_000)
    parse_origin(f"{scheme}://{text}")
    parse_origin(text)


def test_without_keys_nobody_is_asked() -> None:
    assert access().key_allowed([])


def test_with_keys_one_of_them_must_be_shown() -> None:
    locked = access(api_keys=["first-key", "second-key"])
    assert locked.key_allowed(["first-key"])
    assert locked.key_allowed(["wrong", "second-key"])
    assert not locked.key_allowed([])
    assert not locked.key_allowed(["", "first", "first-key ", "FIRST-KEY", "schlüssel"])


def test_keys_are_in_no_repr() -> None:
    assert "first-key" not in repr(access(api_keys=["first-key"]))
    assert "digest" not in repr(access(api_keys=["first-key"]))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(host, api_keys=[], insecure_no_auth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", None, "192.168.1.5", "voice.example.com", "127.0.0.1.nip.io"])
def test_others_need_a_key_or_a_clear_word(host: str | None) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError, match=r"set one .*127\.0\.0\.1.*insecure"):
        check_exposure(host, api_keys=[], insecure_no_auth=False)
    check_exposure(host, api_keys=["key"], insecure_no_auth=False)
    check_exposure(host, api_keys=[], insecure_no_auth=True)


@pytest.mark.parametrize("key", ["", "two words", "comma,key", "schlüssel", "tab\t", 'quote"'])
def test_a_key_that_a_browser_cannot_send_is_refused_unseen(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_exposure("127.0.0.1", api_keys=[key], insecure_no_auth=False)
    assert not key or key not in str(caught.value)


def test_a_dual_stack_address_is_written_as_people_do() -> None:
    assert plain_address("::ffff:10.0.0.7") == "10.0.0.7"
    assert plain_address("FE80::1") == "fe80::1"
