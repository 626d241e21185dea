"""Plays one script against a real session on virtual time, and holds it against its promises all the while."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio
import trio.testing

from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import Change
from flare_actors.conversation.items import Instructed, UserSaid
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ToolCallRequested
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Input, Output, State, TurnDetection
from flare_actors.conversation.step import fold
from flare_actors.errors import LinkClosed, SessionError
from flare_actors.ports import ClientMessage, ServerMessage
from flare_actors.session import Session, open_session
from flare_actors.testing.client import Playback, ScriptedClient
from flare_actors.testing.faults import Act
from flare_actors.testing.simulation.schedule import scheduled
from flare_actors.testing.simulation.script import CHANGES, Move, Script
from flare_actors.testing.simulation.watch import Ledger, Outcome, Violation, Watch
from flare_actors.testing.simulation.world import ASKED, CHUNK_S, RATE, TIMEOUTS, Engines, make_agent

__all__ = ["play"]

REST_S: Final = 150.0
"""Healthy engines and a co-operating client bring any session to LISTENING within this: stage timeouts, the longest back-off
(30 s) and every unfinished turn included."""


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
        self.client = ScriptedClient(
            session,
            nursery,
            playback=Playback.HONEST if script.client == "honest" else Playback.NEVER,
            on_message=self._note,
            rate=RATE,
            chunk_s=CHUNK_S,
            pauses=script.pauses,
            wait_step=watch.wait_step,
        )

    @property
    def one_link(self) -> bool:
        """All that the client was told came over one link, which is open."""
        return self.client.links == 1 and self.client.connected

    @property
    def _settings(self) -> Settings:
        return self._session.conversation.settings

    async def start(self) -> None:
        """Join, and begin to talk."""
        self.client.connect()
        await trio.sleep(0.01)
        self._session.start_conversation()
        await self.client.send(ev.ToolsOffered(tools=(ASKED,)))

    def _note(self, message: ServerMessage) -> None:
        self._ledger.note(message)
        if isinstance(message, ToolCallRequested):
            self._nursery.start_soon(self._carry_out, message, name="client's tool")

    async def _carry_out(self, asked: ToolCallRequested) -> None:
        """At once, too late, twice, or never."""
        how = (asked.turn + self._script.number) % 4
        if how == 3:
            return
        await trio.sleep(TIMEOUTS.tool_s + 1.0 if how == 1 else 0.1)
        with suppress(LinkClosed):
            for _ in range(how or 1):
                await self.client.send(ev.ToolResultReceived(call=asked.call, output="done"))

    async def disconnect(self) -> None:
        """Go away without a word, and see that the session notices."""
        self.client.disconnect()
        await trio.sleep(0.05)
        conversation = self._session.conversation
        if self._session.ended is None and (conversation.attached or conversation.turn is not None):
            raise Violation("the client has gone, and the session has not noticed")

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
                    self.client.connect()

    async def _move(self, move: Move) -> None:  # noqa: C901, PLR0912 - one arm a move
        client = self.client
        match move.kind:
            case "speak" | "cough":
                await client.wait_listening()
                await self._say(move.amount)
                await self._ask()
            case "barge" | "noise":
                await client.wait_until(lambda c: c.turn is not None and c.turn.playing, 3.0)
                await self._say(move.amount)
            case "hesitate":
                await client.wait_listening()
                await client.hesitate()
            case "text":
                if move.amount < 0.7:
                    await client.wait_listening()
                await client.send(ev.TextReceived(text="typed words"))
                await self._ask()
            case "commit":
                await client.push_to_talk(0.5)
            case "interrupt" if move.amount < 0.5:
                self._session.interrupt()  # There may be nothing to interrupt.
            case "interrupt":
                await client.wait_until(lambda c: c.turn is not None, 2.0)
                await client.send(ev.InterruptRequested())
            case "say":
                self._session.say("Said by the embedder.", interruptible=move.amount < 0.6)
            case "respond":
                self._session.respond("Be brief.", output=Output.TEXT if move.amount < 0.3 else None)
            case "settings":
                await self._change(move.amount)
            case "clear":
                await client.speak(0.4)
                await client.send(ev.InputClearRequested())
            case "item":
                await client.send(_about_items(self._session.conversation, move.amount))
            case "mute":
                await client.send(ev.MuteRequested(muted=True))
                await client.say(0.5)
                await client.send(ev.MuteRequested(muted=False))
            case "nonsense":
                await client.talk_nonsense(move.amount)
            case "reconnect":
                await self.disconnect()
                await client.reconnect(move.amount)
            case "stall":
                await client.say_in_a_stall(move.amount)
            case "restart":
                await client.send(ev.ConversationEndRequested())
                await client.send(ev.ConversationStartRequested())
            case "wait":
                await trio.sleep(move.amount)
            case _:
                raise ValueError(f"no such move: {move.kind}")
        if self._session.conversation.state is State.IDLE:
            await client.send(ev.ConversationStartRequested())

    async def _say(self, seconds: float) -> None:
        """As the settings have it: until the user is silent, or lets go of the button; who cannot speak types."""
        if self._settings.input is Input.TEXT:
            await self.client.send(ev.TextReceived(text="typed words"))
        elif self._settings.turn_detection is TurnDetection.MANUAL:
            await self.client.push_to_talk(seconds)
        else:
            await self.client.say(seconds)

    async def _ask(self) -> None:
        """Ask for the answer, where none comes by itself."""
        if not self._settings.auto_answer:
            await self.client.send(ev.ResponseRequested())

    async def _change(self, dice: float) -> None:
        """Change a setting, now and then amid a word."""
        if dice > 0.8:
            await self.client.speak(0.4)
        name, value = CHANGES[round(dice * 1000) % len(CHANGES)]
        await self.client.send(ev.SettingsChanged(changes=(Change(name=name, value=value),)))

    # --- The proof --------------------------------------------------------------------------------------------------------

    async def is_served(self, *, stubborn: bool) -> bool:
        """With healthy engines and a client that co-operates, the session comes to rest and answers; False: it is stuck."""
        self._engines.heal()
        await self.client.reconnect(0.05)
        await self.client.send(ev.MuteRequested(muted=False))
        await trio.sleep(0.01)  # Whatever has waited for a client begins now, and is no answer to what comes below.
        with trio.move_on_after(REST_S) as scope:
            while self._session.ended is None:
                c = self._session.conversation
                if c.state is State.IDLE:
                    await self.client.send(ev.ConversationStartRequested())
                    await trio.sleep(0.1)
                elif c.state is State.LISTENING and not (c.turn or c.awaited or c.answer_due or c.says):
                    break
                else:
                    await trio.sleep(0.1)
        if scope.cancelled_caught:
            return False
        if self._session.ended is None and not stubborn and self._session.statistics().replies_running > 1:
            raise Violation(f"{self._session.statistics().replies_running} replies run in a session at rest")
        await self._is_answered()
        return True

    async def _is_answered(self) -> None:
        known = self._session.conversation.turns
        with suppress(LinkClosed):  # The session may have ended.
            await self.client.send(ev.TextReceived(text="are you still there?"))
            await self._ask()
        await self.client.wait_until(lambda c: c.turns > known and c.turn is None, REST_S)
        await trio.sleep(0.01)
        if self._session.ended is None and self._ledger.answered <= known:
            raise Violation("what was typed was never answered")


def _about_items(c: Conversation, dice: float) -> ClientMessage:
    """Put something into the history, take it out, cut it short, or read it."""
    latest = c.history[-1].id if c.history else "nothing"
    if dice < 0.25:
        return ev.ItemInsertRequested(item=UserSaid(text="a note"))
    if dice < 0.4:
        return ev.ItemInsertRequested(item=Instructed(text="Be kind."), after="")
    if dice < 0.6:
        return ev.ItemDeleteRequested(item_id=latest)
    if dice < 0.8:
        return ev.ItemTruncateRequested(item_id=latest, end_s=0.3)
    return ev.ItemReadRequested(item_id=latest)


async def _session(script: Script, outcome: Outcome, keep: int | None) -> None:
    agent, engines = make_agent(script)
    stubborn = any(_has_fault(script, stage, Act.STUBBORN) for stage in script.faults)
    # A fault that only delays may delay beyond any stage's own timeout, at the stream's close.
    slow = stubborn or any(_has_fault(script, stage, Act.SLOW) for stage in script.faults)
    watch = Watch(outcome, keep, slow=slow, reports=script.client != "silent" or _has(script, "nonsense"))
    wrong: list[str] = []
    ledger = Ledger(outcome, wrong, whole=not _has_fault(script, "tts", Act.STOP))
    session: Session | None = None
    try:
        async with trio.open_nursery() as nursery:
            async with open_session(agent, session_id=f"simulated-{script.number:012}", observers=[watch]) as session:
                player = Player(script, session, engines, nursery=nursery, ledger=ledger, watch=watch)
                await player.start()
                await player.play(script.moves)
                await trio.sleep(0.01)
                if player.one_link and (set(ledger.started), ledger.ended) != (watch.begun, watch.over):
                    raise Violation("the client was not told of every turn's begin and end")
                if script.drains:
                    session.shutdown(5.0)
                elif session.ended is None and not await player.is_served(stubborn=stubborn):
                    outcome.stuck = True
                    raise Violation(f"stuck in {session.conversation.state.value}")
                if not script.drains:
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
    if engines.tools.running:
        raise Violation(f"{engines.tools.running} tools outlived their session")
    if engines.open_streams:
        raise Violation(f"{engines.open_streams} streams of providers were left open")
    if watch.begun != watch.over:
        raise Violation(f"turns {sorted(watch.begun - watch.over)} never ended")
    again = fold(Conversation(settings=agent.settings), watch.events)
    if again != session.conversation:
        raise Violation("its events do not give the conversation again")


def _has_fault(script: Script, stage: str, act: Act) -> bool:
    return any(fault is not None and fault.act is act for fault in script.faults.get(stage, ()))


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

    try:
        with scheduled(f"{script.seed} {script.number}"):
            trio.run(main, clock=clock)
    except* Exception as errors:  # noqa: BLE001 - whatever comes out of a session is what was looked for
        outcome.violation = "; ".join(dict.fromkeys(_tell(error) for error in _leaves(errors)))
    return outcome


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _tell(error: BaseException) -> str:
    name = type(error).__name__
    return str(error) if isinstance(error, Violation) else f"{name}: {error}"
