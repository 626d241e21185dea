"""Plays one script against a real session on virtual time, and holds it against its promises all the while."""

from __future__ import annotations

from typing import Any, Final

import trio
import trio.testing

from flare_actors.conversation import events as ev
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.states import State
from flare_actors.conversation.step import fold
from flare_actors.errors import LinkClosed, SessionError
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.session import Session, open_session
from flare_actors.testing.faults import Act
from flare_actors.testing.link import MemoryClient, MemoryLink, memory_link
from flare_actors.testing.simulation.script import Move, Script
from flare_actors.testing.simulation.watch import Ledger, Outcome, Violation, Watch
from flare_actors.testing.simulation.world import CHUNK_S, LOUD, RATE, SILENT, Engines, make_agent

__all__ = ["play"]

REST_S: Final = 150.0
"""Healthy engines and a co-operating client bring any session to LISTENING within this: stage timeouts, the longest back-off
(30 s) and every unfinished turn included."""
_PATIENCE_S: Final = 20.0


class _Link:
    """A link whose network can stand still on its way to the client."""

    def __init__(self, inner: MemoryLink) -> None:
        self._inner = inner
        self._flows = trio.Event()
        self._flows.set()

    input_format = property(lambda self: self._inner.input_format)
    output_format = property(lambda self: self._inner.output_format)
    realtime = property(lambda self: self._inner.realtime)
    reports_playback = property(lambda self: self._inner.reports_playback)

    def stand_still(self) -> None:
        self._flows = trio.Event()

    def go_on(self) -> None:
        self._flows.set()

    async def receive(self) -> ClientMessage:
        return await self._inner.receive()

    async def send(self, message: ServerMessage) -> None:
        await self._flows.wait()
        await self._inner.send(message)

    async def aclose(self) -> None:
        self._flows.set()
        await self._inner.aclose()


class Player:
    """The client of a script, over as many links as it takes."""

    def __init__(
        self,
        script: Script,
        session: Session,
        engines: Engines,
        *,
        nursery: trio.Nursery,
        ledger: Ledger,
        watch: Watch,
    ) -> None:
        self._script = script
        self._session = session
        self._engines = engines
        self._nursery = nursery
        self._ledger = ledger
        self._watch = watch
        self._client: MemoryClient | None = None
        self._links = 0
        self._link: _Link | None = None
        self._played: dict[int, float] = {}

    # --- The link ---------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Attach a new link, in place of the old one if there is one."""
        honest = self._script.client == "honest"
        client, link = memory_link(input_rate=RATE, output_rate=RATE, reports_playback=honest)
        client.listeners.append(self._ledger.note)
        client.listeners.append(lambda _: client.received.clear())
        if honest:
            client.listeners.append(lambda message: self._listen(client, message))
        self._client = client
        self._links += 1
        self._link = _Link(link)
        self._nursery.start_soon(client.run, name="client")
        self._nursery.start_soon(self._session.attach, self._link, name="attach")

    @property
    def one_link(self) -> bool:
        """All that the client was told came over one link, which is open."""
        return self._links == 1 and self._client is not None and not self._client.closed

    async def disconnect(self) -> None:
        """Go away without a word, and see that the session notices."""
        if self._client is None:
            return
        self._client.close()
        self._client = None
        await trio.sleep(0.05)
        conversation = self._session.conversation
        if self._session.ended is None and (conversation.attached or conversation.turn is not None):
            raise Violation("the client has gone, and the session has not noticed")

    def _listen(self, client: MemoryClient, message: ServerMessage) -> None:
        """An honest client tells what it has played, turn by turn."""
        if isinstance(message, AudioOut) and message.turn not in self._played:
            self._played[message.turn] = trio.current_time()
            self._nursery.start_soon(self._report, client, message.turn, name="report")

    async def _report(self, client: MemoryClient, turn: int) -> None:
        begun = trio.current_time()
        told = -1.0
        try:
            while not client.closed and turn not in self._ledger.cleared | self._ledger.ended:
                await trio.sleep(0.3)
                got = self._ledger.seconds[turn] / (2 * RATE)
                played = min(got, trio.current_time() - begun)
                if played > told:
                    told = played
                    await client.send(ev.PlaybackProgressed(turn=turn, played_s=played))
        except LinkClosed:
            pass

    async def _send(self, message: ClientMessage) -> None:
        if self._client is not None:
            await self._client.send(message)

    # --- Moves ------------------------------------------------------------------------------------------------------------

    async def play(self, moves: tuple[Move, ...]) -> None:
        """Do what the script says, for as long as the session lives."""
        for move in moves:
            await trio.sleep(move.after)
            if self._session.ended is not None:
                return
            try:
                await self._move(move)
            except (LinkClosed, SessionError):
                if self._session.ended is None:
                    await trio.sleep(0.05)
                    self.connect()

    async def _move(self, move: Move) -> None:  # noqa: C901, PLR0912 - one arm a move
        match move.kind:
            case "speak" | "cough":
                await self._rest()
                await self._say(move.amount)
            case "barge":
                await self._wait(lambda c: c.turn is not None and c.turn.playing, 3.0)
                await self._say(move.amount)
            case "hesitate":
                await self._rest()
                await self._speak(0.5)
                await self._silence(0.3)
                await self._say(0.5)
            case "text":
                await self._rest()
                await self._send(ev.TextReceived(text="typed words"))
            case "commit":
                await self._speak(0.5)
                await self._send(ev.CommitRequested())
            case "interrupt":
                await self._wait(lambda c: c.turn is not None, 2.0)
                await self._send(ev.InterruptRequested())
            case "say":
                self._session.say("Said by the embedder.")
            case "mute":
                await self._send(ev.MuteRequested(muted=True))
                await self._say(0.5)
                await self._send(ev.MuteRequested(muted=False))
            case "nonsense":
                await self._nonsense(move.amount)
            case "reconnect":
                await self.disconnect()
                await trio.sleep(move.amount)
                if self._session.ended is None:
                    self.connect()
            case "stall":
                await self._stall(move.amount)
            case "restart":
                await self._send(ev.ConversationEndRequested())
                await self._send(ev.ConversationStartRequested())
            case "wait":
                await trio.sleep(move.amount)
            case _:
                raise ValueError(f"no such move: {move.kind}")
        if self._session.conversation.state is State.IDLE:
            await self._send(ev.ConversationStartRequested())

    async def _speak(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / CHUNK_S))):
            await self._send(AudioIn(LOUD))
            await trio.sleep(CHUNK_S)

    async def _silence(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / CHUNK_S))):
            await self._send(AudioIn(SILENT))
            await trio.sleep(CHUNK_S)

    async def _say(self, seconds: float) -> None:
        await self._speak(seconds)
        await self._silence(0.6)

    async def _nonsense(self, dice: float) -> None:
        """A client whose reports are lies, of turns that never were and of more than there is."""
        turn = round(dice * 10) + self._session.conversation.turns - 5
        await self._send(ev.PlaybackProgressed(turn=turn, played_s=1e6 * dice - 1e5))
        await self._send(ev.PlaybackCompleted(turn=turn if dice > 0.5 else None))
        await self._send(ev.TextReceived(text=""))
        await self._send(ev.ConversationStartRequested())

    async def _stall(self, seconds: float) -> None:
        """The network stands still while the agent speaks, and the user interrupts."""
        await self._wait(lambda c: c.turn is not None and c.turn.playing, 3.0)
        link = self._link
        assert link is not None
        link.stand_still()
        try:
            await self._say(seconds)
        finally:
            link.go_on()

    async def _rest(self) -> None:
        await self._wait(lambda c: c.state is State.LISTENING and c.turn is None and not c.awaited, _PATIENCE_S)

    async def _wait(self, until: Any, patience_s: float) -> None:  # noqa: ANN401 - a predicate of a conversation
        """Wait for something that need not come."""
        with trio.move_on_after(patience_s):
            while self._session.ended is None and not until(self._session.conversation):
                await self._watch.wait_step()

    # --- The proof --------------------------------------------------------------------------------------------------------

    async def is_served(self, *, stubborn: bool) -> bool:
        """With healthy engines and a client that co-operates, the session comes to rest and answers; False: it is stuck."""
        self._engines.heal()
        if self._client is not None:
            self._client.close()
            await trio.sleep(0.05)
        self.connect()
        await self._send(ev.MuteRequested(muted=False))
        with trio.move_on_after(REST_S) as scope:
            while self._session.ended is None:
                c = self._session.conversation
                if c.state is State.IDLE:
                    await self._send(ev.ConversationStartRequested())
                    await trio.sleep(0.1)
                elif c.state is State.LISTENING and not (c.turn or c.awaited or c.answer_due or c.says):
                    break
                else:
                    await trio.sleep(0.1)
        if scope.cancelled_caught:
            return False
        if self._session.ended is None and not stubborn and self._session.statistics().replies_running > 1:
            raise Violation(f"{self._session.statistics().replies_running} replies run in a session at rest")
        return True


async def _session(script: Script, outcome: Outcome, keep: int | None) -> None:
    agent, engines = make_agent(script)
    stubborn = any(fault is not None and fault.act is Act.STUBBORN for plan in script.faults.values() for fault in plan)
    # A fault that only delays may delay beyond any stage's own timeout, at the stream's close.
    slow = stubborn or any(
        fault is not None and fault.act is Act.SLOW for plan in script.faults.values() for fault in plan
    )
    watch = Watch(outcome, keep, stubborn=slow, reports=script.client != "silent" or _has(script, "nonsense"))
    wrong: list[str] = []
    ledger = Ledger(outcome, wrong)
    session: Session | None = None
    try:
        async with trio.open_nursery() as nursery:
            async with open_session(agent, session_id=f"simulated-{script.number:012}", observers=[watch]) as session:
                player = Player(script, session, engines, nursery=nursery, ledger=ledger, watch=watch)
                player.connect()
                await trio.sleep(0.01)
                session.start_conversation()
                await player.play(script.moves)
                await trio.sleep(0.01)
                if player.one_link and (ledger.started, ledger.ended) != (watch.begun, watch.over):
                    raise Violation("the client was not told of every turn's begin and end")
                if session.ended is None and not await player.is_served(stubborn=stubborn):
                    outcome.stuck = True
                    raise Violation(f"stuck in {session.conversation.state.value}")
                session.end()
                with trio.fail_after(REST_S):
                    await session.wait_ended()
            with trio.fail_after(REST_S):
                while nursery.child_tasks:  # noqa: ASYNC110 - nobody tells when a nursery has become empty
                    await trio.sleep(0.05)
    except trio.TooSlowError:
        raise Violation("the session was closed, and something of it did not end") from None
    finally:
        watch.finish()
    if wrong:
        raise Violation(wrong[0])
    if engines.open_streams:
        raise Violation(f"{engines.open_streams} streams of providers were left open")
    if watch.begun != watch.over:
        raise Violation(f"turns {sorted(watch.begun - watch.over)} never ended")
    again = fold(Conversation(settings=agent.settings), watch.events)
    if again != session.conversation:
        raise Violation("its events do not give the conversation again")


def _has(script: Script, kind: str) -> bool:
    return any(move.kind == kind for move in script.moves)


def play(script: Script, *, keep: int | None = 200) -> Outcome:
    """Play a script in a Trio run of its own, deterministically.

    Args:
        script: what happens.
        keep: how many of its last events to keep in the outcome; None: all.
    """
    outcome = Outcome(number=script.number)
    clock = trio.testing.MockClock(autojump_threshold=0)

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        try:
            await _session(script, outcome, keep)
        finally:
            outcome.virtual_seconds = trio.current_time()
            outcome.leaked_tasks = max(0, trio.lowlevel.current_statistics().tasks_living - before)
        if outcome.leaked_tasks:
            raise Violation(f"{outcome.leaked_tasks} tasks were left behind")

    # What Trio's own Hypothesis integration does: the order in which tasks run depends on this alone.
    run: Any = trio._core._run
    allowed, state = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(f"{script.seed} {script.number}")
    try:
        trio.run(main, clock=clock)
    except* Exception as errors:  # noqa: BLE001 - whatever comes out of a session is what was looked for
        outcome.violation = "; ".join(dict.fromkeys(_tell(error) for error in _leaves(errors)))
    finally:
        run._r.setstate(state)
        run._ALLOW_DETERMINISTIC_SCHEDULING = allowed
    return outcome


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _tell(error: BaseException) -> str:
    name = type(error).__name__
    return str(error) if isinstance(error, Violation) else f"{name}: {error}"
