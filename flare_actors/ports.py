"""What a session needs from the world: Protocols that engines, vendors and transports implement.

Every provider is shared by all sessions of a process and is asked for one stream after another. A stream is an async
context manager that gives an async iterator:

* entering it connects (the session's ``connect_s`` applies), leaving it releases everything at once, also on cancel;
* iterating it waits for results. No cancel scope and no nursery may be held open across a ``yield`` of an async generator
  (a nursery inside the context manager is fine);
* what fails raises ``ProviderError``; other exceptions of a provider are turned into one by the session's port guard;
* ``trio.Cancelled`` passes through. Blocking engines run in worker threads with ``abandon_on_cancel=True``.

Timeouts are the session's business; a provider should not have its own for the same thing.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias, Union, runtime_checkable

import attrs

from flare_actors.audio import AudioFormat
from flare_actors.conversation.calls import ToolCall, ToolChoice, ToolSpec
from flare_actors.conversation.events import ClientEvent
from flare_actors.conversation.notices import Notice
from flare_actors.conversation.states import SttMode

__all__ = [
    "ALL_LOCALES",
    "AudioIn",
    "AudioOut",
    "ClientLink",
    "ClientMessage",
    "HeardAudio",
    "LanguageModel",
    "LimitReached",
    "Locales",
    "Message",
    "ModelOutput",
    "Phrase",
    "Recognizer",
    "ServerMessage",
    "SpeechAudio",
    "Synthesizer",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "ToolSpec",
    "Transcript",
    "TurnEndEstimator",
    "Usage",
    "VoiceActivity",
    "VoiceDetector",
    "WordTiming",
    "locale_supported",
    "takes_max_tokens",
    "takes_tools",
]

Locales: TypeAlias = Sequence[str] | None
"""BCP 47 tags or bare languages that a provider supports; None: it cannot tell, everything is tried."""
ALL_LOCALES: Locales = None


def locale_supported(locale: str, locales: Locales) -> bool:
    """``en-US`` is supported by ``en-US`` and by ``en``; ``en`` by any ``en-*``. Case does not matter."""
    if locales is None:
        return True
    wanted = locale.lower().replace("_", "-")
    for each in locales:
        known = each.lower().replace("_", "-")
        if wanted == known or wanted.startswith(known + "-") or known.startswith(wanted + "-"):
            return True
    return False


# --- Hearing -------------------------------------------------------------------------------------------------------------


class VoiceDetector(Protocol):
    """The voice activity of one stream of audio. Synchronous and fast (well under 1 ms): it runs inline."""

    def process(self, chunk: bytes) -> float:
        """Speech probability (0 to 1) of the next chunk: ``VoiceActivity.chunk_samples`` samples of PCM16."""
        ...

    def reset(self) -> None:
        """Forget the past, as at the start of a stream."""
        ...


@runtime_checkable
class VoiceActivity(Protocol):
    """Tells speech from everything else. Makes one detector per conversation; models are shared."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that detectors take."""
        ...

    @property
    def chunk_samples(self) -> int:
        """Samples per chunk; every call of ``process`` gets exactly this many."""
        ...

    async def open(self) -> VoiceDetector:
        """Make a detector; may load a model (in a thread)."""
        ...


@runtime_checkable
class TurnEndEstimator(Protocol):
    """What a ``VoiceActivity`` may be besides: a model of whether a speaker who pauses has finished."""

    async def estimate_turn_end(self, pcm: bytes) -> float:
        """Probability, 0 to 1, that the turn is over behind these last seconds (at most 8) of it: PCM16 at ``sample_rate``.

        What it raises ends no session: the pause is judged without it.
        """
        ...


@attrs.frozen(kw_only=True)
class HeardAudio:
    """A piece of one utterance, on its way to the recogniser."""

    pcm: bytes = attrs.field(repr=False)
    """PCM16 at the recogniser's sample rate, whole samples."""
    silence_s: float = 0.0
    """Trailing silence of the utterance up to the end of this piece, as the ear judges; 0 while there is voice. A batch
    engine may decode early in a pause and keep the result when nothing but silence follows."""


@attrs.frozen(kw_only=True)
class Transcript:
    """What was understood of an utterance."""

    text: str = attrs.field(repr=False)
    """All of the utterance so far (partials replace each other)."""
    final: bool = False
    complete: bool = True
    """Of a partial one: nothing that was said up to now is known to be missing in it. In a pause such a one is answered ahead
    of the endpoint, so a recogniser that knows better says False."""


@runtime_checkable
class Recognizer(Protocol):
    """Speech to text, one utterance at a time."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it takes."""
        ...

    @property
    def locales(self) -> Locales:
        """What it understands."""
        ...

    @property
    def partials(self) -> bool:
        """In streaming mode it tells words within a fraction of a second, while they are spoken.

        Then an interruption is decided by its first word; without words, by how long it lasts.
        """
        ...

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """Understand one utterance.

        Args:
            audio: the utterance as it is spoken; it may be long until the first piece comes (the stream is opened ahead
                of the user's words); its end is the endpoint. After the end the final transcript is due.
            locale: BCP 47 tag of what is spoken.
            mode: whether partial transcripts are wanted.

        Gives partial transcripts and, last, exactly one final one, then ends. An utterance without words gives a final
        transcript with empty text.

        Raises:
            ProviderError: it failed; the utterance is lost.
        """
        ...


# --- Thinking ------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Message:
    """One entry of what the language model is shown."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = attrs.field(default="", repr=False)
    """Of an assistant's message with calls it may be empty; of a tool's it is the result."""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message: the tools that it asked for. The messages right after it are their results, one for each,
    in the same order."""
    call: str | None = None
    """Of a tool's message: the id of the call whose result it is."""
    failed: bool = False
    """Of a tool's message: the result tells what went wrong."""


@attrs.frozen(kw_only=True)
class TextDelta:
    """The answer grows by this text (any split, never empty)."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ToolCallDelta:
    """The arguments of a call grow. Only a sign of life: the call counts, whole, when ``ToolCall`` comes."""

    call: str
    """As in the ``ToolCall`` that follows."""
    name: str
    arguments: str = attrs.field(repr=False)
    """This piece of them."""


@attrs.frozen(kw_only=True)
class Usage:
    """What the request cost, as the provider counts it."""

    input_tokens: int
    output_tokens: int


@attrs.frozen(kw_only=True)
class LimitReached:
    """The answer ends here because it may not have more tokens: the model had not finished. At most once, before its end."""


ModelOutput: TypeAlias = Union[TextDelta, ToolCallDelta, ToolCall, Usage, LimitReached]


@runtime_checkable
class LanguageModel(Protocol):
    """Writes answers."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        """Answer the last message.

        Args:
            messages: a system message first (if there are instructions), then user and assistant in turn, with the results of
                tools after the calls; the last one is the user's, or a tool's.
            locale: BCP 47 tag of what is spoken.
            tools: what the model may call. A model that knows no tools leaves this argument and the next one out: it is
                given them only where there are tools to be offered, and then fails, once, with a message that says why.
            tool_choice: whether it may, must or must not call one; given with tools only.
            max_tokens: the longest answer, where somebody has asked for a limit; the model's own limit, if it has a lower
                one, stays in force. A model may leave this argument out as well: it then fails where it is asked so.

        Gives the answer's text as it is written, and each call as soon as it is whole, then ends. Who asked carries the
        calls out, and asks again with their results.

        Raises:
            ProviderError: it failed; what came before stays valid.
        """
        ...


def takes_tools(model: LanguageModel) -> bool:
    """Whether a model's ``generate`` has the argument ``tools``: models that were written without may leave it out."""
    return _takes(model, "tools")


def takes_max_tokens(model: LanguageModel) -> bool:
    """Whether a model's ``generate`` has the argument ``max_tokens``, which may be left out, too."""
    return _takes(model, "max_tokens")


def _takes(model: LanguageModel, argument: str) -> bool:
    parameters = inspect.signature(model.generate).parameters
    return argument in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


# --- Speaking ------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Phrase:
    """A stretch of text to be spoken: words, without what is written for the eye only.

    The session takes marks of emphasis, links, lists, emoji and the like out (``conversation.phrases.speakable``), for all
    synthesizers alike; what an engine cannot say besides is the engine's own business.
    """

    index: int
    """From 0 within the turn."""
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class WordTiming:
    """When a word of a phrase is over, as a synthesizer that knows it tells."""

    chars: int
    """Characters of the phrase's text up to the word's end."""
    end_s: float
    """Seconds of the phrase's audio up to the word's end."""


@attrs.frozen(kw_only=True)
class SpeechAudio:
    """A piece of a phrase's audio, in order."""

    phrase: int
    """The phrase's index; phrases do not interleave."""
    pcm: bytes = attrs.field(repr=False)
    """PCM16 at the synthesizer's sample rate, whole samples, not empty."""
    words: tuple[WordTiming, ...] = ()
    """Of words of the phrase, in order; they may be told before their audio comes, each once. What an interrupted user has
    heard is then known to the word; where nothing is told it is estimated from the phrase's length."""


@runtime_checkable
class Synthesizer(Protocol):
    """Text to speech."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it gives."""
        ...

    @property
    def locales(self) -> Locales:
        """What it speaks."""
        ...

    def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come.

        Args:
            phrases: one turn's phrases; the next one may be long in coming, their end is the end of the answer.
            locale: BCP 47 tag of what is spoken.

        Gives audio while phrases still come; ends when all is spoken. A phrase without anything to pronounce gives none.

        Raises:
            ProviderError: it failed; what came before stays valid.
        """
        ...


# --- The client ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class AudioIn:
    """Microphone audio: PCM16 in the link's input format, whole samples, any length."""

    pcm: bytes = attrs.field(repr=False)


@attrs.frozen
class AudioOut:
    """A frame of the agent's speech: PCM16 in the link's output format."""

    turn: int
    pcm: bytes = attrs.field(repr=False)


ClientMessage: TypeAlias = Union[ClientEvent, AudioIn]
"""What comes from a client."""
ServerMessage: TypeAlias = Union[Notice, AudioOut]
"""What goes to a client."""


@runtime_checkable
class ClientLink(Protocol):
    """A session's connection to its client: values in, values out. A server makes one of a transport and a codec."""

    @property
    def input_format(self) -> AudioFormat:
        """Of every ``AudioIn`` that ``receive`` gives."""
        ...

    @property
    def output_format(self) -> AudioFormat:
        """Of every ``AudioOut`` that ``send`` takes."""
        ...

    @property
    def realtime(self) -> bool:
        """Whether a person speaks and listens.

        True: audio that comes too fast is dropped, the answer is paced. False: a recording or a test; audio input is
        backpressured instead, the answer leaves at full speed and counts as played on leaving.
        """
        ...

    @property
    def reports_playback(self) -> bool:
        """The client has declared that it reports what it played."""
        ...

    @property
    def pauses_playback(self) -> bool:
        """The client has declared that it stands still at ``PlaybackPaused`` and goes on at ``PlaybackResumed``.

        Any other gets nothing more to play until it is decided who goes on, and runs empty a moment later.
        """
        ...

    async def receive(self) -> ClientMessage:
        """The next message. Messages that the client should not have sent are answered by the link itself.

        Raises:
            LinkClosed: the client is gone in an orderly way, or the connection was lost; it may come back.
            LinkBroken: the client violated the protocol for good.
        """
        ...

    async def send(self, message: ServerMessage) -> None:
        """Send; waits while the transport is congested. Cancelling it may leave the transport unusable: close it then.

        Raises:
            LinkClosed, LinkBroken: as for ``receive``.
        """
        ...

    async def aclose(self) -> None:
        """Close the transport. Idempotent; quick when cancelled."""
        ...
