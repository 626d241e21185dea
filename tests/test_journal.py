"""Events and conversations survive JSON; what is nearly right is refused, by name."""

from __future__ import annotations

import copy
import json
from typing import get_args

import pytest
from hypothesis import given

from flare_actors import journal
from flare_actors.conversation import Conversation, Settings, Wait
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import Change
from flare_actors.conversation.items import UserSaid
from flare_actors.journal import JournalError
from flare_actors.testing.strategies import conversations
from flare_actors.testing.values import events


@given(events())
def test_an_event_comes_back_as_it_was(event: ev.Event) -> None:
    text = journal.event_to_json(event)
    assert journal.event_from_json(text) == event
    assert journal.load_event(journal.dump_event(event)) == event
    assert "\n" not in text  # One event, one line.


@given(conversations())
def test_a_conversation_comes_back_as_it_was(conversation: Conversation) -> None:
    text = journal.conversation_to_json(conversation)
    assert journal.conversation_from_json(text) == conversation
    assert journal.load_conversation(journal.dump_conversation(conversation)) == conversation
    assert journal.conversation_to_json(journal.conversation_from_json(text)) == text


def test_every_event_has_a_tag_of_its_own_that_says_what_it_is() -> None:
    fields = {"turn": 1, "index": 0, "utterance": 1, "muted": True, "wait": "idle", "queue": "inbox", "text": "hello"}
    fields |= {"item": UserSaid(text="hello"), "item_id": "turn_1", "input_tokens": 1, "output_tokens": 1}
    fields |= {
        "call": "t1c1",
        "name": "tea",
        "arguments": "{}",
        "output": "green",
        "probability": 0.5,
        "tools": (),
        "words": (),
        "timeout_s": 1.0,
    }
    fields |= dict.fromkeys(["start_s", "end_s", "speech_s", "silence_s", "audio_s", "played_s", "deadline_s"], 1.0)
    tags = set()
    for kind in get_args(ev.Event):
        known = {name: value for name, value in fields.items() if name in kind.__annotations__}
        if kind is ev.DeadlinePassed:
            known["wait"] = Wait.IDLE
        if kind is ev.ResponseRequested:
            known.pop("output")  # Another class has a field of that name and another type.
        if kind is ev.SettingsChanged:
            known["changes"] = (Change(name="endpoint_s", value=0.3), Change(name="idle_end_s", value=None))
        tag = journal.dump_event(kind(**known))["type"]
        assert str(tag).replace("_", "") == kind.__name__.lower()
        tags.add(tag)
    assert len(tags) == len(get_args(ev.Event))


def test_what_is_written_is_stable() -> None:
    """Journals outlive versions: a change here needs a reader of what was written before."""
    assert journal.event_to_json(ev.TranscriptFinished(at=1.5, utterance=3, text="tea")) == (
        '{"type":"transcript_finished","at":1.5,"utterance":3,"text":"tea"}'
    )
    assert journal.event_to_json(ev.DeadlinePassed(at=1.0, wait=Wait.STT_RETRY)) == (
        '{"type":"deadline_passed","at":1.0,"wait":"stt_retry"}'
    )


def test_a_field_added_later_may_be_missing_from_what_was_written_before() -> None:
    assert journal.load_event({"type": "client_attached"}) == ev.ClientAttached()
    assert journal.load_conversation({"settings": {"locale": "tr-TR"}}) == Conversation(
        settings=Settings(locale="tr-TR")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "event: not JSON"),
        ("[" * 100_000, "event: not JSON"),
        ("[]", "event: expected an object, got an array"),
        ('"x"', "event: expected an object, got a string"),
        ("{}", "event: expected a 'type' that is one of audio_started"),
        ('{"type":"SpeechStarted"}', "event: expected a 'type' that is one of"),
        ('{"type":["speech_started"]}', "event: expected a 'type' that is one of"),
        ('{"type":"speech_started"}', "event.utterance: required and missing"),
        ('{"type":"speech_started","utterance":"1"}', "event.utterance: expected an integer, got a string"),
        ('{"type":"speech_started","utterance":true}', "event.utterance: expected an integer, got a boolean"),
        ('{"type":"speech_started","utterance":1.0}', "event.utterance: expected an integer, got a fraction"),
        ('{"type":"speech_started","utterance":null}', "event.utterance: expected an integer, got null"),
        ('{"type":"speech_started","utterance":1,"z":1}', "event: unknown field 'z'"),
        ('{"type":"client_attached","at":NaN}', "event.at: expected a number that a float can hold"),
        ('{"type":"client_attached","at":1e999}', "event.at: expected a number that a float can hold"),
        ('{"type":"client_attached","at":"soon"}', "event.at: expected a number, got a string"),
        ('{"type":"client_attached","at":false}', "event.at: expected a number, got a boolean"),
        ('{"type":"mute_requested","muted":1}', "event.muted: expected true or false, got an integer"),
        ('{"type":"text_received","text":{}}', "event.text: expected a string, got an object"),
        ('{"type":"deadline_passed","wait":"x"}', "event.wait: expected one of 'session_idle', 'lifetime'"),
    ],
)
def test_an_event_that_is_nearly_right_is_refused_by_the_name_of_its_field(text: str, message: str) -> None:
    with pytest.raises(JournalError) as caught:
        journal.event_from_json(text)
    assert str(caught.value).startswith(message)


CONVERSATION = {
    "history": [{"type": "user_said", "text": "tea"}, {"type": "agent_said", "turn": 1, "text": "Yes."}],
    "turn": {"number": 2, "kind": "response", "phrases": [{"text": "So. "}]},
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("settings",), None, "conversation.settings: expected an object, got null"),
        (("settings",), {"endpoint_s": -1}, "conversation.settings: out of bounds: 'endpoint_s' must be > 0"),
        (
            ("settings",),
            {"limits": {"text_chars": 1.5}},
            "conversation.settings.limits.text_chars: expected an integer",
        ),
        (("state",), "asleep", "conversation.state: expected one of 'idle', 'initializing'"),
        (("turn",), 3, "conversation.turn: expected an object, got an integer"),
        (("turn", "phrases", 0, "text"), None, "conversation.turn.phrases[0].text: expected a string, got null"),
        (("history",), "abc", "conversation.history: expected an array, got a string"),
        (("history", 1, "type"), "bot_said", "conversation.history[1]: expected a 'type' that is one of agent_said"),
        (("history", 1, "turn"), "1", "conversation.history[1].turn: expected an integer, got a string"),
        (("mood",), "good", "conversation: unknown field 'mood'"),
    ],
)
def test_a_conversation_that_is_nearly_right_is_refused_by_the_path_of_its_field(
    path: tuple[str | int, ...], value: object, message: str
) -> None:
    journal.load_conversation(CONVERSATION)
    data = copy.deepcopy(CONVERSATION)
    at: object = data
    for key in path[:-1]:
        at = at[key]  # type: ignore[index]
    at[path[-1]] = value  # type: ignore[index]
    with pytest.raises(JournalError) as caught:
        journal.load_conversation(data)
    assert str(caught.value).startswith(message)


def test_errors_do_not_quote_what_people_said() -> None:
    secret = "my card number is 4111"
    for data in ({"type": secret}, {"type": "text_received", "text": secret, "at": secret}, secret):
        with pytest.raises(JournalError) as caught:
            journal.load_event(data)
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_half_a_surrogate_pair_and_other_text_survive() -> None:
    for text in ("\ud800", "\x00", "\u2028", "😀", '"\\'):
        event = ev.TextReceived(text=text)
        assert journal.event_from_json(journal.event_to_json(event)) == event
    assert json.loads(journal.event_to_json(ev.TextReceived(text="é")))["text"] == "é"
