"""An agent: what to say, by which engines, with which settings. A value; sessions share it."""

from __future__ import annotations

import attrs

from flare_actors.audio import import_libraries
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output
from flare_actors.errors import Stage, UnsupportedLocale
from flare_actors.ports import LanguageModel, Locales, Recognizer, Synthesizer, VoiceActivity, locale_supported
from flare_actors.tools import Tool, as_tools

__all__ = ["Agent"]


@attrs.frozen(kw_only=True)
class Agent:
    """Everything that the sessions of one kind of conversation have in common.

    Making the first one imports numpy and soxr (0.2 s): do it before you serve.
    """

    language_model: LanguageModel
    recognizer: Recognizer
    synthesizer: Synthesizer
    voice_activity: VoiceActivity
    tools: tuple[Tool | ToolSpec, ...] = attrs.field(default=(), converter=as_tools)
    """What the model may call: functions (see ``tools``), and specs of what the client carries out."""
    instructions: str = attrs.field(default="", repr=False)
    """The system message; empty: none is sent."""
    settings: Settings = Settings()
    """What a session starts with, where its client asks for nothing else."""

    def __attrs_post_init__(self) -> None:
        import_libraries()

    def check_locale(self, settings: Settings) -> None:
        """Refuse a locale that one of the engines does not know, before anybody waits for an answer.

        Raises:
            UnsupportedLocale: naming the engine and what it supports.
        """
        stages: list[tuple[Stage, object, Locales]] = [("stt", self.recognizer, self.recognizer.locales)]
        if settings.output is Output.AUDIO:
            stages.append(("tts", self.synthesizer, self.synthesizer.locales))
        for stage, provider, locales in stages:
            if locales is not None and not locale_supported(settings.locale, locales):
                raise UnsupportedLocale(stage, type(provider).__name__, settings.locale, tuple(locales))
