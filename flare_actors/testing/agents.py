"""An agent in one line, for tests: scripted engines, each of which can be replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.ports import LanguageModel, Message, Recognizer, Synthesizer, VoiceActivity
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    Line,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.tools import Offer, as_tools

__all__ = ["scripted_agent"]


def scripted_agent(
    *,
    transcripts: Sequence[str] = (),
    tools: Iterable[Offer] = (),
    answers: Sequence[Line] | Callable[[Sequence[Message]], Line] = ("One two three. Four five six.",),
    settings: Settings | None = None,
    instructions: str = "",
    language_model: LanguageModel | None = None,
    recognizer: Recognizer | None = None,
    synthesizer: Synthesizer | None = None,
    voice_activity: VoiceActivity | None = None,
) -> Agent:
    """An agent that hears ``transcripts``, one an utterance, and gives ``answers``, one a question.

    Args:
        transcripts: what the user is understood to say; when they are used up, "hello".
        answers: what the model writes, and which tools it calls (the last one repeats), or a function of the messages.
        tools: what the model may call.
        settings: of the agent; default: the defaults.
        instructions: the system message.
        language_model: instead of one with ``answers``.
        recognizer: instead of one with ``transcripts``.
        synthesizer: instead of one that hums at the speed of speech.
        voice_activity: instead of one for which loud is speech.
    """
    return Agent(
        language_model=language_model or ScriptedLanguageModel(script=answers),
        recognizer=recognizer or ScriptedRecognizer(script=transcripts),
        synthesizer=synthesizer or ScriptedSynthesizer(),
        voice_activity=voice_activity or EnergyVoiceActivity(),
        tools=as_tools(tools),
        instructions=instructions,
        settings=settings or Settings(),
    )
