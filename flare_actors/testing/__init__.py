"""For your own tests: a client in memory, agents from a script, providers that fail on demand, an echoing room.

    from flare_actors.testing import memory_link, scripted_agent

    client, link = memory_link()
    async with open_session(scripted_agent(answers=["Good morning."])) as session: ...

Everything here works on virtual time (``trio.testing.MockClock``). Imported by name: ``contracts`` (does my engine keep its
port's promises?), ``invariants``, ``simulation``, and with Hypothesis ``strategies`` and ``machines``.
"""

from flare_actors.testing.agents import scripted_agent
from flare_actors.testing.client import Playback, ScriptedClient
from flare_actors.testing.event_log import EventLog
from flare_actors.testing.faults import (
    Act,
    At,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
    VendorCrash,
)
from flare_actors.testing.link import MemoryClient, MemoryLink, memory_link
from flare_actors.testing.room import Room, speechlike

__all__ = [
    "Act",
    "At",
    "EventLog",
    "Fault",
    "FaultyLanguageModel",
    "FaultyRecognizer",
    "FaultySynthesizer",
    "FaultyVoiceActivity",
    "MemoryClient",
    "MemoryLink",
    "Playback",
    "Room",
    "ScriptedClient",
    "VendorCrash",
    "memory_link",
    "scripted_agent",
    "speechlike",
]
