from __future__ import annotations

import contextlib
import json
from typing import get_args

import attrs
import pytest
import wire_shapes as shapes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flare_actors.conversation import events, notices
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ClientError, LinkBroken
from flare_actors.ports import AudioOut
from flare_actors.wire import flare
from flare_actors.wire.flare_client_messages import CLIENT_MESSAGES
from flare_actors.wire.flare_server_messages import SERVER_MESSAGES

EACH = settings(max_examples=settings().max_examples // 5)
"""Fewer examples of each kind of message: there are dozens of kinds."""


def refusal(data: str | bytes) -> ClientError | None:
    try:
        flare.decode_client(data)
    except ClientError as error:
        return error
    return None


@given(shapes.FROM_CLIENT)
def test_what_a_client_says_arrives_unchanged(message: flare.FromClient) -> None:
    assert flare.decode_client(flare.encode_client(message)) == message


@given(shapes.FROM_SERVER)
def test_what_a_server_says_arrives_unchanged(message: flare.FromServer) -> None:
    assert flare.decode_server(flare.encode_server(message)) == message


@pytest.mark.parametrize("kind", get_args(notices.Notice), ids=lambda kind: kind.__name__)
@EACH
@given(data=st.data())
def test_every_notice_has_its_message(kind: type, data: st.DataObject) -> None:
    notice = data.draw(shapes.notice(kind))
    assert json.loads(flare.encode_server(notice))["type"] in SERVER_MESSAGES


@pytest.mark.parametrize("kind", get_args(events.ClientEvent), ids=lambda kind: kind.__name__)
@EACH
@given(data=st.data())
def test_every_client_event_has_its_message(kind: type, data: st.DataObject) -> None:
    event = data.draw(shapes.EVENTS[kind])
    assert json.loads(flare.encode_client(event))["type"] in CLIENT_MESSAGES


@given(st.text() | st.binary())
@example("[" * 100_000)
@example('{"type": ' + "9" * 5_000 + "}")
@example('{"type": "ping", "id": NaN}')
@example('{"type": "text", "text": "\\ud800"}')
@example('{"type": {}}')
@example("null")
def test_no_text_and_no_bytes_make_the_server_raise_anything_but_a_client_error(data: str | bytes) -> None:
    with contextlib.suppress(ClientError):
        flare.decode_client(data)


@given(
    st.sampled_from(sorted(CLIENT_MESSAGES)), st.dictionaries(st.text(max_size=12), shapes.JSON, max_size=4), st.data()
)
def test_no_wrong_field_makes_the_server_raise_anything_but_a_client_error(
    name: str, body: dict[str, object], data: st.DataObject
) -> None:
    for field in attrs.fields(CLIENT_MESSAGES[name]):
        if data.draw(st.booleans()):
            body[field.name] = data.draw(shapes.JSON)
    error = refusal(json.dumps({**body, "type": name}))
    assert error is None or error.code in {"invalid_field", "missing_field", "unknown_field", "not_json"}


@given(st.text() | st.binary() | shapes.JSON.map(json.dumps))
@example('{"type": "error"}')
@example(b"\x01")
@example(b"")
def test_no_text_and_no_bytes_make_a_client_raise_anything_but_a_broken_link(data: str | bytes) -> None:
    with contextlib.suppress(LinkBroken):
        flare.decode_server(data)


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("", "not_json", None),
        ("[]", "not_json", None),
        ('{"type": "ping"', "not_json", None),
        ("{}", "missing_field", "type"),
        ('{"type": 3}', "missing_field", "type"),
        ('{"type": "pnig"}', "unknown_message", "type"),
        ('{"type": "text"}', "missing_field", "text"),
        ('{"type": "text", "text": ""}', "invalid_field", "text"),
        ('{"type": "text", "text": 3}', "invalid_field", "text"),
        ('{"type": "text", "text": null}', "invalid_field", "text"),
        ('{"type": "mute", "muted": 1}', "invalid_field", "muted"),
        ('{"type": "mute", "muted": "true"}', "invalid_field", "muted"),
        ('{"type": "commit", "now": true}', "unknown_field", "now"),
        ('{"type": "playback_progress", "played_s": -1}', "invalid_field", "played_s"),
        ('{"type": "playback_progress", "played_s": true}', "invalid_field", "played_s"),
        ('{"type": "playback_progress", "played_s": 1e999}', "invalid_field", "played_s"),
        ('{"type": "playback_progress", "played_s": 1, "turn": 1.0}', "invalid_field", "turn"),
        ('{"type": "playback_progress", "played_s": 1, "turn": true}', "invalid_field", "turn"),
        ('{"type": "playback_progress", "played_s": 1, "turn": 0}', "invalid_field", "turn"),
        ('{"type": "playback_progress", "played_s": 1, "turn": 4294967296}', "invalid_field", "turn"),
        ('{"type": "start_session", "mode": "fast"}', "invalid_field", "mode"),
        ('{"type": "start_session", "locale": "en-US\\n"}', "invalid_field", "locale"),
        ('{"type": "start_session", "input_sample_rate": "16000"}', "invalid_field", "input_sample_rate"),
        ('{"type": "start_session", "input_sample_rate": 96000}', "invalid_field", "input_sample_rate"),
        ('{"type": "start_session", "resume": "abc"}', "invalid_field", "resume"),
        ('{"type": "start_session", "resume": {"token": "t"}}', "missing_field", "resume.session_id"),
        ('{"type": "start_session", "resume": {"token": "", "session_id": "s"}}', "invalid_field", "resume.token"),
        ('{"type": "start_session", "resume": {"token": "t", "session_id": "s", "x": 1}}', "unknown_field", "resume.x"),
        ('{"type": "start_session", "silence_treshold_ms": 300}', "unknown_field", "silence_treshold_ms"),
    ],
)
def test_an_error_names_the_field(text: str, code: str, field: str | None) -> None:
    with pytest.raises(ClientError) as caught:
        flare.decode_client(text)
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ('{"type": "start_sesion"}', "did you mean 'start_session'?"),
        ('{"type": "start_session", "silence_treshold_ms": 300}', "did you mean 'silence_threshold_ms'?"),
        ('{"type": "start_session", "output": "speech"}', "expected one of 'audio', 'text'"),
        ('{"type": "start_session", "input_sample_rate": 7999}', "an integer from 8000 to 48000"),
        ('{"type": "start_session", "locale": "?!"}', "such as en-US"),
        ('{"type": "commit", "zzzzzz": 1}', "it takes request_id"),
        ('{"type": "mute", "muted": "yes"}', "expected true or false, got a string"),
    ],
)
def test_an_error_says_how_to_mend_it(text: str, fix: str) -> None:
    with pytest.raises(ClientError, match=r".") as caught:
        flare.decode_client(text)
    assert fix in caught.value.message


@given(st.sampled_from(sorted(CLIENT_MESSAGES)), st.data())
def test_an_error_never_quotes_what_was_said(name: str, data: st.DataObject) -> None:
    canary = "The launch code is Heliotrope"
    fields = [field.name for field in attrs.fields(CLIENT_MESSAGES[name])]
    where = data.draw(st.sampled_from([*fields, "type", canary, "resume"]))
    value = data.draw(st.sampled_from([canary, [canary], {"token": canary, canary: canary}]))
    error = refusal(json.dumps({"type": name, where: value}))
    assert error is None or "eliotrope" not in f"{error!r} {error.message} {error.field} {error.__cause__}"


@given(st.binary().filter(lambda data: len(data) % 2 == 1))
def test_half_a_sample_is_refused(data: bytes) -> None:
    with pytest.raises(ClientError) as caught:
        flare.decode_client(data)
    assert caught.value.code == "odd_audio"


def test_audio_starts_at_the_eighth_byte_after_version_and_turn() -> None:
    assert flare.encode_server(AudioOut(0x01020304, b"\xaa\xbb")) == b"\x01\0\0\0\x04\x03\x02\x01\xaa\xbb"


def test_a_client_lets_pass_what_a_newer_server_adds() -> None:
    assert flare.decode_server('{"type": "playback_rewind", "turn": 3}') is None
    assert flare.decode_server(b"\x02whatever") is None
    assert flare.decode_server('{"type": "pong", "id": "a", "load": 0.5}') == flare.Pong(id="a")


SETTINGS = {
    "endpointing",
    "locale",
    "stt_mode",
    "input",
    "output",
    "silence_threshold_ms",
    "turn_detection",
    "auto_answer",
    "barge_in",
    "mute",
}


def test_the_names_on_the_wire_are_the_contract() -> None:
    change = notices.StateChanged(
        old=State.PLAYING_RESPONSE, new=State.LISTENING, at=12.5, turn=3, reason=Reason.BARGE_IN
    )
    assert json.loads(flare.encode_server(change)) == {
        "type": "state_transition",
        "old_state": "playing_response",
        "new_state": "listening",
        "timestamp": 12.5,
        "turn": 3,
        "reason": "barge_in",
    }
    names = {kind: set(attrs.fields_dict(shape)) for kind, shape in {**CLIENT_MESSAGES, **SERVER_MESSAGES}.items()}
    for name in CLIENT_MESSAGES.keys() - {"start_session", "ping"}:
        names[name].remove("request_id")
    assert names == {
        "start_session": {
            "locale",
            "mode",
            "silence_threshold_ms",
            "input",
            "turn_detection",
            "auto_answer",
            "input_sample_rate",
            "output_sample_rate",
            "output",
            "reports_playback",
            "pauses_playback",
            "resume",
        },
        "start_conversation": set(),
        "end_conversation": set(),
        "text": {"text"},
        "offer_tools": {"tools", "tool_choice"},
        "tool_result": {"call", "output", "failed"},
        "playback_progress": {"turn", "played_s"},
        "audio_playback_completed": {"turn"},
        "interrupt": set(),
        "commit": set(),
        "respond": set(),
        "update_session": SETTINGS - {"stt_mode"} | {"mode"},
        "mute": {"muted"},
        "clear_input": set(),
        "insert_item": {"role", "text", "id", "after"},
        "delete_item": {"item_id"},
        "truncate_item": {"item_id", "end_s"},
        "read_item": {"item_id"},
        "end_session": set(),
        "ping": {"id"},
        "session_started": {
            "session_id",
            "resume_token",
            "resumed",
            "state",
            "input_sample_rate",
            "output_sample_rate",
        }
        | SETTINGS,
        "session_updated": SETTINGS,
        "state_transition": {"old_state", "new_state", "timestamp", "turn", "reason"},
        "stt_ready": set(),
        "speech_started": {"utterance"},
        "speech_stopped": {"utterance", "speech_s"},
        "partial_transcript": {"utterance", "text"},
        "transcript": {"utterance", "text"},
        "nothing_heard": {"utterance"},
        "turn_started": {"turn", "kind", "output", "aside", "idle", "request_id"},
        "response_text_delta": {"turn", "text"},
        "response_text_done": {"turn", "text"},
        "tool_call": {"turn", "call", "name", "arguments", "timeout_s", "batch"},
        "playback_clear": {"turn", "reason"},
        "playback_pause": {"turn"},
        "playback_resume": {"turn"},
        "turn_ended": {"turn", "reason", "heard", "limited"},
        "turn_metrics": {
            "turn",
            "endpoint_wait_s",
            "stt_s",
            "first_token_s",
            "first_phrase_s",
            "first_audio_s",
            "total_s",
            "ahead_s",
            "wasted_replies",
            "wasted_s",
        },
        "error": {"code", "message", "recoverable", "turn", "field", "request_id"},
        "turn_usage": {"turn", "input_tokens", "output_tokens"},
        "input_cleared": set(),
        "item_inserted": {"item", "after"},
        "item_deleted": {"item_id"},
        "item_truncated": {"item_id", "end_s"},
        "item": {"item"},
        "session_ended": {"reason"},
        "pong": {"id"},
    }


def test_words_and_tokens_stay_out_of_every_repr() -> None:
    canary = "heliotrope"
    start = flare.StartSession(resume=flare.Resume(session_id="s", token=canary))
    assert canary not in repr(start)
    for kind in [*CLIENT_MESSAGES.values(), *SERVER_MESSAGES.values(), flare.Resume]:
        for field in attrs.fields(kind):
            assert not (field.repr and field.name in {"text", "heard", "token", "resume_token", "arguments"}), (
                kind,
                field.name,
            )


@pytest.mark.parametrize(
    "text",
    [
        '{"turn": 1}',
        '{"type": "turn_metrics", "turn": 1, "stt_s": 1e999}',
        '{"type": "turn_metrics", "turn": 1, "stt_s": ' + "9" * 400 + "}",
        '{"type": "state_transition", "old_state": "idle", "new_state": "dancing", "timestamp": 0}',
    ],
)
def test_a_client_is_told_what_a_server_did_wrong(text: str) -> None:
    with pytest.raises(LinkBroken, match="the server sent"):
        flare.decode_server(text)


def test_half_a_surrogate_pair_in_an_answer_breaks_no_frame() -> None:
    encoded = flare.encode_server(notices.ResponseTextDelta(turn=1, text="\ud83d"))
    assert isinstance(encoded, str)
    assert encoded.isascii()
