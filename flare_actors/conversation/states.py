"""The vocabulary of a conversation: the agent's ten states, the user's floor, and why things stop."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "BargeIn",
    "Endpointing",
    "Floor",
    "Input",
    "Mute",
    "Output",
    "Reason",
    "State",
    "SttMode",
    "TurnDetection",
    "TurnKind",
    "Wait",
]


class _Name(Enum):
    """An enumeration whose members are quickly looked up: each is one object, so its identity is its hash.

    (``Enum`` hashes the member's name, in Python: half a microsecond for each of a dozen look-ups in a step.)
    """

    __hash__ = object.__hash__


class State(_Name):
    """What the agent is doing. The values are part of the wire protocol."""

    IDLE = "idle"
    INITIALIZING = "initializing"
    PREPARING_WELCOME = "preparing_welcome"
    PLAYING_WELCOME = "playing_welcome"
    LISTENING = "listening"
    PROCESSING_SPEECH = "processing_speech"
    PREPARING_RESPONSE = "preparing_response"
    PLAYING_RESPONSE = "playing_response"
    ERROR = "error"
    ENDED = "ended"


class Floor(_Name):
    """What the user is doing, as far as the ear can tell. A second region beside the agent's state."""

    SILENT = "silent"
    SPEAKING = "speaking"


class Reason(_Name):
    """Why a turn, a conversation or a session stopped. It reaches the client, the log and the cancelled scope."""

    CONVERSATION_ENDED = "conversation_ended"
    SESSION_ENDED = "session_ended"
    CLIENT_DISCONNECTED = "client_disconnected"
    TRANSPORT_ERROR = "transport_error"
    BARGE_IN = "barge_in"
    ERROR_RECOVERY = "error_recovery"
    CRITICAL_ERROR = "critical_error"
    IDLE = "idle"
    SHUTDOWN = "shutdown"
    OVERLOADED = "overloaded"
    TIME_LIMIT = "time_limit"
    SETTINGS = "settings"


class TurnKind(_Name):
    """What caused a turn."""

    WELCOME = "welcome"
    RESPONSE = "response"
    SAY = "say"
    APOLOGY = "apology"
    IDLE_PROMPT = "idle_prompt"


class BargeIn(_Name):
    """May the user interrupt? ``GUARDED`` discounts what the agent itself plays; ``LATER``, too, and words over it wait.

    With ``OFF`` such words are lost.
    """

    FULL = "full"
    GUARDED = "guarded"
    LATER = "later"
    OFF = "off"

    @property
    def interrupts(self) -> bool:
        """The user's words stop the agent."""
        return self in {BargeIn.FULL, BargeIn.GUARDED}

    @property
    def guards(self) -> bool:
        """What the agent itself is playing is discounted."""
        return self in {BargeIn.GUARDED, BargeIn.LATER}


class Endpointing(_Name):
    """How long a silence ends an utterance: always the same, or as long as its words and the speaker's habits suggest."""

    FIXED = "fixed"
    ADAPTIVE = "adaptive"


class SttMode(_Name):
    """``STREAMING`` asks for partial transcripts where the recogniser has them; ``BATCH`` only for final ones."""

    STREAMING = "streaming"
    BATCH = "batch"


class Output(_Name):
    """What the client takes: spoken answers (with their text), or text only."""

    AUDIO = "audio"
    TEXT = "text"


class Input(_Name):
    """What the user may do: speak and type, or type only (no audio is heard)."""

    AUDIO = "audio"
    TEXT = "text"


class TurnDetection(_Name):
    """Who says that the user has finished: silence does, or only a commit (push-to-talk)."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Mute(_Name):
    """While what the user is not heard, whatever the client's own mute button says."""

    NEVER = "never"
    WELCOME = "welcome"
    """While the welcome is prepared and spoken."""
    SPEAKING = "speaking"
    """While the agent speaks."""
    TOOLS = "tools"
    """While the agent carries out tools for an answer; those in the background do not count."""
    ALWAYS = "always"


class Wait(_Name):
    """What a deadline stands for: each is one field of ``Deadlines``, in the order in which ties are resolved."""

    SESSION_IDLE = "session_idle"
    LIFETIME = "lifetime"
    GRACE = "grace"
    DRAIN = "drain"
    INITIALIZE = "initialize"
    SETTLE = "settle"
    UTTERANCE = "utterance"
    COMMIT = "commit"
    INTERRUPTION = "interruption"
    TRANSCRIPT = "transcript"
    GENERATION = "generation"
    PLAYBACK = "playback"
    STT_RETRY = "stt_retry"
    RECOVERY = "recovery"
    IDLE = "idle"
