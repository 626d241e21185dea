"""A client that does what a test tells it: speaks, coughs, barges in, falls silent, goes away, comes back, tells lies.

    async with trio.open_nursery() as nursery, open_session(agent) as session:
        client = ScriptedClient(session, nursery)
        client.connect()
        session.start_conversation()
        await client.wait_listening()
        await client.say(0.8)
        await client.barge_in(0.5)

It works on virtual time. What it is sent goes to ``on_message``; what it sends is sound without words, so the agent's
recogniser should be one that does not listen to them (``ScriptedRecognizer``), its voice activity one that goes by loudness.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final

import trio

from flare_actors.audio import seconds_to_bytes
from flare_actors.conversation import events as ev
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, PlaybackResumed, TurnEnded
from flare_actors.conversation.states import State
from flare_actors.errors import LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.session import Session
from flare_actors.testing.link import MemoryClient, MemoryLink, memory_link

__all__ = ["Playback", "ScriptedClient"]

_LOUD: Final = (10_000).to_bytes(2, "little", signed=True)
"""-10 dBFS: 10 dB above a scripted agent's own voice."""
_POLL_S: Final = 0.02
_REPORT_S: Final = 0.3


class Playback(Enum):
    """What the client tells of what it has played."""

    HONEST = "honest"
    """How much, several times a second, as it promised."""
    NEVER = "never"
    """Nothing, and it never promised."""
    FORGOTTEN = "forgotten"
    """Nothing, although it promised."""


class _Link:
    """A link whose network can stand still on its way to the client."""

    def __init__(self, inner: MemoryLink) -> None:
        self._inner = inner
        self._flows = trio.Event()
        self._flows.set()
        self.input_format = inner.input_format
        self.output_format = inner.output_format
        self.realtime = inner.realtime
        self.reports_playback = inner.reports_playback
        self.pauses_playback = inner.pauses_playback

    def stand_still(self) -> None:
        self._flows = trio.Event()

    def go_on(self) -> None:
        self._flows.set()

    async def receive(self) -> ClientMessage:
        return await self._inner.receive()

    async def send(self, *messages: ServerMessage) -> None:
        await self._flows.wait()
        await self._inner.send(*messages)

    async def aclose(self) -> None:
        self._flows.set()
        await self._inner.aclose()


class ScriptedClient:
    """The client of one session, over as many links as it takes. Every method that sends waits while nobody reads.

    Args:
        session: whose client it is.
        nursery: where its links are served; it must be left after the session's.
        playback: what it tells of what it has played.
        on_message: told of everything that the client is sent, over whichever link.
        rate: Hz of both directions.
        chunk_s: how much sound is sent at a time, in seconds.
        endpoint_s: silence after what is said, in seconds: more than the session's endpoint.
        pauses: it can stand still amid what it plays; else it plays on what it has.
        wait_step: waits until the session has taken a step (an observer can tell); default: it is looked at often.

    All methods but ``connect`` raise LinkClosed when the session has closed the link.

    Cancellation: at any wait; what is being said ends there, in the middle of a word if need be, and the link stays as it is.
    """

    def __init__(
        self,
        session: Session,
        nursery: trio.Nursery,
        *,
        playback: Playback = Playback.NEVER,
        on_message: Callable[[ServerMessage], None] = lambda _message: None,
        rate: int = 16_000,
        chunk_s: float = 0.1,
        endpoint_s: float = 0.6,
        pauses: bool = True,
        wait_step: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.session = session
        self.links = 0
        """Links so far."""
        self._nursery = nursery
        self._playback = playback
        self._on_message = on_message
        self._rate = rate
        self._chunk_s = chunk_s
        self._endpoint_s = endpoint_s
        self._pauses = pauses
        self._wait_step = wait_step or self._poll
        size = seconds_to_bytes(chunk_s, rate)
        self._loud, self._silent = _LOUD * (size // 2), bytes(size)
        self._client: MemoryClient | None = None
        self._link: _Link | None = None
        self._got: dict[int, int] = {}
        """Bytes by turn."""
        self._still: tuple[int, float] | None = None
        """The turn in which it stands still, and since when."""
        self._stood_s: dict[int, float] = {}
        """How long it has stood still in each turn, in all."""
        self._over: set[int] = set()
        """Turns that have ended or were cleared."""

    # --- The link ---------------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """There is a link, and it is open."""
        return self._client is not None and not self._client.closed

    def connect(self) -> None:
        """Attach a new link, in place of the old one if there is one."""
        promises = self._playback is not Playback.NEVER
        client, link = memory_link(
            input_rate=self._rate, output_rate=self._rate, reports_playback=promises, pauses_playback=self._pauses
        )
        client.listeners.append(lambda message: self._note(client, message))
        self._client = client
        self.links += 1
        self._link = _Link(link)
        self._nursery.start_soon(client.run, name="client")
        self._nursery.start_soon(self.session.attach, self._link, name="attach")

    def disconnect(self) -> None:
        """Go away without a word."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def reconnect(self, after_s: float = 0.1) -> None:
        """Go away, and come back if the session still lives."""
        self.disconnect()
        await trio.sleep(after_s)
        if self.session.ended is None:
            self.connect()

    async def send(self, message: ClientMessage) -> None:
        """Send one message, if there is a link."""
        if self._client is not None:
            await self._client.send(message)

    def _note(self, client: MemoryClient, message: ServerMessage) -> None:
        client.received.clear()
        self._on_message(message)
        match message:
            case AudioOut(turn=turn, pcm=pcm):
                if turn not in self._got and self._playback is Playback.HONEST:
                    self._nursery.start_soon(self._report, client, turn, name="report")
                self._got[turn] = self._got.get(turn, 0) + len(pcm)
            case PlaybackPaused(turn=turn) if self._pauses:
                self._still = (turn, trio.current_time())
            case PlaybackResumed(turn=turn) if self._pauses:
                self._stood_s[turn] = self._stood(turn)
                self._still = None
            case PlaybackCleared(turn=turn) | TurnEnded(turn=turn):
                self._still = None if self._still is not None and self._still[0] == turn else self._still
                self._over.add(turn)
            case _:
                pass

    def _stood(self, turn: int) -> float:
        """How long it has stood still in that turn until now."""
        still = trio.current_time() - self._still[1] if self._still is not None and self._still[0] == turn else 0.0
        return self._stood_s.get(turn, 0.0) + still

    async def _report(self, client: MemoryClient, turn: int) -> None:
        begun = trio.current_time()
        told = -1.0
        try:
            while not client.closed and turn not in self._over:
                await trio.sleep(_REPORT_S)
                played = min(self._got[turn] / (2 * self._rate), trio.current_time() - begun - self._stood(turn))
                if played > told:
                    told = played
                    await client.send(ev.PlaybackProgressed(turn=turn, played_s=played))
        except LinkClosed:
            pass

    # --- What it does -----------------------------------------------------------------------------------------------------

    async def speak(self, seconds: float) -> None:
        """Make sound for so long."""
        await self._sound(self._loud, seconds)

    async def be_silent(self, seconds: float) -> None:
        """Send silence for so long."""
        await self._sound(self._silent, seconds)

    async def _sound(self, chunk: bytes, seconds: float) -> None:
        for _ in range(max(1, round(seconds / self._chunk_s))):
            await self.send(AudioIn(chunk))
            await trio.sleep(self._chunk_s)

    async def say(self, seconds: float) -> None:
        """Speak, and be silent until the utterance is over."""
        await self.speak(seconds)
        await self.be_silent(self._endpoint_s)

    async def push_to_talk(self, seconds: float) -> None:
        """Hold the button, speak, and let go: a commit ends the utterance, and no silence is sent."""
        await self.speak(seconds)
        await self.send(ev.CommitRequested())

    async def cough(self) -> None:
        """A noise too short to be speech."""
        await self.say(self._chunk_s)

    async def hesitate(self) -> None:
        """Begin, stop for less than an endpoint, and go on."""
        await self.speak(0.5)
        await self.be_silent(0.3)
        await self.say(0.5)

    async def barge_in(self, seconds: float, *, patience_s: float = 3.0) -> None:
        """Speak as soon as the agent speaks, or after ``patience_s``."""
        await self.wait_until(lambda c: c.turn is not None and c.turn.playing, patience_s)
        await self.say(seconds)

    async def say_in_a_stall(self, seconds: float, *, patience_s: float = 3.0) -> None:
        """Barge in while the network to the client stands still."""
        await self.wait_until(lambda c: c.turn is not None and c.turn.playing, patience_s)
        link = self._link
        if link is None:
            return
        link.stand_still()
        try:
            await self.say(seconds)
        finally:
            link.go_on()

    async def talk_nonsense(self, dice: float = 0.7) -> None:
        """Report what cannot be: of turns that never were, more than there is; ask for what cannot be asked.

        Args:
            dice: from 0 to 1: which nonsense.
        """
        turn = round(dice * 10) + self.session.conversation.turns - 5
        await self.send(ev.PlaybackProgressed(turn=turn, played_s=1e6 * dice - 1e5))
        await self.send(ev.PlaybackCompleted(turn=turn if dice > 0.5 else None))
        await self.send(ev.TextReceived(text=""))
        await self.send(ev.ConversationStartRequested())

    # --- What it waits for ------------------------------------------------------------------------------------------------

    async def wait_listening(self, patience_s: float = 20.0) -> None:
        """Wait until the agent listens and owes nothing, or ``patience_s`` are over."""
        await self.wait_until(lambda c: c.state is State.LISTENING and c.turn is None and not c.awaited, patience_s)

    async def wait_until(self, until: Callable[[Conversation], object], patience_s: float) -> None:
        """Wait for something that need not come: at most ``patience_s`` seconds, and not beyond the session's end."""
        with trio.move_on_after(patience_s):
            while self.session.ended is None and not until(self.session.conversation):
                await self._wait_step()

    async def _poll(self) -> None:
        await trio.sleep(_POLL_S)
