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

from flare_actors.conversation.calls import ToolCall, ToolChoice, ToolSpec
from flare_actors.ports._client import AudioIn, AudioOut, ClientLink, ClientMessage, ServerMessage
from flare_actors.ports._hearing import (
    BatchVoiceActivity,
    HeardAudio,
    Recognizer,
    Transcript,
    TurnEndEstimator,
    VoiceActivity,
    VoiceDetector,
    estimates_turn_end,
    hears_many,
)
from flare_actors.ports._locales import ALL_LOCALES, Locales, locale_supported
from flare_actors.ports._speaking import Phrase, SpeechAudio, Synthesizer, WordTiming
from flare_actors.ports._thinking import (
    LanguageModel,
    LimitReached,
    Message,
    ModelOptions,
    ModelOutput,
    TextDelta,
    ToolCallDelta,
    Usage,
    takes_max_tokens,
    takes_tools,
)

__all__ = [
    "ALL_LOCALES",
    "AudioIn",
    "AudioOut",
    "BatchVoiceActivity",
    "ClientLink",
    "ClientMessage",
    "HeardAudio",
    "LanguageModel",
    "LimitReached",
    "Locales",
    "Message",
    "ModelOptions",
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
    "estimates_turn_end",
    "hears_many",
    "locale_supported",
    "takes_max_tokens",
    "takes_tools",
]
