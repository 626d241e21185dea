"""The native protocol: bytes and text on a WebSocket <-> the values that a session speaks. Pure, for both ends.

Text messages are JSON objects with a ``type``; binary messages are audio. `flare_client_messages` and `flare_server_messages`
have the shapes, `docs/protocol.md` the story. A server reads strictly and says what is wrong; a client lets pass what a newer
server may add.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, Union, cast

import attrs

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.conversation import events, notices
from flare_actors.conversation.changes import changes
from flare_actors.conversation.events import ClientEvent
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ClientError, LinkBroken
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage, ToolChoice, ToolSpec
from flare_actors.wire import flare_client_messages as client
from flare_actors.wire import flare_server_messages as server
from flare_actors.wire import strict
from flare_actors.wire.flare_client_messages import Ping, Resume, StartSession
from flare_actors.wire.flare_items import item_of, shape_of
from flare_actors.wire.flare_server_messages import Pong
from flare_actors.wire.flare_shapes import Item, ItemRole

__all__ = [
    "AUDIO_HEADER_BYTES",
    "PATH",
    "SUBPROTOCOL",
    "FromClient",
    "FromServer",
    "Ping",
    "Pong",
    "Resume",
    "StartSession",
    "decode_client",
    "decode_server",
    "encode_client",
    "encode_server",
    "settings_asked",
]

PATH: Final = "/flare"
"""Where a server speaks it."""
SUBPROTOCOL: Final = "flare"
"""What a client that offers WebSocket subprotocols must offer."""

_HEADER: Final = struct.Struct("<B3xI")  # version, padding, turn: the samples start at 8, where an Int16Array may look
AUDIO_HEADER_BYTES: Final = _HEADER.size
_AUDIO_VERSION: Final = 1

FromClient: TypeAlias = Union[ClientMessage, StartSession, Ping]
"""What a client sends: what concerns a session, and what only concerns the connection."""
FromServer: TypeAlias = Union[ServerMessage, Pong]
"""What a server sends."""

_strictly = strict.make_converter(unknown_fields=False)
_leniently = strict.make_converter(unknown_fields=True)
_CLIENT_TYPES: Final[Mapping[object, str]] = {kind: name for name, kind in client.CLIENT_MESSAGES.items()}
_SERVER_TYPES: Final[Mapping[object, str]] = {kind: name for name, kind in server.SERVER_MESSAGES.items()}


def _to_json(message: object, name: str, *, skip_none: bool) -> str:
    body = _leniently.unstructure(message)
    if skip_none:
        body = {key: value for key, value in body.items() if value is not None}
    # ASCII, so that half a surrogate pair in an engine's text cannot break the frame.
    return json.dumps({"type": name, **body}, separators=(",", ":"), allow_nan=False)


# --- Settings ------------------------------------------------------------------------------------------------------------

_SETTINGS: Final[Mapping[str, str]] = {
    "locale": "locale",
    "mode": "stt_mode",
    "stt_mode": "stt_mode",
    "input": "input",
    "output": "output",
    "turn_detection": "turn_detection",
    "endpointing": "endpointing",
    "auto_answer": "auto_answer",
    "barge_in": "barge_in",
    "mute": "mute",
}
"""What a client may choose, by its name on the wire; `silence_threshold_ms` has another unit besides."""


def settings_asked(message: client.StartSession | client.UpdateSession) -> dict[str, object]:
    """The settings that a client asks for, by the names of ``Settings``."""
    fields = _fields(message)
    asked = {_SETTINGS[name]: value for name, value in fields.items() if name in _SETTINGS and value is not None}
    if message.silence_threshold_ms is not None:
        asked["endpoint_s"] = message.silence_threshold_ms / 1000
    return asked


def _update_of(message: events.SettingsChanged) -> client.UpdateSession:
    values = {change.name: change.value for change in message.changes}
    silence = values.pop("endpoint_s", None)
    body = {name: values.pop(field) for name, field in _SETTINGS.items() if name != "stt_mode" and field in values}
    if values:
        raise ValueError(f"no client of this protocol can set {', '.join(sorted(values))}")
    if isinstance(silence, int | float):
        body["silence_threshold_ms"] = round(silence * 1000)
    if message.request_id is not None:
        body["request_id"] = message.request_id
    return strict.structure(_strictly, client.UpdateSession, body, where="update_session")


def _in_force(settings: Settings) -> dict[str, Any]:
    told = {name: getattr(settings, field) for name, field in _SETTINGS.items() if name != "mode"}
    return {**told, "silence_threshold_ms": max(1, round(settings.endpoint_s * 1000))}


def _settings_told(shape: server.SessionStarted | server.SessionUpdated) -> Settings:
    told: dict[str, Any] = {field: getattr(shape, name) for name, field in _SETTINGS.items() if name != "mode"}
    return Settings(**told, endpoint_s=shape.silence_threshold_ms / 1000)


# --- Client to server ----------------------------------------------------------------------------------------------------


def decode_client(data: str | bytes) -> FromClient:
    """Read what a client sent.

    Raises:
        ClientError: it is none of the protocol's messages; the error names the field and the fix and quotes nothing.
    """
    if isinstance(data, bytes):
        if len(data) % BYTES_PER_SAMPLE:
            raise ClientError(
                "odd_audio", f"a binary message holds PCM16, two bytes a sample; {len(data)} bytes are no whole samples"
            )
        return AudioIn(data)
    body = strict.load_object(data)
    name = body.pop("type", None)
    if not isinstance(name, str):
        raise ClientError("missing_field", "every message needs a `type`, a string", field="type")
    kind = client.CLIENT_MESSAGES.get(name)
    if kind is None:
        near = strict.closest(name, client.CLIENT_MESSAGES)
        fix = f"did you mean {near!r}?" if near else f"known: {', '.join(client.CLIENT_MESSAGES)}"
        raise ClientError("unknown_message", f"unknown message type; {fix}", field="type")
    return _event_of(strict.structure(_strictly, kind, body, where=name))


# What a client asks for, and its wire shape: the same fields under another name.
_REQUESTS: Final[Mapping[type[ClientEvent], type[client.Request]]] = {
    events.ConversationStartRequested: client.StartConversation,
    events.ConversationEndRequested: client.EndConversation,
    events.SessionEndRequested: client.EndSession,
    events.TextReceived: client.Text,
    events.ToolResultReceived: client.ToolResult,
    events.InterruptRequested: client.Interrupt,
    events.CommitRequested: client.Commit,
    events.InputClearRequested: client.ClearInput,
    events.ResponseRequested: client.Respond,
    events.MuteRequested: client.Mute,
    events.PlaybackProgressed: client.PlaybackProgress,
    events.PlaybackCompleted: client.AudioPlaybackCompleted,
    events.ItemDeleteRequested: client.DeleteItem,
    events.ItemTruncateRequested: client.TruncateItem,
    events.ItemReadRequested: client.ReadItem,
}
_ASKED_BACK: Final[Mapping[object, Callable[..., ClientEvent]]] = {shape: event for event, shape in _REQUESTS.items()}


def _event_of(shape: attrs.AttrsInstance) -> FromClient:
    match shape:
        case StartSession() | Ping():
            return shape
        case client.UpdateSession():
            asked = changes(settings_asked(shape))
            return events.SettingsChanged(changes=asked, request_id=shape.request_id)
        case client.InsertItem():
            item = item_of(Item(id=shape.id or "", role=ItemRole(shape.role.value), text=shape.text))
            return events.ItemInsertRequested(item=item, after=shape.after, request_id=shape.request_id)
        case client.OfferTools():
            return _offer_of(shape)
        case _:
            return _ASKED_BACK[type(shape)](**_fields(shape))


def _offer_of(message: client.OfferTools) -> events.ToolsOffered:
    try:
        tools = tuple(ToolSpec(**_fields(each)) for each in message.tools)
    except ValueError as error:
        raise ClientError("invalid_field", f"offer_tools: tools: {error}", field="tools") from None
    return events.ToolsOffered(
        tools=tools, tool_choice=cast("ToolChoice", message.tool_choice), request_id=message.request_id
    )


def encode_client(message: FromClient) -> str | bytes:
    """Write what a client sends. ``at`` of an event is the server's business and stays behind."""
    shape: attrs.AttrsInstance
    match message:
        case AudioIn():
            return message.pcm
        case StartSession() | Ping():
            shape = message
        case events.SettingsChanged():
            shape = _update_of(message)
        case events.ItemInsertRequested():
            known = shape_of(message.item)
            shape = client.InsertItem(
                role=client.Role(known.role.value),
                text=known.text,
                id=known.id or None,
                after=message.after,
                request_id=message.request_id,
            )
        case events.ToolsOffered():
            tools = tuple(client.OfferedTool(**_fields(each)) for each in message.tools)
            choice = message.tool_choice
            shape = client.OfferTools(tools=tools, tool_choice=choice, request_id=message.request_id)
        case _:
            kind = _REQUESTS[type(message)]
            shape = kind(**{field.name: getattr(message, field.name) for field in attrs.fields(kind)})
    return _to_json(shape, _CLIENT_TYPES[type(shape)], skip_none=True)


# --- Server to client ----------------------------------------------------------------------------------------------------


def encode_server(message: FromServer) -> str | bytes:
    """Write what a server sends; optional fields are there as null, so that a message's shape is always the same."""
    if isinstance(message, AudioOut):
        return _HEADER.pack(_AUDIO_VERSION, message.turn) + message.pcm
    shape = _shape_of(message)
    return _to_json(shape, _SERVER_TYPES[type(shape)], skip_none=False)


# Notices whose wire shape has the same fields under another name.
_RENAMED: Final[Mapping[type[notices.Notice], Callable[..., attrs.AttrsInstance]]] = {
    notices.UserSpeechStarted: server.SpeechStarted,
    notices.UserSpeechStopped: server.SpeechStopped,
    notices.NothingHeard: server.NothingHeard,
    notices.TurnStarted: server.TurnStarted,
    notices.ResponseTextDelta: server.ResponseTextDelta,
    notices.ResponseTextDone: server.ResponseTextDone,
    notices.ToolCallRequested: server.ToolCall,
    notices.PlaybackCleared: server.PlaybackClear,
    notices.PlaybackPaused: server.PlaybackPause,
    notices.PlaybackResumed: server.PlaybackResume,
    notices.TurnEnded: server.TurnEnded,
    notices.TurnMetrics: server.TurnMetrics,
    notices.TurnUsage: server.TurnUsage,
    notices.InputCleared: server.InputCleared,
    notices.ErrorRaised: server.Error,
    notices.ItemDeleted: server.ItemDeleted,
    notices.ItemTruncated: server.ItemTruncated,
    notices.SessionEnded: server.SessionEnded,
}
_NAMED_BACK: Final[Mapping[object, Callable[..., notices.Notice]]] = {
    shape: notice for notice, shape in _RENAMED.items()
}


def _fields(message: attrs.AttrsInstance) -> dict[str, Any]:
    return attrs.asdict(message, recurse=False)


def _shape_of(message: notices.Notice | Pong) -> object:
    match message:
        case Pong():
            return message
        case notices.SessionStarted():
            own = {name: value for name, value in _fields(message).items() if name != "settings"}
            return server.SessionStarted(**own, **_in_force(message.settings))
        case notices.SettingsUpdated():
            return server.SessionUpdated(**_in_force(message.settings))
        case notices.StateChanged():
            return server.StateTransition(
                old_state=message.old,
                new_state=message.new,
                timestamp=message.at,
                turn=message.turn,
                reason=message.reason,
            )
        case notices.HearingReady():
            return server.SttReady()
        case notices.TranscriptReceived():
            kind = server.Transcript if message.final else server.PartialTranscript
            return kind(utterance=message.utterance, text=message.text)
        case notices.ItemInserted():
            return server.ItemInserted(item=shape_of(message.item), after=message.after)
        case notices.ItemShown():
            return server.ItemShown(item=shape_of(message.item))
        case _:
            return _RENAMED[type(message)](**_fields(message))


def decode_server(data: str | bytes) -> FromServer | None:
    """Read what a server sent; None for a message that a newer server has and this client does not know.

    Raises:
        LinkBroken: what came is not this protocol.
    """
    if isinstance(data, bytes):
        return _audio_of(data)
    try:
        body = strict.load_object(data)
        name = body.pop("type", None)
        if not isinstance(name, str):
            raise LinkBroken("the server sent a message without a type")
        kind = server.SERVER_MESSAGES.get(name)
        return None if kind is None else _notice_of(strict.structure(_leniently, kind, body, where=name))
    except ClientError as error:
        raise LinkBroken(f"the server sent what it must not send: {error.message}") from None


def _audio_of(data: bytes) -> AudioOut | None:
    if not data:
        raise LinkBroken("the server sent an empty binary message")
    if data[0] != _AUDIO_VERSION:
        return None
    if len(data) < AUDIO_HEADER_BYTES or len(data) % BYTES_PER_SAMPLE:
        raise LinkBroken(f"the server sent {len(data)} bytes of audio: no header, or no whole samples")
    _, turn = _HEADER.unpack_from(data)
    return AudioOut(turn, data[AUDIO_HEADER_BYTES:])


def _notice_of(shape: attrs.AttrsInstance) -> notices.Notice | Pong:
    match shape:
        case Pong():
            return shape
        case server.SessionStarted():
            names = attrs.fields_dict(notices.SessionStarted)
            own = {name: value for name, value in _fields(shape).items() if name in names}
            return notices.SessionStarted(**own, settings=_settings_told(shape))
        case server.SessionUpdated():
            return notices.SettingsUpdated(settings=_settings_told(shape))
        case server.StateTransition():
            return notices.StateChanged(
                old=shape.old_state, new=shape.new_state, at=shape.timestamp, turn=shape.turn, reason=shape.reason
            )
        case server.SttReady():
            return notices.HearingReady()
        case server.PartialTranscript() | server.Transcript():
            final = isinstance(shape, server.Transcript)
            return notices.TranscriptReceived(utterance=shape.utterance, text=shape.text, final=final)
        case server.ItemInserted():
            return notices.ItemInserted(item=item_of(shape.item), after=shape.after)
        case server.ItemShown():
            return notices.ItemShown(item=item_of(shape.item))
        case _:
            return _NAMED_BACK[type(shape)](**_fields(shape))
