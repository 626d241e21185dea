"""Which providers there are, by the short names that ``agent.toml`` uses: ``[providers.llm] use = "openai"``.

A provider is a settings class and a way to open it: an async context manager that gives the loaded engine, shared by all
sessions, and closes it on leaving. The first name of each stage is the default: the embedded engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio

from flare_actors.errors import Stage
from flare_actors.ports import Locales
from flare_actors.providers import hibari, moonshine
from flare_actors.providers.catalog import HIBARI, MOONSHINE, SILERO, SMOLLM2, Weights
from flare_actors.providers.hibari import HibariSettings, open_hibari
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.moonshine import MoonshineSettings, open_moonshine
from flare_actors.providers.openai_chat import OpenAISettings, open_openai
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.providers.silero import SileroSettings, SileroVoiceActivity

__all__ = [
    "PROVIDERS",
    "Provider",
    "ScriptedAnswers",
    "ScriptedHearing",
    "ScriptedSpeech",
    "ScriptedVoice",
    "locales",
    "names",
    "open_provider",
    "provider",
    "settings_class",
]


@attrs.frozen(kw_only=True)
class Provider:
    """One way to serve a stage."""

    stage: Stage
    name: str
    """As ``use`` names it."""
    summary: str
    """For people, in a few words."""
    settings: type
    """The attrs class of its table in ``agent.toml``."""
    open: Callable[[Any], AbstractAsyncContextManager[object]]
    """Makes it from an instance of ``settings``."""
    weights: tuple[Weights, ...] = ()
    """What has to be here (``weights.ensure``) before it can be opened with its default settings."""

    locales: Locales = None
    """What it supports, where that can be told before it is loaded."""

    def needs(self, settings: object) -> tuple[Weights, ...]:
        """The weights that it needs with these settings."""
        return () if getattr(settings, "model", None) is not None and self.name == "local" else self.weights


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


@attrs.frozen(kw_only=True)
class ScriptedSpeech:
    """``use = "scripted"`` for TTS: a tone as long as the words would take."""

    chars_per_second: float = attrs.field(default=15.0, validator=attrs.validators.gt(0))
    first_audio_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Before each phrase's first audio."""
    realtime_factor: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    """Seconds of work per second of audio."""


@asynccontextmanager
async def _open_silero(settings: SileroSettings) -> AsyncGenerator[SileroVoiceActivity]:
    vad = SileroVoiceActivity(settings)
    await vad.open()  # loads the model now, not in the first conversation
    yield vad


def _scripted(make: Callable[..., object]) -> Callable[[attrs.AttrsInstance], AbstractAsyncContextManager[object]]:
    @asynccontextmanager
    async def opened(settings: attrs.AttrsInstance) -> AsyncGenerator[object]:
        await trio.lowlevel.checkpoint()
        yield make(**attrs.asdict(settings, recurse=False))

    return opened


_ALL: Final = (
    Provider(
        stage="vad",
        name="silero",
        summary="Silero VAD v6, in this process",
        settings=SileroSettings,
        open=_open_silero,
        weights=(SILERO,),
    ),
    Provider(
        stage="vad",
        name="scripted",
        summary="loud is speech; for tests and demos",
        settings=ScriptedVoice,
        open=_scripted(EnergyVoiceActivity),
    ),
    Provider(
        stage="stt",
        name="moonshine",
        summary="Moonshine tiny, English, in this process",
        settings=MoonshineSettings,
        open=open_moonshine,
        locales=moonshine.LOCALES,
        weights=(MOONSHINE,),
    ),
    Provider(
        stage="stt",
        name="scripted",
        summary="lines of a script; for tests and demos",
        settings=ScriptedHearing,
        open=_scripted(ScriptedRecognizer),
    ),
    Provider(
        stage="llm",
        name="local",
        summary="SmolLM2-135M, a demo brain, or any GGUF file, in this process",
        settings=LlamaSettings,
        open=open_llama_local,
        weights=(SMOLLM2,),
    ),
    Provider(
        stage="llm",
        name="openai",
        summary="any OpenAI-compatible API: Ollama, llama.cpp, vLLM, a cloud",
        settings=OpenAISettings,
        open=open_openai,
    ),
    Provider(
        stage="llm",
        name="scripted",
        summary="lines of a script; for tests and demos",
        settings=ScriptedAnswers,
        open=_scripted(ScriptedLanguageModel),
    ),
    Provider(
        stage="tts",
        name="hibari",
        summary="hibari, an American English voice, in this process",
        settings=HibariSettings,
        open=open_hibari,
        locales=hibari.LOCALES,
        weights=(HIBARI,),
    ),
    Provider(
        stage="tts",
        name="scripted",
        summary="a tone per phrase; for tests and demos",
        settings=ScriptedSpeech,
        open=_scripted(ScriptedSynthesizer),
    ),
)

PROVIDERS: Final[Mapping[tuple[Stage, str], Provider]] = MappingProxyType(
    {(each.stage, each.name): each for each in _ALL}
)
"""All of them; the first of a stage is its default."""


def provider(stage: Stage, name: str) -> Provider:
    """The provider of that name.

    Raises:
        KeyError: there is none.
    """
    return PROVIDERS[stage, name]


def names(stage: Stage) -> tuple[str, ...]:
    """The short names of a stage's providers; the first one is the default."""
    return tuple(name for of, name in PROVIDERS if of == stage)


def settings_class(stage: Stage, name: str) -> type | None:
    """The attrs class of a provider's settings; None: there is no such provider."""
    found = PROVIDERS.get((stage, name))
    return found.settings if found else None


def locales(stage: Stage, name: str) -> Locales:
    """What a provider supports, where that can be told before it is loaded; None: any, or nobody knows."""
    found = PROVIDERS.get((stage, name))
    return found.locales if found else None


def open_provider(stage: Stage, name: str, settings: object | None = None) -> AbstractAsyncContextManager[object]:
    """An async context manager that loads a provider and gives what implements the stage's port.

    Args:
        stage: which port.
        name: which provider.
        settings: an instance of its settings class; none: the defaults.

    Raises:
        KeyError: there is no such provider.
        ConfigError: on entering: its engine is not installed, its weights are not here, or a setting does not fit.
    """
    found = provider(stage, name)
    return found.open(found.settings() if settings is None else settings)
