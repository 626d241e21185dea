from __future__ import annotations

import io
import json
import logging

import attrs
import pytest
import structlog

from flare_actors.config import REDACTED, Secret
from flare_actors.conversation.commands import Notify
from flare_actors.conversation.events import (
    ConversationStartRequested,
    FailureRaised,
    SessionOverloaded,
    TextReceived,
    TransportFailed,
)
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, StateChanged, TranscriptReceived
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ProviderError
from flare_actors.logs import LogObserver, configure_logs, describe_exception

PHRASE = "the heron eats at midnight"
KEY = "sk-canary-4711"


@attrs.define
class Log:
    stream: io.StringIO

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log(request):
    stream = io.StringIO()
    options = {"log_format": "json", "level": "debug"} | getattr(request, "param", {})
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(stream=stream, secrets=[Secret(KEY)], **options)
    yield Log(stream)
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, level=level, force=True)


def changed(**fields):
    return Notify(notice=StateChanged(old=State.IDLE, new=State.INITIALIZING, at=1.23456, **fields))


def test_a_transition_is_one_line_with_session_and_turn(log):
    core = Conversation()
    LogObserver().on_step(
        "abc",
        core,
        ConversationStartRequested(),
        core,
        (
            changed(turn=7, reason=Reason.BARGE_IN),
            Notify(notice=TranscriptReceived(utterance=1, text=PHRASE, final=True)),
        ),
    )
    (line,) = log.lines()
    assert line | {"timestamp": ""} == {
        "event": "transition",
        "level": "info",
        "timestamp": "",
        "session_id": "abc",
        "turn": 7,
        "old": "idle",
        "new": "initializing",
        "at": 1.235,
        "reason": "barge_in",
        "event_type": "ConversationStartRequested",
    }


def test_chained_transitions_of_one_step_are_a_line_each(log):
    core = Conversation()
    LogObserver().on_step("abc", core, ConversationStartRequested(), core, (changed(), changed()))
    assert [line["event"] for line in log.lines()] == ["transition", "transition"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (FailureRaised(message="disk"), {"event": "failure", "message": "disk"}),
        (TransportFailed(message="garbage"), {"event": "failure", "message": "garbage"}),
        (SessionOverloaded(queue="inbox"), {"event": "overloaded", "queue": "inbox"}),
    ],
)
def test_what_is_no_stages_fault_is_a_warning(log, event, expected):
    core = Conversation()
    LogObserver().on_step("abc", core, event, core, ())
    (line,) = log.lines()
    assert expected.items() <= line.items()
    assert (line["level"], line["session_id"], line["turn"]) == ("warning", "abc", None)


def test_an_error_that_the_client_was_told_is_a_warning(log):
    core = Conversation()
    told = Notify(notice=ErrorRaised(code="stt_failed", message="not understood", recoverable=True, turn=2))
    LogObserver().on_step("abc", core, TextReceived(text=PHRASE), core, (told,))
    (line,) = log.lines()
    assert (line["code"], line["turn"], line["recoverable"]) == ("stt_failed", 2, True)


def test_a_sessions_start_and_end_are_a_line_each(log):
    observer = LogObserver()
    observer.on_session_started("abc")
    observer.on_lingering("abc", 3, 1)
    observer.on_session_ended("abc", Reason.SHUTDOWN)
    observer.on_session_ended("def", None)
    assert [(line["session_id"], line.get("reason")) for line in log.lines()] == [
        ("abc", None),
        ("abc", None),
        ("abc", "shutdown"),
        ("def", "cancelled"),
    ]


def fault() -> ProviderError:
    def call(text, api_key):
        raise ValueError(f"401 for {text} with {api_key}")

    try:
        try:
            call(PHRASE, KEY)
        except ValueError as vendor:
            raise ProviderError("llm", "the request was refused") from vendor
    except ProviderError as error:
        return error


def test_a_fault_tells_stage_and_kind_but_not_the_vendors_words(log):
    LogObserver().on_fault("abc", 4, fault())
    (line,) = log.lines()
    assert (line["session_id"], line["turn"], line["stage"]) == ("abc", 4, "llm")
    assert line["error"] == "flare_actors.errors.ProviderError: the request was refused"
    assert line["cause"] == "ValueError"


def test_a_traceback_tells_where_and_what_kind_but_not_the_words(log):
    group = ExceptionGroup(PHRASE, [fault(), KeyError(PHRASE)])
    structlog.get_logger().error("session crashed", exc_info=group)
    structlog.get_logger().error("session crashed", exc_info=(type(group), group, None))
    logging.getLogger("vendor").error("it broke", exc_info=fault())
    lines = log.lines()
    assert len(lines) == 3
    for line in lines:
        assert "flare_actors.errors.ProviderError: the request was refused" in line["exception"]
        assert "in call" in line["exception"]
        assert "ValueError" in line["exception"]
    assert PHRASE not in log.stream.getvalue()
    assert KEY not in log.stream.getvalue()


def test_the_exception_being_handled_is_described_too(log):
    try:
        int(PHRASE)
    except ValueError:
        structlog.get_logger().exception("it broke")
    assert "ValueError" in log.lines()[0]["exception"]
    assert PHRASE not in log.stream.getvalue()


def chained(*, suppress: bool) -> BaseException:
    error = ProviderError("tts", "b")
    error.__context__ = KeyError("a")
    error.__suppress_context__ = suppress
    return error


def test_context_that_was_suppressed_stays_so():
    assert "KeyError" not in describe_exception(chained(suppress=True))


def test_context_that_was_not_suppressed_is_told():
    assert "KeyError\nwhile that was handled:" in describe_exception(chained(suppress=False))


def speak(logger) -> None:
    logger.info(
        "said",
        text=PHRASE,
        transcript=PHRASE,
        api_key=KEY,
        note=f"the key is {KEY}",
        nested={"answer": PHRASE, "list": [KEY, b"abcd", TextReceived(text=PHRASE)]},
        pcm=b"1234",
        nothing=None,
        heard=None,
        count=3,
    )


def test_speech_and_secrets_are_redacted_wherever_they_are(log):
    speak(structlog.get_logger())
    (line,) = log.lines()
    assert line["text"] == line["api_key"] == line["nested"]["answer"] == REDACTED
    assert line["note"] == f"the key is {REDACTED}"
    assert line["pcm"] == "<4 bytes>"
    assert line["count"] == 3
    assert line["heard"] is None
    assert PHRASE not in log.stream.getvalue()
    assert KEY not in log.stream.getvalue()


@pytest.mark.parametrize("log", [{"speech": True}], indirect=True)
def test_speech_is_logged_when_asked_for_and_secrets_never(log):
    speak(structlog.get_logger())
    assert log.lines()[0]["text"] == PHRASE
    assert KEY not in log.stream.getvalue()
    assert PHRASE in describe_exception(ValueError(PHRASE), speech=True)


@pytest.mark.parametrize("log", [{"level": "warning"}], indirect=True)
def test_what_is_below_the_level_is_not_written(log):
    structlog.get_logger().info("chatter")
    structlog.get_logger().warning("trouble")
    assert [line["event"] for line in log.lines()] == ["trouble"]


@pytest.mark.parametrize("log", [{"log_format": "terminal"}], indirect=True)
def test_a_terminal_gets_readable_lines(log):
    LogObserver().on_fault("abc", 4, fault())
    structlog.get_logger().error("crashed", exc_info=fault())
    written = log.stream.getvalue()
    assert "session_id=abc" in written
    assert "which caused:" in written
    assert PHRASE not in written
    assert not written.startswith("{")


@pytest.mark.parametrize("log", [{"log_format": "auto"}], indirect=True)
def test_what_is_no_terminal_gets_json(log):
    structlog.get_logger().info("hello")
    assert log.lines()[0]["event"] == "hello"
