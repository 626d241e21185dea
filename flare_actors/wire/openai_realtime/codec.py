"""One client's connection, without any I/O: what it sends becomes what a session takes, what a session tells becomes events.

The session decides everything; what is kept here is what this protocol has and the session has not: the names of responses,
the order of items as the client knows it, and which event an error is about. A turn is a response, or several: a turn whose
model calls functions of the client's is told as one response that ends with the calls, and one more after their results.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from flare_actors.conversation import events as ev
from flare_actors.conversation import notices as told
from flare_actors.conversation.items import AgentSaid, turn_id, utterance_id
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, State
from flare_actors.errors import ClientError
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.wire import strict
from flare_actors.wire.codec import Received
from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime import session_config as config
from flare_actors.wire.openai_realtime.audio import SAMPLE_RATE, AudioReader, AudioWriter
from flare_actors.wire.openai_realtime.client_events import read_event
from flare_actors.wire.openai_realtime.errors import ITEM_CODES, client_error, notice_error
from flare_actors.wire.openai_realtime.items import item_object, new_item
from flare_actors.wire.openai_realtime.requests import Asked, response_request, tools_offered, wanted
from flare_actors.wire.openai_realtime.responses import ResponseWriter, Usage, function_item, message_item
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["RealtimeCodec", "check_session"]

_MOST_ASKED: Final = 256
"""Requests of which an error may still come."""
_MOST_COMMITS: Final = 16
_HELD_BYTES: Final = 2_000_000
"""Audio that waits for the client to ask for the rest of an answer: 40 s."""
_ENDINGS: Final = {
    Reason.SHUTDOWN: (1001, "the server is shutting down"),
    Reason.CRITICAL_ERROR: (1011, "the session failed"),
    Reason.OVERLOADED: (1011, "the session was overloaded"),
}
_FAILED: Final = frozenset({"llm_failed", "tts_failed"})
_MS: Final = 1000
_BYTES_PER_MS: Final = SAMPLE_RATE * 2 // _MS


@attrs.define
class _Heard:
    """An utterance, from its first sound to its words."""

    start_ms: int
    end_ms: int | None = None
    text: str | None = None
    lost: Json | None = None
    """Why its words will never be known."""


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
        self._token = token
        self._check = check
        raw = config.merge(config.first(settings, model), session or {})
        self._chosen = config.read(raw)
        self._agent_settings = settings
        self._session_id = f"sess_{token}"
        self._events = 0
        self._out: list[str] = []
        self._reader, self._writer = AudioReader(), AudioWriter()
        self._input_bytes = 0
        self._order: list[str] = []
        self._unheard: set[str] = set()
        """Of these, answers of which nothing was heard, as far as is known: the history may have given them up."""
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        self._requests = 0
        self._utterances: dict[int, _Heard] = {}
        self._commits: list[str | None] = []
        """Event ids of the client's commits that no words have come for."""
        self._response: ResponseWriter | None = None
        self._responses = 0
        self._wanted: str | None = None
        """The response.create that the session has not begun to answer."""
        self._cancelled = False
        """The client itself has stopped the active response."""
        self._clearing = False
        self._usage: dict[int, Usage] = {}
        self._failed: dict[int, Json] = {}
        self._calling: int | None = None
        """The turn that waits for results of the client's functions."""
        self._calls: dict[str, str | None] = {}
        """Its calls, and what the client has made of them so far."""
        self._messages: dict[int, int] = {}
        """How many messages a turn has had."""
        self._output = Output.AUDIO
        """What the latest turn comes as."""
        self._asides: set[int] = set()
        """Turns out of band."""
        self._held: list[AudioOut | told.ResponseTextDelta] = []
        self._held_bytes = 0
        self.over = False
        """The conversation has ended: the connection has nothing more to do."""

    # --- What a link asks of its codec --------------------------------------------------------------------------------

    input_rate = SAMPLE_RATE
    output_rate = SAMPLE_RATE
    reports_playback = False
    keeps_audio = True

    @property
    def settings(self) -> Settings:
        """What the session is to be opened with: this protocol has no welcome, and no coming back."""
        quiet = attrs.evolve(self._agent_settings, welcome=None, idle_prompt=None, reconnect_grace_s=0.0)
        return wanted(self._chosen, quiet).settings

    def opening(self) -> tuple[ClientMessage, ...]:
        """What the session is told first: a connection is a conversation."""
        offer = tools_offered(self._chosen.session.tools, self._chosen.session.tool_choice)
        return (ev.ConversationStartRequested(), *((offer,) if offer.tools else ()))

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
            self._emit("error", error=client_error(error, event_id))
            return Received(replies=self._taken(), error=error)
        try:
            messages = self._take(name, event, event_id)
        except ClientError as error:
            self._emit("error", error=client_error(error, event_id))
            messages = ()
        return Received(messages=messages, replies=self._taken())

    def _take(  # noqa: C901 - one case for each event
        self, name: str, event: wire.ClientEvent, event_id: str | None
    ) -> tuple[ClientMessage, ...]:
        item_id = getattr(event, "item_id", None)
        if item_id is not None and item_id not in self._order:
            raise ClientError(ITEM_CODES[name], "the conversation has no item of that id", field="item_id")
        match event:
            case wire.InputAudioBufferAppend():
                return self._append(event)
            case wire.SessionUpdate():
                return self._update(event, self._ask(name, event_id))
            case wire.InputAudioBufferCommit():
                return self._commit(self._ask(name, event_id), event_id)
            case wire.InputAudioBufferClear():
                return (ev.InputClearRequested(request_id=self._ask(name, event_id)),)
            case wire.ConversationItemCreate():
                return self._create(event, self._ask(name, event_id))
            case wire.ConversationItemRetrieve():
                return (ev.ItemReadRequested(item_id=event.item_id, request_id=self._ask(name, event_id, item_id)),)
            case wire.ConversationItemDelete():
                return (ev.ItemDeleteRequested(item_id=event.item_id, request_id=self._ask(name, event_id, item_id)),)
            case wire.ConversationItemTruncate():
                return self._truncate(event, self._ask(name, event_id, item_id))
            case wire.ResponseCreate():
                return self._respond(event.response or wire.ResponseParams(), name, event_id)
            case wire.ResponseCancel():
                return self._cancel(event.response_id)
            case wire.OutputAudioBufferClear():
                messages = self._cancel(None)
                self._clearing = True
                return messages

    def _ask(self, name: str, event_id: str | None, item_id: str | None = None, *, metadata: Json | None = None) -> str:
        """A name for a request to the session, by which its answer finds the client's event."""
        self._requests += 1
        request_id = f"{name}-{self._requests}"
        self._asked[request_id] = Asked(name=name, event_id=event_id, item_id=item_id, metadata=metadata)
        if len(self._asked) > _MOST_ASKED:
            self._asked.popitem(last=False)
        return request_id

    def _append(self, event: wire.InputAudioBufferAppend) -> tuple[ClientMessage, ...]:
        pcm = self._reader.read(event.audio, self._chosen.session.audio.input.format.type)
        self._input_bytes += len(pcm)
        return (AudioIn(pcm),) if pcm else ()

    def _update(self, event: wire.SessionUpdate, request_id: str) -> tuple[ClientMessage, ...]:
        chosen = config.read(config.merge(self._chosen.raw, event.session))
        wish = wanted(chosen, self._agent_settings)
        self._check(wish.settings)
        offer = tools_offered(chosen.session.tools, chosen.session.tool_choice)
        self._chosen = chosen
        return (offer, *wish.requests(request_id))

    def _commit(self, request_id: str, event_id: str | None) -> tuple[ClientMessage, ...]:
        self._commits.append(event_id)
        del self._commits[:-_MOST_COMMITS]
        for utterance in sorted(self._utterances):
            self._tell_words(utterance)
        return (ev.CommitRequested(request_id=request_id),)

    def _create(self, event: wire.ConversationItemCreate, request_id: str) -> tuple[ClientMessage, ...]:
        item = event.item
        if item.type is wire.ItemKind.FUNCTION_CALL_OUTPUT:
            self._take_result(item)
            return ()
        after = "" if event.previous_item_id == "root" else event.previous_item_id
        return (ev.ItemInsertRequested(item=new_item(item), after=after, request_id=request_id),)

    def _truncate(self, event: wire.ConversationItemTruncate, request_id: str) -> tuple[ClientMessage, ...]:
        self._cancelled |= self._response is not None
        end_s = event.audio_end_ms / _MS
        return (ev.ItemTruncateRequested(item_id=event.item_id, end_s=end_s, request_id=request_id),)

    # --- Responses that the client asks for ---------------------------------------------------------------------------

    def _respond(self, params: wire.ResponseParams, name: str, event_id: str | None) -> tuple[ClientMessage, ...]:
        if self._response is not None or self._wanted is not None:
            raise ClientError("already_answering", "a response is active; cancel it, or wait for its response.done")
        request_id = self._ask(name, event_id, metadata=_metadata(params.metadata))
        if self._calling is not None:
            return self._go_on(self._calling, request_id)
        request = response_request(params, request_id)
        self._wanted = request_id
        return (request,)

    def _cancel(self, response_id: str | None) -> tuple[ClientMessage, ...]:
        active = self._response
        if self._calling is not None and active is None:
            self._forget_calls()
            return (ev.InterruptRequested(),)
        if active is None or response_id not in {None, active.id}:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found", field="response_id"
            )
        self._cancelled = True
        return (ev.InterruptRequested(),)

    # --- Functions of the client's ------------------------------------------------------------------------------------

    def _take_result(self, item: wire.Item) -> None:
        call_id = item.call_id
        if call_id is None or self._calls.get(call_id, "") is not None:
            raise ClientError(
                "invalid_tool_call_id", "item.call_id: no call of that id waits for its result", field="item.call_id"
            )
        if item.output is None:
            raise ClientError("missing_field", "item.output is required and missing", field="item.output")
        self._calls[call_id] = item.output
        item_id = item.id or f"result_{call_id}"
        shown = function_item(item_id, "function_call_output", call_id, output=item.output)
        self._show_item(shown)

    def _go_on(self, turn: int, request_id: str) -> tuple[ClientMessage, ...]:
        """The client has the results, and wants the rest of the answer: it is another response."""
        results = tuple(
            ev.ToolResultReceived(
                call=call,
                output="The client gave no result." if output is None else output,
                failed=output is None,
            )
            for call, output in self._calls.items()
        )
        self._forget_calls()
        self._begin(turn, request_id)
        held, self._held, self._held_bytes = self._held, [], 0
        for message in held:
            self._tell(message)
        return results

    def _forget_calls(self) -> None:
        self._calling = None
        self._calls.clear()

    # --- From the session ---------------------------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> tuple[str, ...]:
        """The events that say what the session tells."""
        self._tell(message)
        return self._taken()

    def _taken(self) -> tuple[str, ...]:
        out, self._out = tuple(self._out), []
        return out

    def _emit(self, kind: str, **fields: object) -> None:
        self._events += 1
        event = {"type": kind, "event_id": f"event_{self._token}{self._events}", **fields}
        # ASCII, so that half a surrogate pair in an engine's text cannot break the frame.
        self._out.append(json.dumps(event, separators=(",", ":"), allow_nan=False))

    def _tell(self, message: ServerMessage) -> None:  # noqa: C901, PLR0912 - one case for each notice
        match message:
            case AudioOut():
                self._tell_audio(message)
            case told.ResponseTextDelta():
                self._tell_text(message)
            case told.TurnStarted():
                self._tell_turn(message)
            case told.TurnUsage():
                self._count(message)
            case told.TurnEnded():
                self._end_turn(message.turn, message.reason)
                if not message.heard:
                    self._suspect(turn_id(message.turn))
            case told.PlaybackCleared():
                self._end_turn(message.turn, message.reason)
            case told.ToolCallRequested():
                self._tell_call(message)
            case told.UserSpeechStarted():
                self._tell_speech(message.utterance)
            case told.UserSpeechStopped():
                self._tell_silence(message.utterance)
            case told.TranscriptReceived() if message.final:
                self._take_words(message)
            case told.NothingHeard():
                self._utterances.pop(message.utterance, None)
            case told.SessionStarted():
                self._emit("session.created", session=config.effective(self._chosen, self._session_id))
            case told.SettingsUpdated():
                self._emit("session.updated", session=config.effective(self._chosen, self._session_id))
            case told.InputCleared():
                self._utterances.clear()
                self._emit("input_audio_buffer.cleared")
            case told.ItemInserted() | told.ItemShown() | told.ItemDeleted() | told.ItemTruncated():
                self._tell_item(message)
            case told.ErrorRaised():
                self._tell_error(message)
            case told.StateChanged(new=State.IDLE, reason=Reason.IDLE):
                self.over = True
                self._tell_expiry("the user was silent for too long")
            case told.SessionEnded():
                self._tell_end(message.reason)
            case _:
                pass  # States, partial transcripts and metrics have no place in this protocol.

    # --- The user's speech --------------------------------------------------------------------------------------------

    @property
    def _detects(self) -> bool:
        return self._chosen.session.audio.input.turn_detection is not None

    def _tell_speech(self, utterance: int) -> None:
        detection = self._chosen.session.audio.input.turn_detection
        padding_ms = (detection.prefix_padding_ms if detection is not None else None) or 0
        start_ms = max(0, self._input_bytes // _BYTES_PER_MS - padding_ms)
        self._utterances[utterance] = _Heard(start_ms)
        if self._detects:
            self._emit("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=utterance_id(utterance))

    def _tell_silence(self, utterance: int) -> None:
        heard = self._utterances.get(utterance)
        if heard is None:
            return
        heard.end_ms = self._input_bytes // _BYTES_PER_MS
        if self._detects:
            self._emit("input_audio_buffer.speech_stopped", audio_end_ms=heard.end_ms, item_id=utterance_id(utterance))
        if heard.lost is not None:
            self._fail_words(utterance, heard.lost)

    def _take_words(self, message: told.TranscriptReceived) -> None:
        heard = self._utterances.setdefault(message.utterance, _Heard(self._input_bytes // _BYTES_PER_MS))
        heard.text = message.text
        for earlier in [number for number in self._utterances if number < message.utterance]:
            if self._utterances[earlier].text is None:
                del self._utterances[earlier]  # Utterances are understood in order: nothing comes of it any more.
        if self._detects or self._commits:
            self._tell_words(message.utterance)

    def _tell_words(self, utterance: int) -> None:
        """An utterance whose words are known is an item; where the client commits, from its commit on."""
        heard = self._utterances.get(utterance)
        if heard is None or heard.text is None:
            return
        del self._utterances[utterance]
        self._commits.clear()
        item_id = utterance_id(utterance)
        previous = self._previous(item_id)
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        transcribed = self._chosen.session.audio.input.transcription is not None
        content: Json = {"type": "input_audio", "transcript": heard.text if transcribed else None}
        self._show_item(message_item(item_id, "user", [content]))
        if not transcribed:
            return
        kind = "conversation.item.input_audio_transcription"
        self._emit(f"{kind}.delta", item_id=item_id, content_index=0, delta=heard.text)
        end_ms = heard.end_ms if heard.end_ms is not None else self._input_bytes // _BYTES_PER_MS
        usage = {"type": "duration", "seconds": max(0, end_ms - heard.start_ms) / _MS}
        self._emit(f"{kind}.completed", item_id=item_id, content_index=0, transcript=heard.text, usage=usage)

    def _lose_words(self, error: Json) -> None:
        """The recogniser failed: what was said is not known, and never will be."""
        for utterance, heard in list(self._utterances.items()):
            heard.lost = error
            if heard.end_ms is not None and heard.text is None:
                self._fail_words(utterance, error)

    def _fail_words(self, utterance: int, error: Json) -> None:
        del self._utterances[utterance]
        item_id = utterance_id(utterance)
        self._emit("input_audio_buffer.committed", previous_item_id=self._previous(item_id), item_id=item_id)
        self._show_item(message_item(item_id, "user", [{"type": "input_audio", "transcript": None}]))
        self._emit(
            "conversation.item.input_audio_transcription.failed",
            item_id=item_id,
            content_index=0,
            error={name: error[name] for name in ("type", "code", "message", "param")},
        )
        self._leave(item_id)
        self._emit("conversation.item.deleted", item_id=item_id)

    # --- Items --------------------------------------------------------------------------------------------------------

    def _previous(self, item_id: str) -> str | None:
        """The item before it in the order that the client knows; a new one is the last."""
        if item_id not in self._order:
            self._enter(item_id, len(self._order))
        place = self._order.index(item_id) if item_id in self._order else 0
        return self._order[place - 1] if place else None

    def _enter(self, item_id: str, place: int) -> None:
        self._order.insert(place, item_id)
        for forgotten in self._order[: -self._agent_settings.limits.history_items]:
            self._leave(forgotten)

    def _leave(self, item_id: str) -> None:
        self._unheard.discard(item_id)
        if item_id in self._order:
            self._order.remove(item_id)

    def _show_item(self, item: Json) -> None:
        previous = self._previous(str(item["id"]))
        self._emit("conversation.item.added", previous_item_id=previous, item=item)
        self._emit("conversation.item.done", previous_item_id=previous, item=item)

    def _tell_item(self, notice: told.ItemInserted | told.ItemShown | told.ItemDeleted | told.ItemTruncated) -> None:
        match notice:
            case told.ItemInserted(item=item, after=after):
                place = self._order.index(after) + 1 if after in self._order else len(self._order) if after else 0
                self._enter(item.id, place)
                shown = item_object(item)
                self._emit("conversation.item.added", previous_item_id=after, item=shown)
                self._emit("conversation.item.done", previous_item_id=after, item=shown)
            case told.ItemShown(item=item):
                self._emit("conversation.item.retrieved", item=item_object(item))
            case told.ItemDeleted(item_id=item_id):
                self._leave(item_id)
                self._emit("conversation.item.deleted", item_id=item_id)
            case told.ItemTruncated(item_id=item_id, end_s=end_s):
                self._suspect(item_id)
                self._emit(
                    "conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=round(end_s * _MS)
                )

    def _suspect(self, item_id: str) -> None:
        """Nothing was heard of it; or perhaps nothing, where the client has cut it short."""
        if item_id in self._order:
            self._unheard.add(item_id)

    def _tell_unheard(self, asked: Asked) -> bool:
        """Answer for an item of which the history has nothing any more, if the client was told of it.

        The history gives up what nobody has heard as soon as the model is asked again. To the client it is an item like any
        other, until it has it deleted.
        """
        item_id = asked.item_id
        if item_id is None or item_id not in self._unheard:
            return False
        match asked.name:
            case "conversation.item.retrieve":
                self._tell_item(told.ItemShown(item=AgentSaid(id=item_id, text="", interrupted=True)))
            case "conversation.item.truncate":
                self._tell_item(told.ItemTruncated(item_id=item_id, end_s=0.0))
            case "conversation.item.delete":
                self._tell_item(told.ItemDeleted(item_id=item_id))
        return True

    # --- The agent's turns --------------------------------------------------------------------------------------------

    def _tell_turn(self, notice: told.TurnStarted) -> None:
        if notice.aside:
            self._asides.add(notice.turn)
        self._output = notice.output
        self._begin(notice.turn, notice.request_id)

    def _begin(self, turn: int, request_id: str | None) -> None:
        asked = self._asked.pop(request_id, None) if request_id is not None else None
        if request_id is not None and request_id == self._wanted:
            self._wanted = None
        if self._response is not None:
            self._finish("cancelled", reason="turn_detected")
        self._responses += 1
        self._cancelled = False
        session = self._chosen.session
        self._response = ResponseWriter(
            emit=self._emit,
            id=f"resp_{self._token}{self._responses}",
            turn=turn,
            output=self._output,
            conversation_id=None if turn in self._asides else f"conv_{self._token}",
            previous=self._previous,
            name=lambda: self._name_message(turn),
            metadata=asked.metadata if asked is not None else None,
            audio_format=config.format_object(session.audio.output.format),
            max_output_tokens=session.max_output_tokens,
        )
        self._response.created()

    def _name_message(self, turn: int) -> str:
        """The first message of a turn has the name that the history has for it."""
        count = self._messages[turn] = self._messages.get(turn, 0) + 1
        return turn_id(turn) if count == 1 else f"{turn_id(turn)}_{count}"

    def _tell_text(self, message: told.ResponseTextDelta) -> None:
        response = self._response
        if response is not None and response.turn == message.turn:
            response.text(message.text)
        elif self._calling == message.turn:
            self._held.append(message)

    def _tell_audio(self, message: AudioOut) -> None:
        response = self._response
        if response is not None and response.turn == message.turn:
            data = self._writer.write(message.turn, message.pcm, self._chosen.session.audio.output.format.type)
            if data:
                response.audio(data)
        elif self._calling == message.turn and self._held_bytes < _HELD_BYTES:
            self._held.append(message)
            self._held_bytes += len(message.pcm)

    def _count(self, notice: told.TurnUsage) -> None:
        response = self._response
        usage = Usage(input_tokens=notice.input_tokens, output_tokens=notice.output_tokens)
        if response is not None and response.turn == notice.turn:
            response.usage = usage if response.usage is None else response.usage + usage

    def _tell_call(self, notice: told.ToolCallRequested) -> None:
        if self._response is None or self._response.turn != notice.turn:
            self._begin(notice.turn, None)
        assert self._response is not None
        # The names that the history has for them: call_N, and result_N.
        self._response.function_call(f"call_{notice.call}", notice.call, notice.name, notice.arguments)
        self._calling = notice.turn
        self._calls[notice.call] = None
        if len(self._calls) >= notice.batch:
            self._finish("completed")

    def _end_turn(self, turn: int, reason: Reason | None) -> None:
        """A turn is over: so is its response, unless it was told of that already."""
        if self._calling == turn:
            self._forget_calls()
            self._held, self._held_bytes = [], 0
        response = self._response
        if response is None or response.turn != turn:
            return
        rest = self._writer.rest(turn, self._chosen.session.audio.output.format.type)
        if rest and reason is None:
            response.audio(rest)
        error = self._failed.pop(turn, None)
        if error is not None or reason is Reason.ERROR_RECOVERY:
            self._finish("failed", error=error)
        elif reason is None:
            self._finish("completed")
        else:
            self._finish("cancelled", reason="client_cancelled" if self._cancelled else "turn_detected")

    def _finish(self, status: str, *, reason: str | None = None, error: Json | None = None) -> None:
        response, self._response = self._response, None
        assert response is not None
        response.finish(status, reason=reason, error=error)
        if self._clearing:
            self._clearing = False
            self._emit("output_audio_buffer.cleared", response_id=response.id)
        self._emit("rate_limits.updated", rate_limits=[])

    def fault(self, error: ClientError) -> tuple[str, ...]:
        """Say why the connection is closed."""
        self._emit("error", error=client_error(error, None))
        return self._taken()

    def ending(self, reason: Reason) -> tuple[int, str]:
        """The close code and reason: clients connect again on 1001 and 1011."""
        return _ENDINGS.get(reason, (1000, reason.value))

    # --- Errors and the end -------------------------------------------------------------------------------------------

    def _tell_error(self, notice: told.ErrorRaised) -> None:
        asked = self._asked.pop(notice.request_id, None) if notice.request_id is not None else None
        if notice.request_id is not None and notice.request_id == self._wanted:
            self._wanted = None
        if asked is None and notice.code == "nothing_committed" and self._commits:
            asked = Asked(name="input_audio_buffer.commit", event_id=self._commits.pop())
        if asked is not None and notice.code == "item_not_found" and self._tell_unheard(asked):
            return
        error = notice_error(notice, asked.event_id if asked else None, asked.name if asked else None)
        if notice.turn is not None and notice.code in _FAILED:
            self._failed[notice.turn] = {name: error[name] for name in ("type", "code", "message")}
        if notice.code == "stt_failed":
            self._lose_words(error)
        self._emit("error", error=error)

    def _tell_expiry(self, why: str) -> None:
        notice = told.ErrorRaised(code="session_expired", message=f"{why}; connect again", recoverable=False)
        self._emit("error", error=notice_error(notice, None, None))

    def _tell_end(self, reason: Reason) -> None:
        if self._response is not None:
            self._finish("cancelled", reason="client_cancelled" if self._cancelled else "turn_detected")
        if reason in {Reason.IDLE, Reason.TIME_LIMIT} and not self.over:
            self._tell_expiry("the session has lasted long enough")


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


def _metadata(given: Json | None) -> Json | None:
    if given is None:
        return None
    if len(given) > 16 or not all(isinstance(value, str) and len(value) <= 512 for value in given.values()):
        raise ClientError(
            "invalid_field", "response.metadata: expected up to 16 strings of up to 512 characters", field="metadata"
        )
    return given
