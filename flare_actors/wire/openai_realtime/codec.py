"""One client's connection, without any I/O: what it sends becomes what a session takes, what a session tells becomes events.

The session decides everything; what is kept here is what this protocol has and the session has not: the names of responses
(``turns``), the order of items as the client knows it (``known_items``), the buffer that the user speaks into
(``utterances``), and which event an error is about (``connection``). This is the rim: each message goes to the part that it
is about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from flare_actors.conversation import events as ev
from flare_actors.conversation import notices as told
from flare_actors.conversation.items import ToolCalled
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ClientError
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.wire import strict
from flare_actors.wire.codec import Received
from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime import session_config as config
from flare_actors.wire.openai_realtime.audio import SAMPLE_RATE
from flare_actors.wire.openai_realtime.client_events import read_event
from flare_actors.wire.openai_realtime.connection import Connection
from flare_actors.wire.openai_realtime.errors import ITEM_CODES, client_error, notice_error
from flare_actors.wire.openai_realtime.items import new_item
from flare_actors.wire.openai_realtime.known_items import KnownItems
from flare_actors.wire.openai_realtime.requests import tools_offered, wanted
from flare_actors.wire.openai_realtime.session_config import Json
from flare_actors.wire.openai_realtime.turns import Turns
from flare_actors.wire.openai_realtime.utterances import Utterances

__all__ = ["RealtimeCodec", "check_session"]

_ENDINGS: Final = {
    Reason.SHUTDOWN: (1001, "the server is shutting down"),
    Reason.CRITICAL_ERROR: (1011, "the session failed"),
    Reason.OVERLOADED: (1011, "the session was overloaded"),
}
_FAILED: Final = frozenset({"llm_failed", "tts_failed"})
_MS: Final = 1000


class RealtimeCodec:
    """One connection.

    Args:
        settings: what the session starts with.
        model: the model's name, as the client asked for it.
        token: makes the names of this connection its own.
        session: the client's choices before it has said anything (of a client secret); merged into the settings'.
        check: refuses settings that the agent cannot serve, with ``ClientError``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        model: str,
        token: str,
        session: Json | None = None,
        check: Callable[[Settings], None] = lambda _settings: None,
    ) -> None:
        self._check = check
        raw = config.merge(config.first(settings, model), session or {})
        self._agent_settings = settings
        self._session_id = f"sess_{token}"
        self._connection = Connection(token=token, chosen=config.read(raw))
        self._items = KnownItems(self._connection, most=settings.limits.history_items)
        self._utterances = Utterances(self._connection, self._items)
        self._turns = Turns(self._connection, self._items)
        self._created = 0
        """Items of the client's that it has not named."""
        self._calls: deque[str] = deque(maxlen=settings.limits.history_items)
        """Calls that the client has put into the history, of which it may put in the results, too."""
        self.over = False
        """The conversation has ended: the connection has nothing more to do."""

    # --- What a link asks of its codec --------------------------------------------------------------------------------

    input_rate = SAMPLE_RATE
    output_rate = SAMPLE_RATE
    reports_playback = False
    pauses_playback = False
    keeps_audio = True

    @property
    def settings(self) -> Settings:
        """What the session is to be opened with: this protocol has no welcome, and no coming back."""
        quiet = attrs.evolve(self._agent_settings, welcome=None, idle_prompts=(), reconnect_grace_s=0.0)
        return wanted(self._connection.chosen, quiet).settings

    def opening(self) -> tuple[ClientMessage, ...]:
        """What the session is told first: a connection is a conversation."""
        session = self._connection.session
        offer = tools_offered(session.tools, session.tool_choice)
        return (ev.ConversationStartRequested(), *((offer,) if offer.tools else ()))

    def fault(self, error: ClientError) -> tuple[str, ...]:
        """Say why the connection is closed."""
        self._complain(error, None)
        return self._connection.taken()

    def ending(self, reason: Reason) -> tuple[int, str]:
        """The close code and reason: clients connect again on 1001 and 1011."""
        return _ENDINGS.get(reason, (1000, reason.value))

    # --- From the client ----------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes) -> Received:
        """Take a message of the client's."""
        event_id: str | None = None
        try:
            body = _read_object(data)
            given = body.pop("event_id", None)
            event_id = given if isinstance(given, str) else None
            _check_event_id(given)
            name, event = read_event(body)
        except ClientError as error:
            self._complain(error, event_id)
            return Received(replies=self._connection.taken(), error=error)
        messages = self._turns.late_results()
        try:
            messages += self._take(name, event, event_id)
        except ClientError as error:
            self._complain(error, event_id)
        return Received(messages=messages, replies=self._connection.taken())

    def _complain(self, error: ClientError, event_id: str | None) -> None:
        self._connection.emit("error", error=client_error(error, event_id))

    def _take(  # noqa: C901 - one case for each event
        self, name: str, event: wire.ClientEvent, event_id: str | None
    ) -> tuple[ClientMessage, ...]:
        item_id = getattr(event, "item_id", None)
        if item_id is not None and item_id not in self._items:
            raise ClientError(ITEM_CODES[name], "the conversation has no item of that id", field="item_id")

        def ask() -> str:
            return self._connection.ask(name, event_id, item_id)

        match event:
            case wire.InputAudioBufferAppend():
                pcm = self._utterances.append(event.audio)
                return (AudioIn(pcm),) if pcm else ()
            case wire.SessionUpdate():
                return self._update(event, name, event_id)
            case wire.InputAudioBufferCommit():
                self._utterances.commit()
                return (ev.CommitRequested(request_id=ask()),)
            case wire.InputAudioBufferClear():
                self._utterances.ask_clear()
                return (ev.InputClearRequested(request_id=ask()),)
            case wire.ConversationItemCreate():
                return self._create(event, name, event_id)
            case wire.ConversationItemRetrieve():
                return (ev.ItemReadRequested(item_id=self._items.name(event.item_id), request_id=ask()),)
            case wire.ConversationItemDelete():
                return (self._delete(event.item_id, ask()),)
            case wire.ConversationItemTruncate():
                cut_id, end_s = self._turns.cut(event.item_id, event.audio_end_ms / _MS)
                return (ev.ItemTruncateRequested(item_id=cut_id, end_s=end_s, request_id=ask()),)
            case wire.ResponseCreate():
                params = event.response or wire.ResponseParams()
                with _within("response"):
                    self._check_own(params)
                    return self._turns.respond(params, name, event_id)
            case wire.ResponseCancel():
                return self._turns.cancel(event.response_id)
            case wire.OutputAudioBufferClear():
                return self._turns.clear()

    def _check_own(self, params: wire.ResponseParams) -> None:
        """Refuse what the agent cannot do in one response."""
        self._check_count(params.tools or [])
        if params.max_output_tokens is not None:
            most = config.max_tokens(params.max_output_tokens)
            self._check(attrs.evolve(self._agent_settings, answer_tokens=most))

    def _check_count(self, tools: list[config.Tool]) -> None:
        most = self._agent_settings.limits.tools
        if len(tools) > most:
            raise ClientError("invalid_field", f"tools: at most {most} are taken (limits.tools)", field="tools")

    def _update(self, event: wire.SessionUpdate, name: str, event_id: str | None) -> tuple[ClientMessage, ...]:
        with _within("session"):
            chosen = config.read(config.merge(self._connection.chosen.raw, event.session))
            wish = wanted(chosen, self._agent_settings)
            self._check_count(chosen.session.tools)
            self._check(wish.settings)
            ask = self._connection.ask
            offer = tools_offered(chosen.session.tools, chosen.session.tool_choice, ask(name, event_id))
        self._connection.chosen = chosen
        return (offer, *wish.requests(ask(name, event_id)))

    def _delete(self, item_id: str, request_id: str) -> ClientMessage:
        if (cut := self._turns.cut_off(item_id)) is not None:
            self._items.leave(item_id)
            return ev.ItemTruncateRequested(item_id=cut[0], end_s=cut[1], request_id=request_id)
        self._items.check_delete(item_id)
        name = self._items.name(item_id)
        if not self._turns.writes(item_id):  # What is still being said stays.
            self._items.leave(item_id)
        return ev.ItemDeleteRequested(item_id=name, request_id=request_id)

    def _create(self, event: wire.ConversationItemCreate, name: str, event_id: str | None) -> tuple[ClientMessage, ...]:
        item = event.item
        if item.type is wire.ItemKind.FUNCTION_CALL_OUTPUT and item.call_id not in self._calls:
            return self._turns.take_result(item)
        made = new_item(item)
        item_id = made.id
        if self._items.has_taken(item_id):
            raise ClientError("item_id_taken", "item.id: the conversation has an item of that id", field="item.id")
        if not item_id:
            self._created += 1
            item_id = f"msg_{self._connection.token}{self._created}"
        made = attrs.evolve(made, id=self._items.admit(item_id))
        after = "" if event.previous_item_id == "root" else event.previous_item_id
        known = self._items.expect(item_id, after)
        request_id = self._connection.ask(name, event_id, item_id)
        if isinstance(made, ToolCalled):
            self._calls.append(made.call)
        first, *others = known or (None,)
        return (
            ev.ItemInsertRequested(
                item=made, after=first, else_after=tuple(each or "" for each in others), request_id=request_id
            ),
        )

    # --- From the session ---------------------------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> tuple[str, ...]:
        """The events that say what the session tells."""
        self._tell(message)
        return self._connection.taken()

    def _tell(self, message: ServerMessage) -> None:  # noqa: C901, PLR0912 - one case for each notice
        match message:
            case AudioOut():
                self._turns.audio(message)
            case told.ResponseTextDelta():
                self._turns.text(message)
            case told.TurnStarted():
                if message.idle:
                    self._utterances.time_out()
                self._turns.start(message)
            case told.TurnUsage():
                self._turns.count(message)
            case told.TurnEnded():
                self._turns.end(message.turn, message.reason, limited=message.limited)
                self._utterances.mark_answer()
                if not message.heard:
                    for item_id in self._turns.messages(message.turn):
                        self._items.suspect(item_id)
            case told.PlaybackCleared():
                self._turns.end(message.turn, message.reason)
            case told.ToolCallRequested():
                self._turns.call(message)
            case told.UserSpeechStarted():
                self._utterances.start(message.utterance)
            case told.UserSpeechStopped():
                self._utterances.stop(message.utterance)
            case told.TranscriptReceived() if message.final:
                self._utterances.take_words(message.utterance, message.text)
            case told.TranscriptReceived() if not self._turns.speaks:
                self._utterances.take_partial(message.utterance, message.text)
            case told.NothingHeard():
                self._utterances.forget(message.utterance)
            case told.SessionStarted():
                self._tell_session("session.created")
            case told.SettingsUpdated():
                self._tell_session("session.updated")
            case told.InputCleared():
                self._utterances.clear()
            case told.ItemInserted() | told.ItemShown() | told.ItemDeleted() | told.ItemTruncated():
                self._items.tell(message)
            case told.ErrorRaised():
                self._tell_error(message)
            case told.StateChanged(new=State.IDLE, reason=Reason.IDLE):
                self.over = True
                self._tell_expiry("the user was silent for too long")
            case told.SessionEnded():
                self._tell_end(message.reason)
            case _:
                pass  # States, partial transcripts and metrics have no place in this protocol.

    def _tell_session(self, kind: str) -> None:
        self._connection.emit(kind, session=config.effective(self._connection.chosen, self._session_id))

    # --- Errors and the end -------------------------------------------------------------------------------------------

    def _tell_error(self, notice: told.ErrorRaised) -> None:
        asked = self._connection.asked(notice.request_id)
        self._turns.answered(notice.request_id)
        if asked is not None and asked.item_id is not None:
            self._items.refuse_leave(asked.item_id)
            if asked.name == "conversation.item.create":
                self._items.refuse(asked.item_id)
            if notice.code == "item_not_found" and self._items.answer(asked):
                return
        if notice.code == "nothing_committed" and self._utterances.commit_nothing():
            return
        error = notice_error(notice, asked.event_id if asked else None, asked.name if asked else None)
        known = False
        if notice.turn is not None and notice.code in _FAILED:
            known = self._turns.fail(notice.turn, error)
        if notice.code == "stt_failed":
            known = self._utterances.lose_words(error)
        if known and notice.recoverable:
            return  # The response, or the transcription, is told to have failed: clients take an error for a second fault.
        self._connection.emit("error", error=error)

    def _tell_expiry(self, why: str) -> None:
        notice = told.ErrorRaised(code="session_expired", message=f"{why}; connect again", recoverable=False)
        self._connection.emit("error", error=notice_error(notice, None, None))

    def _tell_end(self, reason: Reason) -> None:
        self._turns.close()
        if reason in {Reason.IDLE, Reason.TIME_LIMIT} and not self.over:
            self._tell_expiry("the session has lasted long enough")


@contextmanager
def _within(name: str) -> Iterator[None]:
    """What is wrong in there is told by its path in the event."""
    try:
        yield
    except ClientError as error:
        field = error.field
        if field is None or field == name or field.startswith(f"{name}."):
            raise
        raise ClientError(error.code, error.message, field=f"{name}.{field}") from None
    except RecursionError:
        raise ClientError("invalid_field", f"{name}: objects in objects without end", field=name) from None


def _read_object(data: str | bytes) -> Json:
    if isinstance(data, bytes):
        raise ClientError("invalid_field", "events are JSON in text messages; audio goes in base64")
    return strict.load_object(data)


def _check_event_id(given: object) -> None:
    if given is not None and not (isinstance(given, str) and 0 < len(given) <= wire.MAX_EVENT_ID):
        raise ClientError("invalid_field", "event_id: expected a string of 1 to 512 characters", field="event_id")


def check_session(session: Json) -> None:
    """Hold the choices of a client secret against the shapes.

    Raises:
        ClientError: what is wrong with them.
    """
    config.read(config.merge(config.first(Settings(), ""), session))
