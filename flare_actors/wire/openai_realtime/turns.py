"""The agent's turns as responses, and the functions of the client's that they call.

A turn is a response, or several: a turn whose model calls functions of the client's is told as one response that ends with
the calls, and one more after their results.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from flare_actors.audio import bytes_to_seconds
from flare_actors.conversation import events as ev
from flare_actors.conversation import notices as told
from flare_actors.conversation.calls import AnswerRest
from flare_actors.conversation.items import result_id, turn_id
from flare_actors.conversation.states import Output, Reason
from flare_actors.errors import ClientError
from flare_actors.ports import AudioOut, ClientMessage
from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime import session_config as config
from flare_actors.wire.openai_realtime.audio import SAMPLE_RATE, AudioWriter
from flare_actors.wire.openai_realtime.connection import Connection
from flare_actors.wire.openai_realtime.known_items import KnownItems
from flare_actors.wire.openai_realtime.requests import metadata, response_request, rest_of_answer
from flare_actors.wire.openai_realtime.responses import ResponseWriter, Usage, function_item
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["Turns"]

_HELD_BYTES: Final = 2_000_000
"""Audio that waits for the client to ask for the rest of an answer: 40 s."""
_MOST_CALLS: Final = 256
"""Calls of which a result may still come."""
_NOT_TOLD: Final[Json] = {
    "type": "server_error",
    "code": "internal_error",
    "message": "the answer failed; the reason is in the server's log",
}


@attrs.define(kw_only=True)
class _Call:
    """A call of a function of the client's."""

    name: str
    """The conversation's name for it."""
    turn: int
    waits: bool = True
    """Its turn waits for the result."""
    output: str | None = None


@attrs.frozen(kw_only=True)
class _Later:
    """A later message of a turn."""

    turn: int
    before_s: float
    """So much of the turn's audio came before it."""
    spoken: bool


class Turns:
    """The response that is being told, and what the client and the session have said of it."""

    def __init__(self, connection: Connection, items: KnownItems) -> None:
        self._connection = connection
        self._items = items
        self._writer = AudioWriter()
        self._response: ResponseWriter | None = None
        self._responses = 0
        self._wanted: str | None = None
        """The response.create that the session has not begun to answer."""
        self._cancelled = False
        """The client itself has stopped the active response."""
        self._clearing: tuple[int, str] | None = None
        """The turn of which the client wants to hear that it is silent, and the response that it was heard in."""
        self._failed: dict[int, Json] = {}
        self._calling: int | None = None
        """The turn that waits for results of the client's functions."""
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        """Its calls and earlier ones, by the names that the client knows them by."""
        self._late: list[ClientMessage] = []
        """Results that the client has given, and for which no turn waits any more: the session is still to be told."""
        self._later_still: list[ClientMessage] = []
        """... when the active turn is over, if it could do nothing with them before."""
        self._messages = 0
        """How many messages the latest turn has had."""
        self._stopped: int | None = None
        """The latest turn that was not said to its end."""
        self._later: dict[str, _Later] = {}
        """Later messages of turns."""
        self._told_bytes = 0
        """Of the latest turn's audio."""
        self._output = Output.AUDIO
        """What the latest turn comes as."""
        self._aside = False
        """The latest turn is out of band."""
        self._held: list[AudioOut] = []
        """Of the words before a call: it was not sent yet when they were told."""
        self._held_bytes = 0

    # --- Responses that the client asks for ---------------------------------------------------------------------------

    def respond(self, params: wire.ResponseParams, name: str, event_id: str | None) -> tuple[ClientMessage, ...]:
        """The client wants a response, or the rest of one whose functions it has carried out.

        Raises:
            ClientError: not now, or there is no such response.
        """
        if self._response is not None or self._wanted is not None:
            raise ClientError("already_answering", "a response is active; cancel it, or wait for its response.done")
        session, told = self._connection.session, metadata(params.metadata)
        if self._calling is not None:
            self._check_rest(params)
            rest = rest_of_answer(params, session)
        request_id = self._connection.ask(name, event_id, metadata=told, max_output_tokens=params.max_output_tokens)
        if self._calling is not None:
            return self._go_on(self._calling, rest, request_id)
        request = response_request(params, session, request_id)
        self._wanted = request_id
        return (request,)

    def _check_rest(self, params: wire.ResponseParams) -> None:
        """The rest of an answer is spoken, or not, as it began; and nothing comes between the two."""
        if params.conversation == "none" or params.input is not None:
            raise ClientError(
                "already_answering",
                "an answer waits for its functions' results; this comes after it, or after a cancel",
            )
        modalities = params.output_modalities
        if modalities is not None and config.modality(modalities, where="response") is not self._output:
            raise ClientError(
                "invalid_field",
                f"response.output_modalities: the rest of this answer comes as it began, as {self._output.value}",
                field="response.output_modalities",
            )

    def answered(self, request_id: str | None) -> None:
        """The session has begun to answer that, or will not."""
        if request_id is not None and request_id == self._wanted:
            self._wanted = None

    def cancel(self, response_id: str | None = None) -> tuple[ClientMessage, ...]:
        """The client stops the active response.

        Raises:
            ClientError: there is none, or another one.
        """
        active = self._response
        if self._calling is not None and active is None:
            self._forget_calls()
            self._held, self._held_bytes = [], 0
            return (ev.InterruptRequested(),)
        if active is None or response_id not in {None, active.id}:
            raise ClientError(
                "response_cancel_not_active", "Cancellation failed: no active response found", field="response_id"
            )
        self._cancelled = True
        return (ev.InterruptRequested(),)

    def clear(self) -> tuple[ClientMessage, ...]:
        """The same, and the client is told when its output is silent.

        Raises:
            ClientError: there is no active response.
        """
        turn = self._calling if self._response is None else self._response.turn
        messages = self.cancel()
        if turn is not None:
            self._clearing = turn, self._response_id
        return messages

    def cut(self, item_id: str, end_s: float) -> tuple[str, float]:
        """The client has stopped playing an item there: which item the history has for it, and where that is to be cut."""
        self._cancelled |= self._response is not None  # If that ends the active response, it is the client's doing.
        later = self._later.get(item_id)
        if later is None:
            return self._items.name(item_id), end_s
        self._items.cut(item_id, end_s, turn=turn_id(later.turn), turn_end_s=later.before_s + end_s)
        return turn_id(later.turn), later.before_s + end_s

    def cut_off(self, item_id: str) -> tuple[str, float] | None:
        """The client takes out the end of an answer that it has stopped: of that nothing was heard, and it is cut there.

        None: it is no such end.
        """
        later = self._later.get(item_id)
        if later is None or not later.spoken or item_id != self.messages(later.turn)[-1]:
            return None
        active = self._response is not None and self._response.turn == later.turn
        if not active and later.turn != self._stopped:
            return None
        self._cancelled |= self._response is not None
        self._items.cut(item_id, None, turn=turn_id(later.turn), turn_end_s=later.before_s)
        return turn_id(later.turn), later.before_s

    # --- Functions of the client's ------------------------------------------------------------------------------------

    def take_result(self, item: wire.Item) -> tuple[ClientMessage, ...]:
        """The client has carried a function out. Where its turn is over, the model learns of it in its next request.

        Raises:
            ClientError: no call wants that.
        """
        call = self._calls.get(item.call_id or "")
        if call is None or call.output is not None:
            raise ClientError(
                "invalid_tool_call_id", "item.call_id: no call of that id wants a result", field="item.call_id"
            )
        if item.output is None:
            raise ClientError("missing_field", "item.output is required and missing", field="item.output")
        item_id = item.id or self._connection.own(result_id(call.name))
        if item_id in self._items:  # One that is leaving, too: this one is here at once.
            raise ClientError("item_id_taken", "item.id: choose another, or none", field="item.id")
        call.output = item.output
        self._items.rename(item_id, result_id(call.name))
        shown = function_item(item_id, "function_call_output", self._connection.own(call.name), output=item.output)
        self._items.show(shown)
        self._items.keep(shown)
        if call.waits:
            return ()
        result = ev.ToolResultReceived(call=call.name, output=call.output)
        if self._response is not None and self._response.turn == call.turn:
            self._later_still.append(result)
        return (result,)

    def late_results(self) -> tuple[ClientMessage, ...]:
        """What the session is still to be told of results, once."""
        late, self._late = tuple(self._late), []
        return late

    def _go_on(self, turn: int, rest: AnswerRest | None, request_id: str) -> tuple[ClientMessage, ...]:
        """The client has the results, and wants the rest of the answer: it is another response."""
        results = tuple(
            ev.ToolResultReceived(
                call=call.name,
                output="The client gave no result." if call.output is None else call.output,
                failed=call.output is None,
                rest=rest,
                request_id=request_id,
            )
            for call in self._waiting()
        )
        for call in self._waiting():
            call.waits = False
        self._begin_rest(turn, request_id)
        return results

    def _begin_rest(self, turn: int, request_id: str | None) -> None:
        self._calling = None
        self._begin(turn, request_id)
        held, self._held, self._held_bytes = self._held, [], 0
        for message in held:
            self.audio(message)

    def _waiting(self) -> list[_Call]:
        return [call for call in self._calls.values() if call.waits]

    def _forget_calls(self) -> None:
        """The turn is over, and nobody has asked for the rest of it: what the client has brought is remembered."""
        self._calling = None
        for call in self._waiting():
            call.waits = False
            if call.output is not None:
                self._late.append(ev.ToolResultReceived(call=call.name, output=call.output))

    # --- From the session ---------------------------------------------------------------------------------------------

    def start(self, notice: told.TurnStarted) -> None:
        """The agent begins to work on an answer."""
        self._output, self._aside = notice.output, notice.aside
        self._messages = self._told_bytes = 0
        self._begin(notice.turn, notice.request_id)

    def _begin(self, turn: int, request_id: str | None) -> None:
        asked = self._connection.asked(request_id)
        self.answered(request_id)
        if self._response is not None:
            self._finish("cancelled", reason="turn_detected")
        self._responses += 1
        self._cancelled = False
        session = self._connection.session
        self._response = ResponseWriter(
            emit=self._connection.emit,
            id=self._response_id,
            turn=turn,
            output=self._output,
            conversation_id=None if self._aside else f"conv_{self._connection.token}",
            previous=self._items.previous,
            name=lambda: self._name_message(turn),
            keep=lambda item: None if item["id"] == self._connection.own(turn_id(turn)) else self._items.keep(item),
            metadata=asked.metadata if asked is not None else None,
            audio_format=config.format_object(session.audio.output.format),
            max_output_tokens=(asked.max_output_tokens if asked is not None else None) or session.max_output_tokens,
        )
        self._response.created()
        self._connection.emit("rate_limits.updated", rate_limits=[])

    @property
    def _response_id(self) -> str:
        """The latest one's."""
        return f"resp_{self._connection.token}{self._responses}"

    def _name_message(self, turn: int) -> str:
        """The first message of a turn stands for what the history has of it."""
        self._messages += 1
        first = self._connection.own(turn_id(turn))
        if self._messages == 1:
            return first
        name = self._connection.own(f"{turn_id(turn)}_{self._messages}")
        if self._aside:
            return name
        self._later = {known: place for known, place in self._later.items() if known in self._items}
        before_s = bytes_to_seconds(self._told_bytes, SAMPLE_RATE)
        self._later[name] = _Later(turn=turn, before_s=before_s, spoken=self._output is Output.AUDIO)
        self._items.belong(name, first)
        return name

    def messages(self, turn: int) -> list[str]:
        """The client's names for what the agent has said in a turn."""
        later = (name for name, place in self._later.items() if place.turn == turn)
        return [self._connection.own(turn_id(turn)), *later]

    def writes(self, item_id: str) -> bool:
        """It is what the agent says in the active response."""
        return self._response is not None and item_id in self.messages(self._response.turn)

    @property
    def speaks(self) -> bool:
        """A response is active."""
        return self._response is not None

    def text(self, message: told.ResponseTextDelta) -> None:
        """The answer grows."""
        if self._calling == message.turn and self._response is None:
            # The session waits no longer for what the client was to bring, and the answer goes on.
            self._forget_calls()
            self._begin_rest(message.turn, None)
        if self._response is not None and self._response.turn == message.turn:
            self._response.text(message.text)

    def audio(self, message: AudioOut) -> None:
        """More of its sound."""
        response = self._response
        if response is not None and response.turn == message.turn:
            data = self._writer.write(message.turn, message.pcm, self._connection.session.audio.output.format.type)
            if data:
                response.audio(data)
            self._told_bytes += len(message.pcm)
        elif self._calling == message.turn and self._held_bytes < _HELD_BYTES:
            self._held.append(message)
            self._held_bytes += len(message.pcm)

    def count(self, notice: told.TurnUsage) -> None:
        """What a request to the model took."""
        response = self._response
        usage = Usage(input_tokens=notice.input_tokens, output_tokens=notice.output_tokens)
        if response is not None and response.turn == notice.turn:
            response.usage += usage

    def call(self, notice: told.ToolCallRequested) -> None:
        """The model wants a function of the client's carried out."""
        if self._response is None or self._response.turn != notice.turn:
            self._begin(notice.turn, None)
        assert self._response is not None
        own = self._connection.own
        self._response.function_call(own(f"call_{notice.call}"), own(notice.call), notice.name, notice.arguments)
        self._calling = notice.turn
        self._calls[own(notice.call)] = _Call(name=notice.call, turn=notice.turn)
        if len(self._calls) > _MOST_CALLS:
            self._calls.popitem(last=False)
        if len(self._waiting()) >= notice.batch:
            self._finish("completed")

    def fail(self, turn: int, error: Json) -> bool:
        """Why the turn will end; its response says so, if that is the active one."""
        self._failed[turn] = {name: error[name] for name in ("type", "code", "message")}
        return self._response is not None and self._response.turn == turn

    def end(self, turn: int, reason: Reason | None, *, limited: bool = False) -> None:
        """A turn is over: so is its response, unless it was told of that already."""
        if self._calling == turn:
            self._forget_calls()
            self._held, self._held_bytes = [], 0
        if reason is not None:
            self._stopped = turn
        self._late += self._later_still
        self._later_still = []
        error = self._failed.pop(turn, None)
        response = self._response
        if response is None or response.turn != turn:
            self._tell_cleared(turn)
            return
        rest = self._writer.rest(turn, self._connection.session.audio.output.format.type)
        if rest and reason is None:
            response.audio(rest)
        if error is not None or reason is Reason.ERROR_RECOVERY:
            self._finish("failed", error=error or _NOT_TOLD)
        elif reason is None and limited:
            self._finish("incomplete", reason="max_output_tokens")
        elif reason is None:
            self._finish("completed")
        else:
            self._finish_cancelled()

    def close(self) -> None:
        """The session is over."""
        if self._response is not None:
            self._finish_cancelled()

    def _finish_cancelled(self) -> None:
        self._finish("cancelled", reason="client_cancelled" if self._cancelled else "turn_detected")

    def _finish(self, status: str, *, reason: str | None = None, error: Json | None = None) -> None:
        response, self._response = self._response, None
        assert response is not None
        response.finish(status, reason=reason, error=error)
        self._tell_cleared(response.turn)

    def _tell_cleared(self, turn: int) -> None:
        if self._clearing is not None and self._clearing[0] == turn:
            self._connection.emit("output_audio_buffer.cleared", response_id=self._clearing[1])
            self._clearing = None
