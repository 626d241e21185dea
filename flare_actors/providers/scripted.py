"""Engines without a model: they hear, write and say what a script tells, with the timing that it tells.

For tests and demos. Virtual time works with them (they only use ``trio.sleep``), and they pass the same contract checks
as real engines.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, TypeAlias, Union

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE, bytes_to_seconds, level_db, seconds_to_bytes, split_frames
from flare_actors.conversation.states import SttMode
from flare_actors.ports import (
    HeardAudio,
    LimitReached,
    Locales,
    Message,
    ModelOutput,
    Phrase,
    SpeechAudio,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolSpec,
    Transcript,
    Usage,
    WordTiming,
)

__all__ = [
    "EnergyVoiceActivity",
    "Line",
    "ScriptedLanguageModel",
    "ScriptedRecognizer",
    "ScriptedSynthesizer",
    "split_tokens",
    "tone",
]


def tone(seconds: float, sample_rate: int = 16_000, *, hz: float = 220.0, level_db: float = -20.0) -> bytes:
    """A sine of ``seconds`` at ``hz`` as PCM16; ``level_db`` is its RMS relative to full scale."""
    import numpy as np

    count = seconds_to_bytes(seconds, sample_rate) // BYTES_PER_SAMPLE
    amplitude = 32768 * 10 ** (level_db / 20) * 2**0.5
    wave = amplitude * np.sin(2 * np.pi * hz * np.arange(count) / sample_rate)
    return bytes(np.clip(wave, -32768, 32767).astype("<i2").tobytes())


def split_tokens(text: str) -> list[str]:
    """A text in tokens as a model might give them: words with the space before them."""
    words = text.split(" ")
    return [word if i == 0 else f" {word}" for i, word in enumerate(words) if word or i]


@attrs.frozen(kw_only=True)
class EnergyVoiceActivity:
    """Loud is speech. Stateless, instant, and good enough for scripted audio."""

    threshold_db: float = -45.0
    """RMS from which a chunk counts as speech, in dBFS."""
    sample_rate: int = 16_000
    chunk_samples: int = 512

    async def open(self) -> EnergyVoiceActivity:
        """The detector; nothing needs loading."""
        await trio.lowlevel.checkpoint()
        return self

    def process(self, chunk: bytes) -> float:
        """1 for a loud chunk, 0 for a quiet one."""
        return 1.0 if level_db(chunk) >= self.threshold_db else 0.0

    def reset(self) -> None:
        """There is no past to forget."""


PAUSE_S: Final = 0.2
"""Silence in which a scripted recogniser that gives partials takes the utterance to be over."""


@attrs.define(kw_only=True)
class ScriptedRecognizer:
    """Understands each utterance as the next line of the script, whatever was said."""

    script: Sequence[str] = ()
    """One transcript per utterance; when it is used up, ``default``."""
    default: str = "hello"
    delay_s: float = 0.0
    """From the endpoint to the final transcript."""
    partials: bool = False
    """Give partial transcripts while the utterance is spoken: one word more with every ``word_s``, the last in a pause."""
    word_s: float = 0.3
    sample_rate: int = 16_000
    locales: Locales = None
    heard_s: list[float] = attrs.field(factory=list, init=False)
    """Seconds of audio of each utterance so far, for assertions."""
    open_streams: int = attrs.field(default=0, init=False)

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncIterator[AsyncIterator[Transcript]]:
        """See ``ports.Recognizer``."""
        del locale
        self.open_streams += 1
        try:
            await trio.lowlevel.checkpoint()
            async with aclosing(self._run(audio, streaming=mode is SttMode.STREAMING)) as transcripts:
                yield transcripts
        finally:
            self.open_streams -= 1

    async def _run(self, audio: AsyncIterator[HeardAudio], *, streaming: bool) -> AsyncGenerator[Transcript, None]:
        number, heard_s, told, pausing = -1, 0.0, 0, False
        words: list[str] = []
        async for piece in audio:
            if number < 0:
                number = len(self.heard_s)
                self.heard_s.append(0.0)
                words = (self.script[number] if number < len(self.script) else self.default).split(" ")
            heard_s += bytes_to_seconds(len(piece.pcm), self.sample_rate)
            pausing, paused = piece.silence_s >= PAUSE_S, pausing
            due = len(words) if pausing else min(len(words) - 1, 1 + int(heard_s / self.word_s))
            if self.partials and streaming and (due > told or (pausing and not paused)):
                told = due
                yield Transcript(text=" ".join(words[:told]), complete=pausing)
        if number >= 0:
            self.heard_s[number] = heard_s
        await trio.sleep(self.delay_s)
        yield Transcript(text=" ".join(words), final=True)


_ANSWER: Final = "You said something, and I heard it. This is the scripted answer."

Line: TypeAlias = Union[str, Sequence[Union[str, ToolCall, Usage]]]
"""An answer: a text, or texts, tool calls and what the request cost, in the order in which they come."""


@attrs.define(kw_only=True)
class ScriptedLanguageModel:
    """Answers with the next line of the script, token by token.

    With ``tool`` it behaves as a model that knows one tool: whenever that is offered and the user has spoken, it is called;
    its result is answered with ``tool_answer``. A line of the script may hold calls of its own (``ToolCall``), several, too.
    """

    script: Sequence[Line] | Callable[[Sequence[Message]], Line] = (_ANSWER,)
    """One answer per request (the last one repeats), or a function of the messages."""
    first_token_s: float = 0.0
    gap_s: float = 0.0
    tool: str | None = None
    """The tool to call where it is offered."""
    tool_arguments: str = "{}"
    """Its arguments: the JSON text of an object."""
    tool_answer: str = "The answer is: {result}"
    """What is said of its result."""
    requests: list[tuple[Message, ...]] = attrs.field(factory=list, init=False, repr=False)
    """What was asked so far, for assertions."""
    offers: list[tuple[str, ...]] = attrs.field(factory=list, init=False, repr=False)
    """The tools that were offered with each request: their names; none where they must not be called."""
    limits: list[int | None] = attrs.field(factory=list, init=False, repr=False)
    """How many tokens each answer might have."""
    open_streams: int = attrs.field(default=0, init=False)

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AsyncIterator[AsyncIterator[ModelOutput]]:
        """See ``ports.LanguageModel``."""
        del locale
        offered = () if tool_choice == "none" else tuple(each.name for each in tools)
        self.requests.append(tuple(messages))
        self.offers.append(offered)
        self.limits.append(max_tokens)
        line = self._line(messages, offered)
        self.open_streams += 1
        try:
            await trio.lowlevel.checkpoint()
            async with aclosing(self._run([line] if isinstance(line, str) else line, max_tokens)) as outputs:
                yield outputs
        finally:
            self.open_streams -= 1

    def _line(self, messages: Sequence[Message], offered: Sequence[str]) -> Line:
        if self.tool is not None and messages and messages[-1].role == "tool":
            return self.tool_answer.replace("{result}", messages[-1].content)
        if self.tool is not None and self.tool in offered:
            return [ToolCall(call=f"call{len(self.requests)}", name=self.tool, arguments=self.tool_arguments)]
        if callable(self.script):
            return self.script(messages)
        return self.script[min(len(self.requests), len(self.script)) - 1]

    async def _run(
        self, parts: Iterable[str | ToolCall | Usage], max_tokens: int | None
    ) -> AsyncGenerator[ModelOutput, None]:
        await trio.sleep(self.first_token_s)
        first, written = True, 0
        for part in parts:
            for token in split_tokens(part) if isinstance(part, str) else [part]:
                if not first and self.gap_s:
                    await trio.sleep(self.gap_s)
                first = False
                if isinstance(token, str) and (written := written + 1) > (max_tokens or written):
                    yield LimitReached()
                    return
                if isinstance(token, ToolCall):
                    yield ToolCallDelta(call=token.call, name=token.name, arguments=token.arguments)
                    yield token
                else:
                    yield TextDelta(text=token) if isinstance(token, str) else token


@attrs.define(kw_only=True)
class ScriptedSynthesizer:
    """Speaks every phrase as a tone, as long as it would take to say it."""

    chars_per_second: float = 15.0
    first_audio_s: float = 0.0
    """Before each phrase's first audio."""
    chunk_s: float = 0.1
    realtime_factor: float = 0.0
    """Seconds of work per second of audio."""
    sample_rate: int = 16_000
    level_db: float = -20.0
    tells_words: bool = False
    """Whether it tells when each word ends, as some services do."""
    sound: Callable[[float, int], bytes] | None = None
    """Makes so many seconds of PCM16 at a sample rate; None: a tone at ``level_db``."""
    locales: Locales = None
    phrases: list[str] = attrs.field(factory=list, init=False, repr=False)
    """What was to be spoken so far, for assertions."""
    open_streams: int = attrs.field(default=0, init=False)

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncIterator[AsyncIterator[SpeechAudio]]:
        """See ``ports.Synthesizer``."""
        del locale
        self.open_streams += 1
        try:
            await trio.lowlevel.checkpoint()
            async with aclosing(self._run(phrases)) as chunks:
                yield chunks
        finally:
            self.open_streams -= 1

    async def _run(self, phrases: AsyncIterator[Phrase]) -> AsyncGenerator[SpeechAudio, None]:
        async for phrase in phrases:
            self.phrases.append(phrase.text)
            await trio.sleep(self.first_audio_s)
            seconds = len(phrase.text.strip()) / self.chars_per_second
            if self.sound is None:
                pcm = tone(seconds, self.sample_rate, level_db=self.level_db)
            else:
                pcm = self.sound(seconds, self.sample_rate)
            words = self._words(phrase.text) if self.tells_words else ()
            for chunk in split_frames(pcm, seconds_to_bytes(self.chunk_s, self.sample_rate)):
                if self.realtime_factor:
                    await trio.sleep(bytes_to_seconds(len(chunk), self.sample_rate) * self.realtime_factor)
                yield SpeechAudio(phrase=phrase.index, pcm=chunk, words=words)
                words = ()

    def _words(self, text: str) -> tuple[WordTiming, ...]:
        ends = (match.end() for match in re.finditer(r"\S+", text))
        return tuple(WordTiming(chars=end, end_s=end / self.chars_per_second) for end in ends)
