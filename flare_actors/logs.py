"""Logs that can be shown to anybody: a line per transition, fault and session end, without speech and without secrets.

Lines are readable on a terminal and JSON otherwise. Fields that hold speech or secrets are redacted by name, known secrets
wherever they turn up, and a traceback tells where and what kind, not the words of foreign exceptions: vendors quote requests
in theirs.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, MutableMapping
from traceback import FrameSummary, StackSummary, walk_tb
from typing import Any, Final, Literal, TextIO, TypeAlias, final

import structlog

from flare_actors.config.secret import REDACTED, Secret, looks_secret
from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.events import Event, FailureRaised, SessionOverloaded, TransportFailed
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, StateChanged
from flare_actors.conversation.states import Reason
from flare_actors.errors import FlareError, ProviderError
from flare_actors.observe import Observer

__all__ = ["SPEECH_FIELDS", "LogObserver", "Redactor", "configure_logs", "describe_exception"]

_Entry: TypeAlias = MutableMapping[str, Any]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]

SPEECH_FIELDS: Final = frozenset(
    {
        "answer",
        "content",
        "delta",
        "heard",
        "instructions",
        "messages",
        "phrase",
        "prompt",
        "speech",
        "text",
        "transcript",
    }
    | {"apology", "idle_prompts", "welcome"}
)
"""Log fields that hold what is said, or what leads to it."""


def configure_logs(
    *,
    log_format: Literal["auto", "terminal", "json"] = "auto",
    level: Level = "info",
    speech: bool = False,
    secrets: Iterable[Secret] = (),
    stream: TextIO | None = None,
) -> None:
    """Set structlog and the standard library's logging up for this process.

    Args:
        log_format: ``auto`` is ``terminal`` on a terminal and ``json`` otherwise.
        level: the least that is written.
        speech: also write what is said.
        secrets: never written, in whatever field they turn up.
        stream: where to write; None: stderr.
    """
    stream = sys.stderr if stream is None else stream
    terminal = log_format == "terminal" or (log_format == "auto" and stream.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer(default=repr)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if terminal else "iso", utc=not terminal),
        _put_exception(speech=speech),
        Redactor(speech=speech, secrets=secrets),
    ]
    threshold = getattr(logging, level.upper())
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    # What libraries log takes the same way out; their chatter does not.
    handler = logging.StreamHandler(stream)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


@final
class Redactor:
    """A structlog processor that takes speech and secrets out of an entry.

    Args:
        speech: leave speech in.
        secrets: texts to take out wherever they are.
    """

    def __init__(self, *, speech: bool = False, secrets: Iterable[Secret] = ()) -> None:
        self._speech = speech
        self._secrets = tuple(secret.reveal() for secret in secrets)

    def __call__(self, _logger: object, _method: str, entry: _Entry) -> _Entry:
        """Give the entry without what must not be in it."""
        for key, value in entry.items():
            entry[key] = self._clean(key, value)
        return entry

    def _clean(self, key: str, value: Any) -> Any:  # noqa: ANN401 # a log field is anything
        if looks_secret(key) or (key in SPEECH_FIELDS and not self._speech):
            return REDACTED if value is not None else None
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, REDACTED)
                return value
            case None | bool() | int() | float():
                return value
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case dict():
                return {str(each): self._clean(str(each), inner) for each, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._clean("", inner) for inner in value]
            case BaseException():
                return self._clean("", _words(value, speech=self._speech))
            case _:
                return self._clean("", repr(value))


# --- Exceptions ----------------------------------------------------------------------------------------------------------


def describe_exception(error: BaseException, *, speech: bool = False) -> str:
    """Give a traceback without the words of foreign exceptions, unless speech may be shown.

    Causes, contexts and the members of groups are in it, innermost cause first, as Python prints them.
    """
    return "\n".join(_traceback(error, speech=speech, indent="", seen=set()))


def _words(error: BaseException, *, speech: bool) -> str:
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, BaseExceptionGroup):
        return f"{kind} of {len(error.exceptions)}"
    # Our own messages are written to be shown. Anybody else's may quote what was said, or with which key.
    own = isinstance(error, FlareError)
    return f"{kind}: {error}" if (own or speech) and str(error) else kind


def _traceback(error: BaseException, *, speech: bool, indent: str, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _traceback(before, speech=speech, indent=indent, seen=seen)
        yield indent + ("which caused:" if before is error.__cause__ else "while that was handled:")
    frames: list[FrameSummary] = StackSummary.extract(walk_tb(error.__traceback__), capture_locals=False)
    for frame in frames:
        yield f'{indent}  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
    yield indent + _words(error, speech=speech)
    if isinstance(error, BaseExceptionGroup):
        for number, each in enumerate(error.exceptions, 1):
            yield f"{indent}  {number} ---"
            yield from _traceback(each, speech=speech, indent=indent + "    ", seen=seen)


def _put_exception(*, speech: bool) -> structlog.typing.Processor:
    def processor(_logger: object, _method: str, entry: _Entry) -> _Entry:
        # structlog's own formatters print the exceptions' words, and one of them the frames' locals.
        info = entry.pop("exc_info", None)
        error = info[1] if isinstance(info, tuple) else sys.exc_info()[1] if info is True else info
        if isinstance(error, BaseException):
            entry["exception"] = describe_exception(error, speech=speech)
        return entry

    return processor


# --- Sessions ------------------------------------------------------------------------------------------------------------


@final
class LogObserver(Observer):
    """Writes a line per transition, fault, told error and session end, each with session id and turn.

    Args:
        logger: a structlog logger; None: the one that ``configure_logs`` set up.
    """

    def __init__(self, logger: structlog.typing.FilteringBoundLogger | None = None) -> None:
        self._log: structlog.typing.FilteringBoundLogger = logger or structlog.get_logger()

    def on_session_started(self, session_id: str) -> None:
        """Write that a session is open."""
        self._log.info("session_started", session_id=session_id)

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """Write the transitions that an event caused, and what went wrong."""
        live = after.turn or before.turn
        turn = None if live is None else live.number
        match event:
            case FailureRaised() | TransportFailed():
                self._log.warning(
                    "failure", session_id=session_id, turn=turn, kind=type(event).__name__, message=event.message
                )
            case SessionOverloaded():
                self._log.warning("overloaded", session_id=session_id, turn=turn, queue=event.queue)
            case _:
                pass
        for command in commands:
            if not isinstance(command, Notify):
                continue
            match command.notice:
                case StateChanged() as changed:
                    self._log.info(
                        "transition",
                        session_id=session_id,
                        turn=changed.turn,
                        old=changed.old.value,
                        new=changed.new.value,
                        at=round(changed.at, 3),
                        reason=changed.reason.value if changed.reason else None,
                        event_type=type(event).__name__,
                    )
                case ErrorRaised() as told:
                    self._log.warning(
                        "error_told",
                        session_id=session_id,
                        turn=told.turn,
                        code=told.code,
                        message=told.message,
                        recoverable=told.recoverable,
                    )
                case _:
                    pass

    def on_fault(self, session_id: str, turn: int | None, error: BaseException) -> None:
        """Write which stage failed and how, without the words of the vendor's exception."""
        self._log.warning(
            "fault",
            session_id=session_id,
            turn=turn,
            stage=error.stage if isinstance(error, ProviderError) else None,
            error=error,
            cause=error.__cause__,
        )

    def on_lingering(self, session_id: str, turn: int | None, count: int) -> None:
        """Write that a provider swallowed its cancellation."""
        self._log.warning("reply_lingers", session_id=session_id, turn=turn, count=count)

    def on_session_ended(self, session_id: str, reason: Reason | None) -> None:
        """Write that a session is gone."""
        self._log.info("session_ended", session_id=session_id, reason=reason.value if reason else "cancelled")
