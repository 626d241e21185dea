"""What a client of the native protocol may send, field by field: the names and shapes are the contract with every client.

They are written out instead of being taken from the conversation's own values, so that those can be renamed and the wire
cannot. `docs/protocol.md` and the JSON Schema are generated from this file and ``flare_server_messages``. Text fields stay out
of every ``repr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final, TypeAlias

import attrs

from flare_actors.conversation import states
from flare_actors.conversation.states import BargeIn, Endpointing, Input, Output, SttMode, TurnDetection
from flare_actors.wire.flare_shapes import PingId, Turn
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["CLIENT_MESSAGES"]

DEFAULT_INPUT_RATE: Final = 16_000
"""Hz; what recognisers take."""
DEFAULT_OUTPUT_RATE: Final = 24_000
"""Hz; what synthesizers give."""

Rate: TypeAlias = Annotated[int, Range(8_000, 48_000)]
Locale: TypeAlias = Annotated[
    str, Length(2, 35, r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$", "a BCP 47 tag such as en-US")
]
SilenceMs: TypeAlias = Annotated[int, Range(50, 10_000)]
CallId: TypeAlias = Annotated[str, Length(1, 64), Doc("the call's id")]
ItemId: TypeAlias = Annotated[str, Length(1, 64), Doc("from `item_inserted`; or `turn_N`, `utterance_N`")]


@attrs.frozen(kw_only=True)
class Request:
    """What a client asks of its session."""

    request_id: Annotated[str, Length(1, 128), Doc("your own name for it; an `error` about it repeats it")] | None = (
        None
    )


@attrs.frozen(kw_only=True)
class Resume:
    """Which session to go on with."""

    session_id: Annotated[str, Length(1, 64), Doc("from `session_started`")]
    token: Annotated[str, Length(1, 256), Doc("`resume_token` from `session_started`")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class StartSession:
    """The first message: what the client wants and what it can do. Answered with `session_started`."""

    locale: Annotated[Locale, Doc("what is spoken, both ways; default: the agent's")] | None = None
    mode: Annotated[SttMode, Doc("`streaming` asks for partial transcripts; default: the agent's")] | None = None
    input: Annotated[Input, Doc("`text`: no audio is heard; default: the agent's")] | None = None
    turn_detection: (
        Annotated[TurnDetection, Doc("`manual`: only `commit` ends an utterance (push-to-talk); default: the agent's")]
        | None
    ) = None
    auto_answer: (
        Annotated[bool, Doc("false: the client asks for each answer with `respond`; default: the agent's")] | None
    ) = None
    silence_threshold_ms: (
        Annotated[SilenceMs, Doc("silence that ends an utterance, in milliseconds; default: the agent's")] | None
    ) = None
    input_sample_rate: Annotated[Rate, Doc("Hz of the binary messages that the client sends")] = DEFAULT_INPUT_RATE
    output_sample_rate: Annotated[Rate, Doc("Hz of the audio that the client wants")] = DEFAULT_OUTPUT_RATE
    output: Annotated[Output, Doc("`text`: answers are not spoken; default: the agent's")] | None = None
    reports_playback: Annotated[
        bool, Doc("the client promises `playback_progress` and `audio_playback_completed`; else a clock decides")
    ] = False
    pauses_playback: Annotated[
        bool,
        Doc(
            "the client stands still at `playback_pause` and goes on at `playback_resume`; else it gets nothing more to play "
            "meanwhile"
        ),
    ] = False
    resume: (
        Annotated[Resume, Doc("go on with this session; the formats may differ, its settings stay as they are")] | None
    ) = None


@attrs.frozen(kw_only=True)
class StartConversation(Request):
    """The user wants to talk; the welcome is spoken, if there is one."""


@attrs.frozen(kw_only=True)
class EndConversation(Request):
    """Enough for now: the session stays, idle, and another conversation may start."""


@attrs.frozen(kw_only=True)
class Text(Request):
    """The user typed instead of speaking; interrupts the agent as speech does."""

    text: Annotated[str, Length(1, 16_000), Doc("what was typed")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class OfferedTool:
    """A tool that the client carries out."""

    name: Annotated[
        str, Length(1, 64, r"^[A-Za-z0-9_-]{1,64}$", "letters, digits, `_` and `-`"), Doc("how the model calls it")
    ]
    description: Annotated[str, Length(0, 8_000), Doc("what it does and when to call it, for the model")] = attrs.field(
        default="", repr=False
    )
    parameters: Annotated[
        str, Length(2, 64_000), Doc("the JSON text of a JSON schema of type `object`: its arguments")
    ] = attrs.field(default='{"type": "object", "properties": {}}', repr=False)


@attrs.frozen(kw_only=True)
class OfferTools(Request):
    """What the client can do for the model, from the next answer on, in place of what it offered before."""

    tools: Annotated[tuple[OfferedTool, ...], Doc("each with a name of its own")]
    tool_choice: Annotated[
        str,
        Length(4, 8, r"^(auto|none|required)$", "auto, none or required"),
        Doc("whether the model may, must not, must"),
    ] = "auto"


@attrs.frozen(kw_only=True)
class ToolResult(Request):
    """What came of a `tool_call`. One that comes after its turn is for the model's next request."""

    call: CallId
    output: Annotated[str, Length(0, 64_000), Doc("what the model is told")] = attrs.field(repr=False)
    failed: Annotated[bool, Doc("it tells what went wrong")] = False


@attrs.frozen(kw_only=True)
class PlaybackProgress(Request):
    """How much of a turn's audio the user has heard. Several times a second is plenty."""

    turn: Annotated[Turn, Doc("default: the oldest unfinished turn")] | None = None
    played_s: Annotated[float, Range(0, 86_400), Doc("seconds of that turn's audio; clamped to what was sent")]


@attrs.frozen(kw_only=True)
class AudioPlaybackCompleted(Request):
    """All audio received of a turn has been played. Before the end of the answer that is progress, not its end."""

    turn: Annotated[Turn, Doc("default: the oldest unfinished turn")] | None = None


@attrs.frozen(kw_only=True)
class Interrupt(Request):
    """The stop button: silence the agent, keep what was heard."""


@attrs.frozen(kw_only=True)
class Commit(Request):
    """The user has finished speaking (push-to-talk): do not wait for silence."""


@attrs.frozen(kw_only=True)
class ClearInput(Request):
    """Forget what the user is saying. Answered with `input_cleared`."""


@attrs.frozen(kw_only=True)
class Respond(Request):
    """Answer now what was said so far; needed where `auto_answer` is false."""


@attrs.frozen(kw_only=True)
class UpdateSession(Request):
    """Change settings; what is left out stays. Answered with `session_updated`, or an `error` and no change at all."""

    locale: Annotated[Locale, Doc("what is spoken, both ways, from the next utterance and answer on")] | None = None
    mode: Annotated[SttMode, Doc("`streaming` asks for partial transcripts")] | None = None
    input: Annotated[Input, Doc("`text`: no audio is heard")] | None = None
    output: Annotated[Output, Doc("`text`: answers are not spoken, from the next one on")] | None = None
    silence_threshold_ms: Annotated[SilenceMs, Doc("silence that ends an utterance, in milliseconds")] | None = None
    turn_detection: Annotated[TurnDetection, Doc("`manual`: only `commit` ends an utterance")] | None = None
    endpointing: Annotated[Endpointing, Doc("whether the silence adapts to the words and the speaker")] | None = None
    auto_answer: Annotated[bool, Doc("false: the client asks for each answer with `respond`")] | None = None
    barge_in: Annotated[BargeIn, Doc("whether speech may interrupt the agent")] | None = None
    mute: Annotated[states.Mute, Doc("while what the user is not heard, besides the message `mute`")] | None = None


@attrs.frozen(kw_only=True)
class Mute(Request):
    """While muted, the user's audio is dropped unheard."""

    muted: Annotated[bool, Doc("true: from now on; false: no longer")]


class Role(Enum):
    """Whose words an item of the history holds."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"


@attrs.frozen(kw_only=True)
class InsertItem(Request):
    """Put an item into the history. Nothing is answered for it; `text` is for that. Answered with `item_inserted`."""

    role: Role
    text: Annotated[str, Length(1, 16_000), Doc("the words")] = attrs.field(repr=False)
    id: Annotated[str, Length(1, 64), Doc("its name; default: one is made")] | None = None
    after: Annotated[str, Length(0, 64), Doc("the item before it; empty: none; default: the last")] | None = None


@attrs.frozen(kw_only=True)
class DeleteItem(Request):
    """Forget an item. Answered with `item_deleted`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class TruncateItem(Request):
    """The user has heard only so much of what the agent said; if it is still being said, it stops. `item_truncated`."""

    item_id: ItemId
    end_s: Annotated[float, Range(0, 86_400), Doc("seconds of its audio")]


@attrs.frozen(kw_only=True)
class ReadItem(Request):
    """What does the history have? Answered with `item`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class EndSession(Request):
    """Enough for good. Answered with `session_ended` and the close of the connection."""


@attrs.frozen(kw_only=True)
class Ping:
    """Are you there? Answered with `pong` at once."""

    id: PingId | None = None


CLIENT_MESSAGES: Final[Mapping[str, type[attrs.AttrsInstance]]] = {
    "start_session": StartSession,
    "start_conversation": StartConversation,
    "end_conversation": EndConversation,
    "text": Text,
    "offer_tools": OfferTools,
    "tool_result": ToolResult,
    "playback_progress": PlaybackProgress,
    "audio_playback_completed": AudioPlaybackCompleted,
    "interrupt": Interrupt,
    "commit": Commit,
    "clear_input": ClearInput,
    "respond": Respond,
    "update_session": UpdateSession,
    "mute": Mute,
    "insert_item": InsertItem,
    "delete_item": DeleteItem,
    "truncate_item": TruncateItem,
    "read_item": ReadItem,
    "end_session": EndSession,
    "ping": Ping,
}
"""What a client may send, by `type`."""
