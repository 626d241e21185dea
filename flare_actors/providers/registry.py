"""Which providers there are, by the short names that ``agent.toml`` uses: ``[providers.llm] use = "openai"``.

Nothing is imported until it is used: a name leads to a module, the module holds a ``Provider``. Installed packages add
theirs with an entry point (``provider.py``), in the very words of the table below.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, get_args

from flare_actors.errors import ConfigError, Stage
from flare_actors.ports import Locales
from flare_actors.providers.provider import Provider

__all__ = ["BUILT_IN", "GROUP", "Provider", "locales", "names", "open_provider", "provider", "settings_class"]

GROUP: Final = "flare_actors.providers"
"""The entry points' group."""
BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "vad.silero": "flare_actors.providers.silero:PROVIDER",
        "vad.smart_turn": "flare_actors.providers.smart_turn:PROVIDER",
        "vad.scripted": "flare_actors.providers.scripted_settings:VOICE",
        "stt.moonshine": "flare_actors.providers.moonshine:PROVIDER",
        "stt.openai": "flare_actors.providers.openai_transcription:PROVIDER",
        "stt.wyoming": "flare_actors.providers.wyoming:RECOGNIZER",
        "stt.deepgram": "flare_actors.providers.deepgram:PROVIDER",
        "stt.assemblyai": "flare_actors.providers.assemblyai:PROVIDER",
        "stt.scripted": "flare_actors.providers.scripted_settings:HEARING",
        "llm.local": "flare_actors.providers.llama_local:PROVIDER",
        "llm.openai": "flare_actors.providers.openai_chat:PROVIDER",
        "llm.anthropic": "flare_actors.providers.anthropic:PROVIDER",
        "llm.scripted": "flare_actors.providers.scripted_settings:WRITING",
        "tts.hibari": "flare_actors.providers.hibari:PROVIDER",
        "tts.openai": "flare_actors.providers.openai_speech:PROVIDER",
        "tts.wyoming": "flare_actors.providers.wyoming:SYNTHESIZER",
        "tts.elevenlabs": "flare_actors.providers.elevenlabs:PROVIDER",
        "tts.cartesia": "flare_actors.providers.cartesia:PROVIDER",
        "tts.scripted": "flare_actors.providers.scripted_settings:SPEECH",
    }
)
"""Where ours are; the first of a stage is its default, the embedded engine."""
_STAGES: Final = get_args(Stage)


@cache
def _declared() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Every entry point by its name, ours first. Reading what is installed takes 10 ms, once."""
    found = {name: [EntryPoint(name, value, GROUP)] for name, value in BUILT_IN.items()}
    for each in entry_points(group=GROUP):
        stage, _, name = each.name.partition(".")
        if stage in _STAGES and name:  # anything else could not be named in a file
            found.setdefault(each.name, []).append(each)
    return {name: tuple(several) for name, several in found.items()}


def _owner(point: EntryPoint) -> str:
    return "flare-actors" if point.dist is None else f"the package {point.dist.name}"


def provider(stage: Stage, name: str) -> Provider:
    """The provider of that name; imports its module.

    Raises:
        KeyError: there is none.
        ConfigError: two packages claim the name, or what a package has installed there is no such provider.
    """
    point, *others = _declared()[f"{stage}.{name}"]
    if others:
        owners = " and ".join(_owner(each) for each in (point, *others))
        raise ConfigError(f'[providers.{stage}] use = "{name}": {owners} both provide it; uninstall one of them')
    return _load(point, stage, name)


@cache
def _load(point: EntryPoint, stage: Stage, name: str) -> Provider:
    where = f'[providers.{stage}] use = "{name}" ({point.value}, of {_owner(point)})'
    try:
        found = point.load()
    except (ImportError, AttributeError) as fault:
        raise ConfigError(f"{where}: cannot be imported: {fault}; reinstall or update that package") from fault
    if not isinstance(found, Provider) or (found.stage, found.name) != (stage, name):
        raise ConfigError(f"{where}: is no Provider of that stage and name; tell the package's author")
    return found


def names(stage: Stage) -> tuple[str, ...]:
    """The short names of a stage's providers; the first one is the default."""
    return tuple(name for of, _, name in (each.partition(".") for each in _declared()) if of == stage)


def settings_class(stage: Stage, name: str) -> type | None:
    """The attrs class of a provider's settings; None: there is no such provider.

    Raises:
        ConfigError: as ``provider`` does.
    """
    return provider(stage, name).settings if f"{stage}.{name}" in _declared() else None


def locales(stage: Stage, name: str) -> Locales:
    """What a provider supports, where that can be told before it is loaded; None: any, or nobody knows."""
    return provider(stage, name).locales if f"{stage}.{name}" in _declared() else None


def open_provider(stage: Stage, name: str, settings: object | None = None) -> AbstractAsyncContextManager[object]:
    """An async context manager that loads a provider and gives what implements the stage's port.

    Args:
        stage: which port.
        name: which provider.
        settings: an instance of its settings class; none: the defaults.

    Raises:
        KeyError: there is no such provider.
        ConfigError: as ``provider`` does; on entering: its engine is not installed, its weights are not here, or a setting
            does not fit.
    """
    found = provider(stage, name)
    return found.open(found.settings() if settings is None else settings)
