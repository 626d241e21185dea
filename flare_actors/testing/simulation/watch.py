"""What is watched while a session is simulated: every step from inside, every message at the client."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Final

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import CancelReply, Command, Notify
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import (
    ErrorRaised,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    SessionStarted,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Output, Reason, State, TurnDetection, TurnKind, Wait
from flare_actors.journal import event_to_json
from flare_actors.observe import Observer
from flare_actors.ports import AudioOut, ServerMessage
from flare_actors.testing.invariants import ConversationChecker
from flare_actors.testing.simulation.world import CHARS_PER_S, RATE

__all__ = ["Ledger", "Outcome", "Violation", "Watch"]

_GENERATION: Final = (
    ev.PhraseReady,
    ev.PhraseSpoken,
    ev.WordsSpoken,
    ev.AudioStarted,
    ev.ToolStarted,
    ev.ToolFinished,
    ev.GenerationFinished,
    ev.UsageReported,
    ev.LanguageModelFailed,
    ev.SynthesizerFailed,
)


class Violation(Exception):
    """A promise was broken."""


@attrs.define(kw_only=True)
class Outcome:
    """What became of one session."""

    number: int
    violation: str = ""
    stuck: bool = False
    leaked_tasks: int = 0
    conversations: int = 0
    turns: int = 0
    barge_ins: int = 0
    pauses: int = 0
    """How often the client stood still, because the user spoke,"""
    resumed: int = 0
    """... and how often it was no interruption."""
    faults: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    digest: str = ""
    """SHA-256 of the trace."""
    trace: list[str] = attrs.Factory(list)
    """The last events, one JSON object a line."""


class Watch(Observer):
    """Counts and records what happens, and checks what only whole sessions can show."""

    def __init__(self, outcome: Outcome, keep: int | None, *, slow: bool, reports: bool) -> None:
        self.events: list[ev.Event] = []
        self._outcome = outcome
        self._keep = keep
        self._digest = hashlib.sha256()
        self._checker = ConversationChecker()
        self._slow = slow
        self._reports = reports
        self._news = trio.Event()
        self._canceled: dict[int, float] = {}
        self._deaf_since = math.inf
        self._background: set[str] = set()
        """Calls whose turn may be over."""
        self.begun: set[int] = set()
        """Turns that began."""
        self.over: set[int] = set()
        """Turns that ended."""

    def on_step(
        self, session_id: str, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """Record a step, and check it."""
        outcome = self._outcome
        outcome.steps += 1
        self._news.set()
        self._news = trio.Event()
        self.events.append(event)
        line = f"{outcome.number} {event_to_json(event)} {after.state.value} {len(commands)}"
        self._digest.update(line.encode() + b"\n")
        outcome.trace.append(line)
        if self._keep is not None and len(outcome.trace) > 2 * self._keep:
            del outcome.trace[: self._keep]
        if before.state is State.IDLE and after.state is State.INITIALIZING:
            outcome.conversations += 1
        self._checker.on_step(session_id, before, event, after, commands)
        for command in commands:
            if isinstance(command, Notify):
                if isinstance(command.notice, TurnStarted):
                    self.begun.add(command.notice.turn)
                elif isinstance(command.notice, TurnEnded):
                    self.over.add(command.notice.turn)
        self._check_canceled(event, commands)
        self._check_mute(event, after)
        if isinstance(event, ev.DeadlinePassed) and event.wait in self._never(before):
            raise Violation(f"the backstop for {event.wait.value} had to step in: something below it hung or was lost")
        stands = before.turn is not None and before.turn.paused_at is not None
        if isinstance(event, ev.DeadlinePassed) and event.wait is Wait.PLAYBACK and not (self._reports or stands):
            raise Violation("the speaker never told that a turn was played")

    def _never(self, before: Conversation) -> set[Wait]:
        """Deadlines that do not pass, because something below them is sooner."""
        never = {Wait.GENERATION, Wait.COMMIT}
        if not self._slow:
            never |= {Wait.TRANSCRIPT, Wait.INITIALIZE, Wait.SETTLE}
            if before.settings.turn_detection is TurnDetection.AUTOMATIC:
                never.add(Wait.UTTERANCE)  # Who holds a button and goes away ends nothing.
        return never

    def _check_canceled(self, event: ev.Event, commands: tuple[Command, ...]) -> None:
        """What was cancelled tells nothing more; what it had told before may still be in the inbox, of the same moment."""
        turn = getattr(event, "turn", None)
        if isinstance(event, ev.ToolStarted) and event.detached:
            self._background.add(event.call)
        ours = isinstance(event, _GENERATION) and getattr(event, "call", None) not in self._background
        if ours and event.at > self._canceled.get(turn or 0, math.inf):
            raise Violation(f"turn {turn} was cancelled, and its reply goes on")
        for command in commands:
            if isinstance(command, CancelReply):
                self._canceled[command.turn] = event.at

    def _check_mute(self, event: ev.Event, after: Conversation) -> None:
        """Who is muted is not heard; what was heard before may still be in the inbox."""
        if isinstance(event, ev.SpeechStarted) and event.at > self._deaf_since:
            raise Violation("the user is muted, and was heard")
        self._deaf_since = min(self._deaf_since, event.at) if after.deaf else math.inf

    def on_fault(self, session_id: str, turn: int | None, error: BaseException) -> None:
        """Count a fault."""
        del session_id, turn, error
        self._outcome.faults += 1

    async def wait_step(self) -> None:
        """Wait until something has happened."""
        await self._news.wait()

    def finish(self) -> None:
        """The session is over: the digest of its trace."""
        self._outcome.digest = self._digest.hexdigest()


class Ledger:
    """What the client was told and sent, and what must not come any more.

    Args:
        outcome: where it is counted.
        wrong: where it is written what must not be.
        whole: a phrase's audio is always whole, so that its length tells how much of it was said.
    """

    def __init__(self, outcome: Outcome, wrong: list[str], *, whole: bool) -> None:
        self._outcome = outcome
        self._wrong = wrong
        self._whole = whole
        self.started: dict[int, TurnStarted] = {}
        self.ended: set[int] = set()
        self.cleared: set[int] = set()
        self.paused: int | None = None
        """The turn in which the client stands still."""
        self.answered = 0
        """The latest turn of the model's that was said to its end."""
        self._links = 0
        self._read: set[int] = set()
        """Turns whose text came in place of their sound."""
        self._bytes: Counter[int] = Counter()
        """Of audio, by turn."""
        self._latest = 0

    def note(self, message: ServerMessage) -> None:
        """Take note of what the client gets, and check that it may come."""
        match message:
            case TurnStarted(turn=turn):
                self._expect(turn not in self.started, f"turn {turn} was started twice")
                self._expect(turn > self._latest, f"turn {turn} started after turn {self._latest}")
                self.started[turn] = message
                self._latest = turn
                self._outcome.turns += 1
            case AudioOut(turn=turn, pcm=pcm):
                self._expect(turn in self.started, f"audio of turn {turn}, which was not started")
                self._expect(turn not in self.cleared, f"audio of turn {turn}, which was flushed")
                self._expect(turn not in self.ended, f"audio of turn {turn}, which had ended")
                self._expect(turn != self.paused, f"audio of turn {turn}, which stands still")
                self._bytes[turn] += len(pcm)
            case ErrorRaised(code="tts_failed", turn=int() as turn):
                self._read.add(turn)
            case SessionStarted():
                self._links += 1
                self.paused = None  # Another link, on which everything begins anew.
            case PlaybackPaused(turn=turn):
                self._expect(self.paused is None, f"turn {turn} stands still, and so does turn {self.paused}")
                self.paused = turn
                self._outcome.pauses += 1
            case PlaybackResumed(turn=turn):
                self._expect(turn == self.paused, f"turn {turn} goes on, which did not stand still")
                self.paused = None
                self._outcome.resumed += 1
            case PlaybackCleared(turn=turn, reason=reason):
                self.paused = None if turn == self.paused else self.paused
                self.cleared.add(turn)
                self._outcome.barge_ins += reason is Reason.BARGE_IN
            case TurnEnded(turn=turn):
                self.paused = None if turn == self.paused else self.paused
                self._expect(turn in self.started, f"turn {turn} ended, which was not started")
                self._expect(turn not in self.ended, f"turn {turn} ended twice")
                self.ended.add(turn)
                self._check_heard(message)
            case _:
                pass

    def _check_heard(self, end: TurnEnded) -> None:
        """What an interrupted user is said to have heard takes no longer to say than the sound that came."""
        started = self.started.get(end.turn)
        if started is None:
            return
        if end.reason is None:
            self.answered = end.turn if started.kind is TurnKind.RESPONSE else self.answered
        elif self._whole and self._links == 1 and started.output is Output.AUDIO and end.turn not in self._read:
            seconds = self._bytes[end.turn] / (BYTES_PER_SAMPLE * RATE)
            letters = len("".join(end.heard.split()))
            self._expect(letters <= seconds * CHARS_PER_S + 1, f"{end.heard!r} was heard in {seconds:.2f} s of sound")

    def _expect(self, truth: bool, wrong: str) -> None:  # noqa: FBT001 - reads like an assertion
        if not truth:
            self._wrong.append(wrong)
