"""A world in which everything works: it answers the core's commands as the actors would, at times drawn at random.

Its user is lively: speaks, goes on, interrupts, types, coughs, leaves and comes back. Every word is unique, so that a test
can tell what became of it.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator

import attrs

from flare_actors.conversation import Conversation, Floor, Settings, State, step
from flare_actors.conversation import commands as do
from flare_actors.conversation import events as ev
from flare_actors.conversation.notices import TranscriptReceived
from flare_actors.conversation.states import Output
from flare_actors.conversation.table import ACTIVE
from flare_actors.testing.strategies import Step

NOD = "mhm"
"""What a listener says: it need not be answered."""


@attrs.define
class _Reply:
    """What the actors would know of a turn."""

    turn: int
    canceled: bool = False
    started_at: float | None = None
    generated_s: float = 0.0
    paused_at: float | None = None
    kept: list[tuple[float, ev.Event]] = attrs.Factory(list)
    """What will happen when it goes on, and how long after that."""


class World:
    """Runs one session.

    Args:
        settings: the session's.
        rng: decides everything that is left to chance.
        deeds: how many things the user does.
    """

    def __init__(self, settings: Settings, rng: random.Random, *, deeds: int = 12) -> None:
        self.conversation = Conversation(settings=settings)
        self.understood: list[str] = []
        """What the user was told to have been understood, and what was typed."""
        self._rng = rng
        self._deeds = deeds
        self._order = itertools.count()
        self._coming: list[tuple[float, int, ev.Event, _Reply | None]] = []
        self._now = 0.0
        self._words = itertools.count(1)
        self._utterances = 0
        self._reply: _Reply | None = None
        self._stt_since: float | None = None
        self._partials = rng.random() < 0.5

    def run(self) -> Iterator[Step]:
        """Let the user do what the user does, then let everything come to rest."""
        self._soon(ev.ClientAttached(reports_playback=False))
        self._soon(ev.ConversationStartRequested(), 0.1)
        for _ in range(self._deeds):
            yield from self._until(self._now + self._rng.choice((0.05, 0.3, 1.0, 2.0, 4.0)))
            self._deed()
        yield from self._until(self._now + 1.0)
        if not self.conversation.attached:
            self._soon(ev.ClientAttached())
        yield from self._until(self._now + 25.0)

    def _until(self, moment: float) -> Iterator[Step]:
        while True:
            due = self.conversation.deadlines.earliest()
            next_at = self._coming[0][0] if self._coming else moment + 1.0
            if due is not None and due[0] <= min(next_at, moment):
                yield self._take(ev.DeadlinePassed(at=due[0], wait=due[1]))
            elif next_at <= moment:
                at, _, event, reply = heapq.heappop(self._coming)
                self._now = max(self._now, at)
                if reply is None or not reply.canceled:
                    yield self._take(attrs.evolve(event, at=self._now))
            else:
                self._now = moment
                return

    def _take(self, event: ev.Event) -> Step:
        before = self.conversation
        self.conversation, commands = step(before, event)
        self._now = max(self._now, event.at)
        for command in commands:
            self._obey(command)
        if isinstance(event, ev.TextReceived) and before.state in ACTIVE:
            self.understood.append(event.text)
        return Step(before=before, event=event, after=self.conversation, commands=commands)

    def _soon(self, event: ev.Event, delay: float = 0.0, reply: _Reply | None = None) -> None:
        heapq.heappush(self._coming, (self._now + delay, next(self._order), event, reply))

    # --- The actors -------------------------------------------------------------------------------------------------------

    def _obey(self, command: do.Command) -> None:
        match command:
            case do.OpenListener():
                self._soon(ev.ListenerOpened(), self._rng.choice((0.0, 0.2)))
            case do.StartStt():
                self._stt_since = self._now if self._stt_since is None else self._stt_since
                self._soon(ev.RecognizerReady(partials=self._partials), self._rng.choice((0.0, 0.1)))
            case do.StopStt() | do.CloseListener():
                self._stt_since = None
                self._coming = [each for each in self._coming if not isinstance(each[2], ev.TranscriptFinished)]
                heapq.heapify(self._coming)
            case do.StartReply():
                self._start(command)
            case do.CancelReply() if self._reply is not None:
                self._reply.canceled = True
            case do.PausePlayback():
                self._pause()
            case do.ResumePlayback():
                self._resume()
            case do.FlushPlayback(turn=turn):
                self._flush(turn)
            case do.Notify(notice=TranscriptReceived(final=True, text=text)) if text != NOD:
                self.understood.append(text)
            case _:
                pass

    def _start(self, command: do.StartReply) -> None:
        """Write, speak and play a turn of one to three phrases, a second each."""
        reply = self._reply = _Reply(turn=command.turn)
        delay = self._rng.choice((0.02, 0.3, 1.5))
        count = self._rng.randint(1, 3)
        spoken = command.output is Output.AUDIO
        for index in range(count):
            self._soon(
                ev.PhraseReady(turn=command.turn, index=index, text=f"a{command.turn}p{index} so. "), delay, reply
            )
            if spoken and index == 0:
                reply.started_at = self._now + delay + 0.1
                self._soon(ev.AudioStarted(turn=command.turn), delay + 0.1, reply)
            if spoken:
                fact = ev.PhraseSpoken(turn=command.turn, index=index, start_s=float(index), end_s=index + 1.0)
                self._soon(fact, delay + 0.2, reply)
            delay += self._rng.choice((0.05, 0.5))
        reply.generated_s = float(count) if spoken else 0.0
        self._soon(ev.GenerationFinished(turn=command.turn, audio_s=reply.generated_s), delay + 0.2, reply)
        if spoken:
            over = max(delay + 0.2, (reply.started_at or 0.0) - self._now + reply.generated_s)
            self._soon(ev.PlaybackFinished(turn=command.turn, played_s=reply.generated_s), over, reply)

    def _pause(self) -> None:
        """Nothing leaves, and the clock stands still."""
        reply = self._reply
        assert reply is not None
        reply.paused_at = self._now
        for each in list(self._coming):
            if each[3] is reply and isinstance(each[2], ev.AudioStarted | ev.PlaybackFinished):
                reply.kept.append((each[0] - self._now, each[2]))
                self._coming.remove(each)
        heapq.heapify(self._coming)

    def _resume(self) -> None:
        reply = self._reply
        if reply is None or reply.paused_at is None:
            return
        if reply.started_at is not None:
            reply.started_at += self._now - reply.paused_at
        reply.paused_at = None
        for delay, event in reply.kept:
            self._soon(event, delay, reply)
        reply.kept.clear()

    def _flush(self, turn: int) -> None:
        played = 0.0
        if self._reply is not None and self._reply.turn == turn and self._reply.started_at is not None:
            now = self._now if self._reply.paused_at is None else self._reply.paused_at
            played = min(self._reply.generated_s, max(0.0, now - self._reply.started_at))
        self._soon(ev.PlaybackStopped(turn=turn, played_s=played), self._rng.choice((0.0, 0.02)))

    # --- The user ---------------------------------------------------------------------------------------------------------

    def _deed(self) -> None:
        if not self.conversation.attached:
            self._soon(ev.ClientAttached())
            return
        deed = self._rng.random()
        if deed < 0.55:
            self._speak()
        elif deed < 0.7:
            self._soon(ev.TextReceived(text=f"typed{next(self._words)}"))
        elif deed < 0.8:
            self._soon(ev.SayRequested(text=f"say{next(self._words)}"))
        elif deed < 0.85:
            # Who stops an answer before it is asked for wants none.
            if self.conversation.turn is None or not self.conversation.turn.waiting:
                self._soon(ev.InterruptRequested())
        elif deed < 0.9:
            self._soon(ev.ClientDetached())
        else:
            self._speak(words=False)

    def _speak(self, *, words: bool = True) -> None:
        """An utterance: its facts as the ear and the recogniser tell them."""
        open_ear = self.conversation.listener_open and self.conversation.state is not State.ERROR
        if not open_ear or self.conversation.floor is Floor.SPEAKING or self._stt_since is None:
            return
        if any(isinstance(each[2], ev.SpeechStarted) for each in self._coming):
            return
        self._utterances += 1
        number = self._utterances
        length = self._rng.choice((0.2, 0.28, 0.6, 1.5))
        self._soon(ev.SpeechStarted(utterance=number))
        if length >= 0.3:
            self._soon(ev.SpeechConfirmed(utterance=number), 0.3)
        if length >= 0.8:
            self._soon(ev.SpeechConfirmed(utterance=number, overdue=True), 0.8)
        too_short = length < 0.25
        end = length + 0.48
        self._soon(ev.SpeechStopped(utterance=number, speech_s=length, silence_s=0.48, too_short=too_short), end)
        if not too_short:
            text = f"word{next(self._words)}" if words else self._rng.choice(("", NOD))
            if self._partials:
                self._soon(ev.TranscriptUpdated(utterance=number, text=text), min(end, 0.5))
            self._soon(ev.TranscriptFinished(utterance=number, text=text), end + self._rng.choice((0.05, 0.4, 1.0)))
