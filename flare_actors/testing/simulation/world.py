"""The world of a simulated session: engines that cost nothing but virtual time, and speech in large pieces.

Sound is a constant: what it says does not matter, only how long it is and whether there is any. Silence is not sent but
where an endpoint needs it, so that idle hours cost nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs
import trio

from flare_actors.agent import Agent
from flare_actors.conversation.changes import changed, changes
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.errors import ToolError
from flare_actors.ports import ToolCall, ToolSpec
from flare_actors.providers.scripted import Line, ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.testing.faults import (
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
    VendorCrash,
)
from flare_actors.testing.simulation.script import Script
from flare_actors.tools import Tool, as_tools, tool

__all__ = ["ASKED", "CHARS_PER_S", "CHUNK_S", "RATE", "TIMEOUTS", "Engines", "make_agent"]

RATE: Final = 8_000
CHUNK_S: Final = 0.1
_CHUNK: Final = round(RATE * CHUNK_S)
_VOICE: Final = (3_200).to_bytes(2, "little", signed=True) * RATE

TIMEOUTS: Final = Timeouts(
    connect_s=2.0,
    stt_final_s=2.0,
    llm_first_s=2.0,
    llm_gap_s=2.0,
    tts_first_s=2.0,
    tts_gap_s=2.0,
    tool_s=3.0,
    backstop_s=20.0,
)
CHARS_PER_S: Final = 20.0
"""How fast the agent speaks."""
ASKED: Final = ToolSpec(name="ask", description="What only the client knows.")
"""The tool that the client offers."""
ANSWERS: Final[tuple[Line, ...]] = (
    "Yes. No.",
    "Well, I see.",
    "Ten. Nine. Eight. Seven. Six.",
    "Of course.",
    "😀",
    "",
    ("Let me see.", ToolCall(call="a", name="look"), ToolCall(call="b", name="act")),
    (ToolCall(call="a", name="crash"), ToolCall(call="b", name="hang")),
    (ToolCall(call="a", name="background"),),
    ("Wait.", ToolCall(call="a", name=ASKED.name), ToolCall(call="b", name=ASKED.name)),
)
TRANSCRIPTS: Final = ("one two", "", "mhm", "what is it", "yes, okay", "stop that now", "well, um")
"""Words, none, and what a listener says."""


@attrs.frozen
class _Voice:
    """Speech is what does not begin with silence."""

    sample_rate: int = RATE
    chunk_samples: int = _CHUNK

    async def open(self) -> _Voice:
        await trio.lowlevel.checkpoint()
        return self

    def process(self, chunk: bytes) -> float:
        return 1.0 if chunk[:2] != b"\0\0" else 0.0

    def reset(self) -> None:
        """There is no past to forget."""


@attrs.define
class Toolbox:
    """The tools of one session, and how many of them are running."""

    crashes: bool = True
    """One of them raises what nobody knows; else it says what is wrong."""
    running: int = 0

    async def _work(self, seconds: float) -> str:
        self.running += 1
        try:
            await trio.sleep(seconds)
        finally:
            self.running -= 1
        return "done"

    async def _crash(self) -> str:
        done = await self._work(0.1)
        raise VendorCrash(done) if self.crashes else ToolError(done)

    def tools(self) -> list[Tool]:
        """One of each kind."""
        return [
            tool(name="look", safe=True, timeout_s=10)(partial(self._work, 0.2)),
            tool(name="act", timeout_s=10, filler="One moment.", filler_after_s=0.5)(partial(self._work, 1.5)),
            tool(name="hang", timeout_s=2, safe=True)(partial(self._work, 1e6)),
            tool(name="crash")(self._crash),
            tool(name="background", detached=True, announced=True, timeout_s=60)(partial(self._work, 8.0)),
        ]


@attrs.frozen
class Engines:
    """One session's engines."""

    vad: FaultyVoiceActivity
    stt: FaultyRecognizer
    llm: FaultyLanguageModel
    tts: FaultySynthesizer
    tools: Toolbox

    @property
    def streams(self) -> int:
        """Streams asked for so far."""
        return self.stt.streams + self.llm.streams + self.tts.streams + self.vad.streams

    @property
    def open_streams(self) -> int:
        """Streams that are open."""
        return self.stt.open_streams + self.llm.open_streams + self.tts.open_streams

    def heal(self) -> None:
        """From here on nothing fails."""
        for engine in (self.vad, self.stt, self.llm, self.tts):
            engine.faults = []


def _sound(seconds: float, sample_rate: int) -> bytes:
    return (_VOICE * (int(seconds) + 1))[: 2 * int(seconds * sample_rate)]


def make_agent(script: Script) -> tuple[Agent, Engines]:
    """The agent of a script."""
    spread = script.seed * 1_000_003 + script.number
    stt = ScriptedRecognizer(
        script=[TRANSCRIPTS[(spread + index) % len(TRANSCRIPTS)] for index in range(50)],
        sample_rate=RATE,
        partials=True,
        delay_s=(spread % 3) * 0.1,
    )
    llm = ScriptedLanguageModel(
        script=[ANSWERS[(spread + index) % len(ANSWERS)] for index in range(50)], first_token_s=0.1, gap_s=0.01
    )
    tts = ScriptedSynthesizer(
        sample_rate=RATE, sound=_sound, first_audio_s=0.05, chunk_s=0.5, chars_per_second=CHARS_PER_S
    )
    engines = Engines(
        vad=FaultyVoiceActivity(inner=_Voice(), faults=script.faults.get("vad", ())),
        stt=FaultyRecognizer(inner=stt, faults=script.faults.get("stt", ())),
        llm=FaultyLanguageModel(inner=llm, faults=script.faults.get("llm", ())),
        tts=FaultySynthesizer(inner=tts, faults=script.faults.get("tts", ())),
        tools=Toolbox(crashes=any(fault is not None for faults in script.faults.values() for fault in faults)),
    )
    settings = Settings(
        timeouts=TIMEOUTS,
        # Faults come thick here, and shall not end what is to be looked at.
        limits=Limits(same_failures=1_000_000, history_items=20),
        idle_prompt_s=8.0,
        idle_end_s=60.0,
        session_idle_s=None,
        stt_retry_s=0.01,
        error_retry_s=0.2,
    )
    agent = Agent(
        voice_activity=engines.vad,
        recognizer=engines.stt,
        language_model=engines.llm,
        synthesizer=engines.tts,
        tools=as_tools(engines.tools.tools()),
        settings=changed(settings, changes(script.settings)),
    )
    return agent, engines
