"""What a client may choose for its session: read strictly, merged deeply, and told back as it is in force.

A client sends as much or as little of the session object as it likes, as often as it likes. Every update is merged into what
was chosen so far and the whole is read anew, so that what is wrong is told by its path and changes nothing. Fields that this
server cannot honour are let pass where an answer without them is still right, and are left out of the effective session;
`docs/openai-realtime.md` has the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final, TypeAlias

import attrs
import cattrs

from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output
from flare_actors.errors import ClientError
from flare_actors.wire import strict
from flare_actors.wire.strict import Doc, Length, Range

__all__ = [
    "Chosen",
    "Codec",
    "Eagerness",
    "Json",
    "Modality",
    "ToolMode",
    "TurnDetection",
    "converter",
    "max_tokens",
    "merge",
    "modality",
    "structure",
]

Json: TypeAlias = dict[str, object]

MAX_INSTRUCTIONS: Final = 32_000
MAX_TOOLS: Final = 128
_NULLABLE: Final = frozenset({"turn_detection", "transcription", "idle_timeout_ms"})
"""Where null is a value. Elsewhere it says nothing: clients write out what they have not chosen."""


class Codec(Enum):
    """How audio travels."""

    PCM = "audio/pcm"
    PCMU = "audio/pcmu"
    PCMA = "audio/pcma"


class Detection(Enum):
    """Who decides that the user has finished."""

    SERVER_VAD = "server_vad"
    SEMANTIC_VAD = "semantic_vad"


class Eagerness(Enum):
    """How soon an unfinished sentence is answered."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    AUTO = "auto"


class Modality(Enum):
    """How answers come; audio always comes with its transcript."""

    AUDIO = "audio"
    TEXT = "text"


class SessionKind(Enum):
    """What a session is for."""

    REALTIME = "realtime"


class ToolKind(Enum):
    """What a tool is."""

    FUNCTION = "function"


class ToolMode(Enum):
    """Whether the model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


Ignored: TypeAlias = Annotated[object, Doc("accepted, not in force")]
Tokens: TypeAlias = Annotated[str | int, Length(3, 3, "inf", "or a number"), Range(1, 65_536)]


@attrs.frozen(kw_only=True)
class Format:
    """An audio format."""

    type: Annotated[Codec, Doc("little-endian PCM16, or G.711 at 8 kHz")] = Codec.PCM
    rate: Annotated[int, Doc("Hz: 24000 for `audio/pcm`, 8000 for the others")] | None = None


@attrs.frozen(kw_only=True)
class TurnDetection:
    """How the end of the user's turn is found."""

    type: Annotated[Detection, Doc("`semantic_vad` is this server's adaptive endpointing")]
    threshold: Annotated[float, Range(0.01, 0.99), Doc("`vad_threshold`")] | None = None
    prefix_padding_ms: Annotated[int, Range(0, 5_000), Doc("`preroll_s`")] | None = None
    silence_duration_ms: Annotated[int, Range(50, 10_000), Doc("`endpoint_s`")] | None = None
    create_response: Annotated[bool, Doc("answer when the user has finished")] = True
    interrupt_response: Annotated[bool, Doc("`barge_in`: `later` when false")] = True
    idle_timeout_ms: (
        Annotated[int, Range(1_000, 300_000), Doc("`idle_prompt_s`, with `idle_answer`: the agent goes on")] | None
    ) = None
    eagerness: Annotated[Eagerness, Doc("how long an unfinished sentence is waited for")] = Eagerness.AUTO


@attrs.frozen(kw_only=True)
class Transcription:
    """Transcripts of what the user says; null: they are not sent."""

    model: Ignored = None
    language: Annotated[str, Length(2, 35), Doc("`locale`, where the recogniser has it")] | None = None
    prompt: Ignored = None
    delay: Ignored = None
    keywords: Ignored = None
    languages: Ignored = None


@attrs.frozen(kw_only=True)
class AudioInput:
    """The user's audio."""

    format: Format = Format()
    turn_detection: Annotated[TurnDetection, Doc("null: the client commits")] | None = None
    transcription: Annotated[Transcription, Doc("null: no transcripts are sent")] | None = None
    noise_reduction: Ignored = None


@attrs.frozen(kw_only=True)
class AudioOutput:
    """The agent's audio."""

    format: Format = Format()
    voice: Ignored = None
    speed: Ignored = None


@attrs.frozen(kw_only=True)
class Audio:
    """Both ways."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


@attrs.frozen(kw_only=True)
class Tool:
    """A function that the client can carry out."""

    type: Annotated[ToolKind, Doc("MCP servers are not called")]
    name: Annotated[str, Length(1, 64, r"[A-Za-z0-9_-]+", "letters, digits, _ and -")]
    description: Annotated[str, Length(0, 16_000)] = ""
    parameters: Annotated[dict[str, object], Doc("a JSON Schema")] = attrs.field(factory=dict)
    strict: Ignored = None


@attrs.frozen(kw_only=True)
class Session:
    """A session's choices."""

    type: SessionKind = SessionKind.REALTIME
    id: Ignored = None
    expires_at: Ignored = None
    model: Annotated[str, Length(0, 128), Doc("told back; the agent answers")] | None = None
    instructions: Annotated[str, Length(0, MAX_INSTRUCTIONS), Doc("the system message")] = ""
    output_modalities: Annotated[list[Modality], Doc("`output`: one of them")] = attrs.field(
        factory=lambda: [Modality.AUDIO]
    )
    audio: Audio = Audio()
    tools: list[Tool] = attrs.field(factory=list)
    tool_choice: Annotated[object, Doc('`"auto"`, `"none"`, `"required"` or `{"type": "function", "name"}`')] = "auto"
    max_output_tokens: Annotated[Tokens, Doc('`"inf"`, or how many tokens an answer may have')] = "inf"
    parallel_tool_calls: Ignored = None
    include: Ignored = None
    tracing: Ignored = None
    truncation: Ignored = None
    reasoning: Ignored = None


@attrs.frozen(kw_only=True)
class Chosen:
    """What is in force: the session object as it is told to the client, and what this server makes of it."""

    session: Session
    raw: Json = attrs.field(repr=False)
    """All that was chosen so far, to be merged with the next update."""


def _make_converter() -> cattrs.Converter:
    converter = strict.make_converter(unknown_fields=False)
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
    converter.register_structure_hook_func(lambda kind: kind == dict[str, object], _expect_object)
    return converter


def _expect_object(value: object, _: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise strict.Wrong("expected an object")
    return value


converter: Final = _make_converter()


def structure(kind: type[strict.T], body: Mapping[str, object], *, where: str) -> strict.T:
    """Read a value strictly; see ``strict.structure``."""
    return strict.structure(converter, kind, body, where=where)


def merge(base: Mapping[str, object], update: Mapping[str, object]) -> Json:
    """Objects field by field, anything else as a whole; objects of another ``type`` replace each other."""
    merged = dict(base)
    for key, value in update.items():
        known = merged.get(key)
        if isinstance(value, dict):
            same = isinstance(known, dict) and value.get("type", known.get("type")) == known.get("type")
            merged[key] = merge(known if isinstance(known, dict) and same else {}, value)
        elif value is not None or key in _NULLABLE:
            merged[key] = value
    return merged


def first(settings: Settings, model: str) -> Json:
    """What is in force before the client has said anything: the agent's settings."""
    return {
        "type": "realtime",
        "model": model,
        "output_modalities": ["text" if settings.output is Output.TEXT else "audio"],
        "max_output_tokens": "inf" if settings.answer_tokens is None else settings.answer_tokens,
        "audio": {
            "input": {
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": settings.vad_threshold,
                    "prefix_padding_ms": round(settings.preroll_s * 1000),
                    "silence_duration_ms": round(settings.endpoint_s * 1000),
                    "interrupt_response": settings.barge_in.interrupts,
                },
                "transcription": {},
            },
            "output": {},
        },
    }


def read(raw: Json, *, where: str = "session") -> Chosen:
    """Hold a whole session object against the shapes.

    Raises:
        ClientError: what is wrong with it, by its path.
    """
    session = structure(Session, {key: value for key, value in raw.items() if key != "object"}, where=where)
    modality(session.output_modalities, where=where)
    check_tools(session.tools, session.tool_choice, where=where)
    for path, audio_format in (
        ("audio.input.format", session.audio.input.format),
        ("audio.output.format", session.audio.output.format),
    ):
        rate = rate_of(audio_format.type)
        if audio_format.rate not in {None, rate}:
            raise ClientError("invalid_field", f"{where}: {path}.rate: expected {rate}", field=f"{path}.rate")
    return Chosen(session=session, raw=raw)


def check_tools(tools: list[Tool], choice: object, *, where: str) -> None:
    """Hold a list of tools, and which of them is to be called, against what can be done.

    Raises:
        ClientError: too many, or two of a name; or the choice is none.
    """
    tool_choice(choice, tools, where=where)
    if len(tools) > MAX_TOOLS:
        raise ClientError("invalid_field", f"{where}: tools: at most {MAX_TOOLS} are taken", field="tools")
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise ClientError("invalid_field", f"{where}: tools: each needs a name of its own", field="tools")


def rate_of(codec: Codec) -> int:
    """Hz."""
    return 24_000 if codec is Codec.PCM else 8_000


def modality(modalities: list[Modality], *, where: str = "session") -> Output:
    """What kind of answer a list of modalities asks for: spoken ones come with their text.

    Raises:
        ClientError: the list is empty.
    """
    if not modalities:
        raise ClientError(
            "invalid_field", f"{where}: output_modalities: expected ['audio'] or ['text']", field="output_modalities"
        )
    return Output.AUDIO if Modality.AUDIO in modalities else Output.TEXT


def max_tokens(value: str | int) -> int | None:
    """``"inf"`` -> None."""
    return value if isinstance(value, int) else None


def tool_choice(value: object, tools: list[Tool], *, where: str = "session") -> ToolMode | str:
    """A mode, or the name of the one function that is to be called.

    Raises:
        ClientError: it is neither.
    """
    if isinstance(value, str) and value in {mode.value for mode in ToolMode}:
        return ToolMode(value)
    if isinstance(value, dict) and value.get("type") == "function":
        name = value.get("name")
        if isinstance(name, str) and any(tool.name == name for tool in tools):
            return name
        raise ClientError(
            "invalid_field", f"{where}: tool_choice.name: no tool has that name", field="tool_choice.name"
        )
    raise ClientError(
        "invalid_field",
        f"{where}: tool_choice: expected 'auto', 'none', 'required' or {{'type': 'function', 'name': ...}}",
        field="tool_choice",
    )


def effective(chosen: Chosen, session_id: str) -> Json:
    """The session object as it is in force."""
    session = chosen.session
    audio = session.audio
    detection = audio.input.turn_detection
    transcription = audio.input.transcription
    return {
        "type": session.type.value,
        "object": "realtime.session",
        "id": session_id,
        "model": session.model,
        "output_modalities": [modality(session.output_modalities).value],
        "instructions": session.instructions,
        "tools": [tool_object(tool) for tool in session.tools],
        "tool_choice": session.tool_choice,
        "max_output_tokens": session.max_output_tokens,
        "audio": {
            "input": {
                "format": format_object(audio.input.format),
                "transcription": None if transcription is None else {"language": transcription.language},
                "noise_reduction": None,
                "turn_detection": None if detection is None else _detection_object(detection),
            },
            "output": {"format": format_object(audio.output.format), "speed": 1.0},
        },
    }


def format_object(audio_format: Format) -> Json:
    """As clients read it."""
    if audio_format.type is Codec.PCM:
        return {"type": audio_format.type.value, "rate": rate_of(audio_format.type)}
    return {"type": audio_format.type.value}


def tool_object(tool: Tool) -> Json:
    """As clients read it."""
    return {
        "type": tool.type.value,
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }


def _detection_object(detection: TurnDetection) -> Json:
    common: Json = {
        "type": detection.type.value,
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }
    if detection.type is Detection.SEMANTIC_VAD:
        return common | {"eagerness": detection.eagerness.value}
    return common | {
        "threshold": detection.threshold,
        "prefix_padding_ms": detection.prefix_padding_ms,
        "silence_duration_ms": detection.silence_duration_ms,
        "idle_timeout_ms": detection.idle_timeout_ms,
    }
