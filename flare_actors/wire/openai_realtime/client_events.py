"""What a client may send, event by event: the shapes, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final

import attrs

from flare_actors.errors import ClientError
from flare_actors.wire import strict
from flare_actors.wire.openai_realtime.session_config import (
    MAX_INSTRUCTIONS,
    Format,
    Ignored,
    Json,
    Modality,
    Tokens,
    Tool,
    structure,
)
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["CLIENT_EVENTS", "ClientEvent", "Content", "Item", "ItemKind", "Role", "read_event"]

MAX_EVENT_ID: Final = 512


class ItemKind(Enum):
    """What an item is."""

    MESSAGE = "message"
    FUNCTION_CALL = "function_call"
    FUNCTION_CALL_OUTPUT = "function_call_output"


class Role(Enum):
    """Whose words a message is."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class ContentKind(Enum):
    """What a part of a message is. Audio is given as its transcript; pictures are not taken."""

    INPUT_TEXT = "input_text"
    INPUT_AUDIO = "input_audio"
    OUTPUT_TEXT = "output_text"
    OUTPUT_AUDIO = "output_audio"
    TEXT = "text"


Words = Annotated[str, Length(0, 64_000)]
ItemId = Annotated[str, Length(1, 64)]


@attrs.frozen(kw_only=True)
class Content:
    """A part of a message."""

    type: ContentKind
    text: Words | None = attrs.field(default=None, repr=False)
    transcript: Annotated[Words, Doc("what stands for audio in the history")] | None = attrs.field(
        default=None, repr=False
    )
    audio: Ignored = attrs.field(default=None, repr=False)
    detail: Ignored = None
    image_url: Ignored = None


@attrs.frozen(kw_only=True)
class Item:
    """An item of the conversation."""

    type: ItemKind
    id: Annotated[ItemId, Doc("default: one is made")] | None = None
    object: Annotated[Words, Doc("`realtime.item`")] | None = None
    status: Annotated[Words, Doc("the server's business")] | None = None
    role: Role | None = None
    content: Annotated[list[Content], Doc("of a message")] | None = attrs.field(default=None, repr=False)
    call_id: Annotated[str, Length(1, 128), Doc("of a function_call and its output")] | None = None
    name: Annotated[str, Length(1, 64), Doc("of a function_call")] | None = None
    arguments: Annotated[Words, Doc("of a function_call: the JSON text of an object")] | None = attrs.field(
        default=None, repr=False
    )
    output: Annotated[Words, Doc("of a function_call_output: the result")] | None = attrs.field(
        default=None, repr=False
    )


@attrs.frozen(kw_only=True)
class SessionUpdate:
    """Change the session; what is not named stays. Answered with `session.updated`, which has all that is in force."""

    session: Annotated[dict[str, object], Doc("see the session's fields")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class InputAudioBufferAppend:
    """Microphone audio."""

    audio: Annotated[str, Length(0, 4_000_000), Doc("base64, in `session.audio.input.format`; 30 s at most")] = (
        attrs.field(repr=False)
    )


@attrs.frozen(kw_only=True)
class InputAudioBufferCommit:
    """The user has finished speaking. Answered with `input_audio_buffer.committed`, once the words are understood."""


@attrs.frozen(kw_only=True)
class InputAudioBufferClear:
    """Forget what the user is saying. Answered with `input_audio_buffer.cleared`."""


@attrs.frozen(kw_only=True)
class OutputAudioBufferClear:
    """Silence the agent, as `response.cancel` does. Answered with `output_audio_buffer.cleared`."""


@attrs.frozen(kw_only=True)
class ConversationItemCreate:
    """Put an item into the conversation. Answered with `conversation.item.added` and `.done`."""

    item: Item
    previous_item_id: (
        Annotated[str, Length(1, 64), Doc("the item before it; `root`: it becomes the first; default: the last")] | None
    ) = None


@attrs.frozen(kw_only=True)
class ConversationItemRetrieve:
    """What does the server have of an item? Answered with `conversation.item.retrieved`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class ConversationItemTruncate:
    """The user has heard only so much of an answer. Answered with `conversation.item.truncated`."""

    item_id: ItemId
    content_index: Annotated[int, Range(0, 0), Doc("messages have one part")] = 0
    audio_end_ms: Annotated[int, Range(0, 86_400_000), Doc("milliseconds of its audio")]


@attrs.frozen(kw_only=True)
class ConversationItemDelete:
    """Forget an item. Answered with `conversation.item.deleted`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class ResponseOutput:
    """The audio of one response."""

    format: Annotated[Format, Doc("accepted; the session's is used")] | None = None
    voice: Ignored = None


@attrs.frozen(kw_only=True)
class ResponseAudio:
    """The audio of one response."""

    output: ResponseOutput | None = None


@attrs.frozen(kw_only=True)
class ResponseParams:
    """What is different in this response."""

    instructions: Annotated[str, Length(0, MAX_INSTRUCTIONS), Doc("in place of the session's")] | None = attrs.field(
        default=None, repr=False
    )
    output_modalities: Annotated[list[Modality], Doc("in place of the session's")] | None = None
    conversation: Annotated[str, Length(1, 64), Doc("`none`: nothing of it enters the conversation")] | None = None
    input: Annotated[list[Item], Doc("in place of the conversation so far; with `conversation: none`")] | None = (
        attrs.field(default=None, repr=False)
    )
    metadata: Annotated[dict[str, object], Doc("echoed in the response: up to 16 pairs of strings")] | None = (
        attrs.field(default=None, repr=False)
    )
    max_output_tokens: Annotated[Tokens, Doc("in place of the session's")] | None = None
    tools: Annotated[list[Tool], Doc("in place of the session's")] | None = None
    tool_choice: Annotated[object, Doc("in place of the session's")] = None
    audio: ResponseAudio | None = None
    parallel_tool_calls: Ignored = None
    reasoning: Ignored = None


@attrs.frozen(kw_only=True)
class ResponseCreate:
    """Answer now. Answered with `response.created`, or an error while another response is active."""

    response: ResponseParams | None = None


@attrs.frozen(kw_only=True)
class ResponseCancel:
    """Stop the response. Answered with its `response.done`, or an error where none is active."""

    response_id: Annotated[str, Length(1, 128), Doc("default: the active one")] | None = None


ClientEvent = (
    SessionUpdate
    | InputAudioBufferAppend
    | InputAudioBufferCommit
    | InputAudioBufferClear
    | OutputAudioBufferClear
    | ConversationItemCreate
    | ConversationItemRetrieve
    | ConversationItemTruncate
    | ConversationItemDelete
    | ResponseCreate
    | ResponseCancel
)

CLIENT_EVENTS: Final[Mapping[str, type[ClientEvent]]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": InputAudioBufferAppend,
    "input_audio_buffer.commit": InputAudioBufferCommit,
    "input_audio_buffer.clear": InputAudioBufferClear,
    "output_audio_buffer.clear": OutputAudioBufferClear,
    "conversation.item.create": ConversationItemCreate,
    "conversation.item.retrieve": ConversationItemRetrieve,
    "conversation.item.truncate": ConversationItemTruncate,
    "conversation.item.delete": ConversationItemDelete,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
}
"""What a client may send, by `type`."""


def read_event(body: Json) -> tuple[str, ClientEvent]:
    """The type and the event; ``event_id`` is taken out already.

    Raises:
        ClientError: what is wrong, by its path.
    """
    name = body.pop("type", None)
    if not isinstance(name, str):
        raise ClientError("missing_field", "every event needs a `type`, a string", field="type")
    kind = CLIENT_EVENTS.get(name)
    if kind is None:
        near = strict.closest(name, CLIENT_EVENTS)
        fix = f"did you mean {near!r}?" if near else f"known: {', '.join(CLIENT_EVENTS)}"
        raise ClientError("invalid_field", f"unknown event type; {fix}", field="type")
    return name, structure(kind, body, where=name)
