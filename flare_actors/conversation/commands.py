"""What the orchestrator is told to do: imperative values. Performing one never waits and never fails the core.

A command may come too late (its turn is gone, its listener closed) and then does nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, Union

import attrs

from flare_actors.conversation.calls import AnswerRest, ToolCall, ToolChoice, ToolSpec
from flare_actors.conversation.notices import Notice
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, SttMode, TurnKind

__all__ = [
    "ApplySettings",
    "CancelReply",
    "ChatMessage",
    "ClearInput",
    "CloseListener",
    "CloseSession",
    "Command",
    "CommitUtterance",
    "FlushPlayback",
    "Notify",
    "OpenListener",
    "PausePlayback",
    "ReleaseReply",
    "ResumePlayback",
    "ReturnToolResult",
    "SetEndpoint",
    "SetMute",
    "StartReply",
    "StartStt",
    "StopStt",
]


@attrs.frozen(kw_only=True)
class ChatMessage:
    """One side's words in the request to the language model, or a tool's; neighbours of one role are merged."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = attrs.field(default="", repr=False)
    calls: tuple[ToolCall, ...] = ()
    """What the assistant asked for; the results follow."""
    call: str | None = None
    """Of a tool's: whose result it is."""
    failed: bool = False


@attrs.frozen(kw_only=True)
class OpenListener:
    """Open the ear: voice activity detection with these settings, until CloseListener."""

    settings: Settings


@attrs.frozen(kw_only=True)
class CloseListener:
    """Close the ear and the recogniser; what they were at is forgotten."""

    reason: Reason


@attrs.frozen(kw_only=True)
class StartStt:
    """Be ready for the next utterance; a recogniser that is already open just says so."""

    locale: str
    mode: SttMode
    endpoint_s: float
    """Silence that ends an utterance, in seconds."""
    retry: bool = False
    """It failed before."""


@attrs.frozen(kw_only=True)
class StopStt:
    """Close the recogniser; the ear stays open."""

    reason: Reason


@attrs.frozen(kw_only=True)
class ApplySettings:
    """The settings have changed: hear by these from now on."""

    settings: Settings


@attrs.frozen(kw_only=True)
class CommitUtterance:
    """End the utterance in progress now; answered with SpeechStopped, or NothingCommitted."""


@attrs.frozen(kw_only=True)
class ClearInput:
    """Forget the utterance in progress, and all audio that was not heard yet."""


@attrs.frozen(kw_only=True)
class SetEndpoint:
    """End the utterance after this much silence, if it still pauses; in the next pause ``endpoint_s`` holds again."""

    utterance: int
    pause: int
    """Which of its pauses, from 1."""
    silence_s: float
    settled: bool
    """Nothing more will become known of the present pause; until then it is not heard faster than it was spoken."""


@attrs.frozen(kw_only=True)
class SetMute:
    """Drop the user's audio before the VAD, or stop dropping it."""

    muted: bool


@attrs.frozen(kw_only=True)
class StartReply:
    """Open the reply scope of a turn: ask the model with ``messages``, or speak ``text``."""

    turn: int
    kind: TurnKind
    locale: str
    output: Output
    messages: tuple[ChatMessage, ...] = attrs.field(default=(), repr=False)
    text: str | None = attrs.field(default=None, repr=False)
    tools: tuple[ToolSpec, ...] = ()
    """What the client can carry out, besides the agent's own tools."""
    tool_choice: ToolChoice = "auto"
    instructions: str | None = attrs.field(default=None, repr=False)
    """For this answer alone, after the agent's own."""
    replace: bool = False
    """... in place of the agent's own."""
    max_tokens: int | None = None
    """The longest answer, in the model's tokens; None: the model's own limit."""
    held: bool = False
    """Nothing of it leaves for the client before ReleaseReply."""


@attrs.frozen(kw_only=True)
class ReleaseReply:
    """Let out what a held reply has made so far, and what it still makes."""

    turn: int


@attrs.frozen(kw_only=True)
class CancelReply:
    """Cancel the reply scope of a turn: model, phrases and synthesizer at once."""

    turn: int
    reason: Reason


@attrs.frozen(kw_only=True)
class ReturnToolResult:
    """Give the reply of a turn what the client made of a call."""

    turn: int
    call: str
    output: str = attrs.field(repr=False)
    failed: bool = False
    rest: AnswerRest | None = None


@attrs.frozen(kw_only=True)
class FlushPlayback:
    """Forget a turn's audio wherever it still is; answered with PlaybackStopped."""

    turn: int


@attrs.frozen(kw_only=True)
class PausePlayback:
    """Nothing of a turn leaves until ResumePlayback or FlushPlayback; a client that can stands still at once."""

    turn: int


@attrs.frozen(kw_only=True)
class ResumePlayback:
    """Go on with a turn where it was paused."""

    turn: int


@attrs.frozen(kw_only=True)
class Notify:
    """Tell the client."""

    notice: Notice


@attrs.frozen(kw_only=True)
class CloseSession:
    """The last command of a session: let the last notices drain, then close everything."""

    reason: Reason


Command: TypeAlias = Union[
    OpenListener,
    CloseListener,
    StartStt,
    StopStt,
    ApplySettings,
    CommitUtterance,
    ClearInput,
    SetEndpoint,
    SetMute,
    StartReply,
    ReleaseReply,
    CancelReply,
    ReturnToolResult,
    FlushPlayback,
    PausePlayback,
    ResumePlayback,
    Notify,
    CloseSession,
]
