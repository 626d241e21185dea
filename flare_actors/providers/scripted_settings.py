"""The scripted engines as ``agent.toml`` names them: ``use = "scripted"``, for tests and demos."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from flare_actors.errors import Stage
from flare_actors.providers.provider import Provider
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)

__all__ = [
    "HEARING",
    "SPEECH",
    "VOICE",
    "WRITING",
    "ScriptedAnswers",
    "ScriptedHearing",
    "ScriptedSpeech",
    "ScriptedVoice",
]


@attrs.frozen(kw_only=True)
class ScriptedVoice:
    """``use = "scripted"`` for the VAD: loud is speech."""

    threshold_db: float = attrs.field(default=-45.0, validator=attrs.validators.le(0))
    """RMS from which a chunk counts as speech, in dBFS."""


@attrs.frozen(kw_only=True)
class ScriptedHearing:
    """``use = "scripted"`` for STT: each utterance is the next line of a script."""

    script: tuple[str, ...] = attrs.field(default=(), repr=False)
    """One transcript per utterance, whichever session it comes from."""
    default: str = attrs.field(default="hello", repr=False)
    """When the script is used up."""
    delay_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """From the endpoint to the final transcript."""
    partials: bool = False
    """Also give a partial transcript."""


@attrs.frozen(kw_only=True)
class ScriptedAnswers:
    """``use = "scripted"`` for the LLM: each answer is the next line of a script."""

    script: tuple[str, ...] = attrs.field(
        default=("You said something, and I heard it. This is the scripted answer.",),
        repr=False,
        validator=attrs.validators.min_len(1),
    )
    """One answer per request; the last one repeats."""
    first_token_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    gap_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Between two tokens."""
    tool: str | None = None
    """A tool to call, by name, whenever it is offered and the user has spoken; none: none is called."""
    tool_arguments: str = attrs.field(default="{}", repr=False)
    """Its arguments: the JSON text of an object."""
    tool_answer: str = attrs.field(default="The answer is: {result}", repr=False)
    """What is said of its result, in place of a line of the script."""

    @tool_arguments.validator
    def _is_an_object(self, _: object, value: str) -> None:
        try:
            wrong = not isinstance(json.loads(value), dict)
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError('must be the JSON text of an object, e.g. \'{"city": "Berlin"}\'')


@attrs.frozen(kw_only=True)
class ScriptedSpeech:
    """``use = "scripted"`` for TTS: a tone as long as the words would take."""

    chars_per_second: float = attrs.field(default=15.0, validator=attrs.validators.gt(0))
    first_audio_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Before each phrase's first audio."""
    realtime_factor: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds of work per second of audio."""


def _scripted(stage: Stage, summary: str, settings: type, make: Callable[..., object]) -> Provider:
    """A provider whose settings are the arguments of what it makes."""

    @asynccontextmanager
    async def opened(given: attrs.AttrsInstance) -> AsyncGenerator[object]:
        await trio.lowlevel.checkpoint()
        yield make(**attrs.asdict(given, recurse=False))

    return Provider(
        stage=stage, name="scripted", summary=f"{summary}; for tests and demos", settings=settings, open=opened
    )


VOICE: Final = _scripted("vad", "loud is speech", ScriptedVoice, EnergyVoiceActivity)
HEARING: Final = _scripted("stt", "lines of a script", ScriptedHearing, ScriptedRecognizer)
WRITING: Final = _scripted("llm", "lines of a script", ScriptedAnswers, ScriptedLanguageModel)
SPEECH: Final = _scripted("tts", "a tone per phrase", ScriptedSpeech, ScriptedSynthesizer)
