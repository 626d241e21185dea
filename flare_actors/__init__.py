"""Realtime voice conversations on Trio.

    from flare_actors import Agent, run_session, open_session, serve

The rooms, from the bottom up (each may use what stands before it):

    errors, audio     faults named by whose fault it is; PCM16, levels, resampling
    garbage           Python's search for garbage, kept out of people's sentences
    conversation      pure: states, table, events, commands, settings, step
    ports             what a session needs from the world: engines, and a link to the client
    tools             Python functions that the model may call
    agent, observe    the engines and settings of one kind of conversation; hooks for logs and metrics
    actors            the imperative shell: one actor a file
    session           one nursery with all of one client's stay in it
    wire              codecs: protocols <-> values
    server            WebSocket and HTTP on one port
    providers         engines and vendors behind the ports; the scripted ones for tests and demos
    testing           links, scripts and faults for your own tests
    config, cli       agent.toml, `flare-actors serve`, `talk`, `models`, `diagram`
"""

from typing import TYPE_CHECKING

from flare_actors.actors.speech import HeardOfSpeech, Speech
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import BargeIn, Output, Reason, State, SttMode
from flare_actors.conversation.step import fold, step
from flare_actors.errors import (
    ClientError,
    ConfigError,
    FlareError,
    LinkBroken,
    LinkClosed,
    ProviderError,
    ProviderTimeout,
    SessionClosed,
    SessionError,
    ToolError,
    UnsupportedLocale,
)
from flare_actors.garbage import calm_garbage_collection
from flare_actors.observe import Observer
from flare_actors.ports import (
    AudioIn,
    AudioOut,
    ClientLink,
    HeardAudio,
    LanguageModel,
    LimitReached,
    Message,
    Phrase,
    Recognizer,
    SpeechAudio,
    Synthesizer,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolSpec,
    Transcript,
    Usage,
    VoiceActivity,
    VoiceDetector,
    WordTiming,
)
from flare_actors.session import Session, SessionStatistics, open_session, run_session
from flare_actors.tools import Tool, tool

if TYPE_CHECKING:
    from flare_actors.server.limits import ServerLimits
    from flare_actors.server.serve import Server, serve

__all__ = [
    "Agent",
    "AudioFormat",
    "AudioIn",
    "AudioOut",
    "BargeIn",
    "ClientError",
    "ClientLink",
    "ConfigError",
    "Conversation",
    "FlareError",
    "HeardAudio",
    "HeardOfSpeech",
    "LanguageModel",
    "LimitReached",
    "Limits",
    "LinkBroken",
    "LinkClosed",
    "Message",
    "Observer",
    "Output",
    "Phrase",
    "ProviderError",
    "ProviderTimeout",
    "Reason",
    "Recognizer",
    "Server",
    "ServerLimits",
    "Session",
    "SessionClosed",
    "SessionError",
    "SessionStatistics",
    "Settings",
    "Speech",
    "SpeechAudio",
    "State",
    "SttMode",
    "Synthesizer",
    "TextDelta",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolChoice",
    "ToolError",
    "ToolSpec",
    "Transcript",
    "UnsupportedLocale",
    "Usage",
    "VoiceActivity",
    "VoiceDetector",
    "WordTiming",
    "calm_garbage_collection",
    "fold",
    "open_session",
    "run_session",
    "serve",
    "step",
    "tool",
]

# The server's libraries are loaded when it is asked for, so that embedding a session stays light.
_LAZY = {
    "Server": "flare_actors.server.serve",
    "ServerLimits": "flare_actors.server.limits",
    "serve": "flare_actors.server.serve",
}


def __getattr__(name: str) -> object:
    """Load what is loaded on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
