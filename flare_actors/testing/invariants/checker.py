"""A checker of steps, which remembers what it was told of each turn: for property tests, and an observer for whole sessions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import (
    CancelReply,
    ChatMessage,
    CloseListener,
    CloseSession,
    Command,
    FlushPlayback,
    Notify,
    OpenListener,
    PausePlayback,
    ReleaseReply,
    ResumePlayback,
    SetEndpoint,
    SetMute,
    StartReply,
    StartStt,
)
from flare_actors.conversation.items import AgentSaid, HistoryItem, turn_id
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import (
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    SessionEnded,
    StateChanged,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Input, Output, Reason, State, TurnKind
from flare_actors.conversation.table import TRANSITIONS
from flare_actors.observe import Observer
from flare_actors.testing.invariants.between_steps import check_value
from flare_actors.testing.invariants.late import is_late

__all__ = ["ConversationChecker"]

_MOST_COMMANDS: Final = 40
"""One event may end several turns' accounts (8 of them unsettled) and the session with them; nothing may do more."""


@attrs.define
class _Turn:
    """What the checker knows of one turn, from outside."""

    written: list[str] = attrs.Factory(list)
    starts: dict[int, float] = attrs.Factory(dict)
    clock_s: float | None = None
    canceled: bool = False
    ahead: bool = False
    """It was begun ahead."""
    held: bool = False
    """It is generated ahead, and nobody has been told of it."""
    aside: bool = False
    """Nothing of it enters the history."""
    ended: bool = False
    delivered: bool = False
    """What was written went to the client as text."""


@attrs.define
class ConversationChecker(Observer):
    """Holds every step against what the core promises. One for each session."""

    steps: int = 0
    """Steps checked."""
    _turns: dict[int, _Turn] = attrs.Factory(dict)
    _generating: set[int] = attrs.Factory(set)
    """Turns whose StartReply went out, and neither their cancellation nor their end."""
    _history: tuple[HistoryItem, ...] = ()
    """As it was when its words were last held against what was heard."""
    _listening: bool = False
    _paused: set[int] = attrs.Factory(set)
    """Turns that the speaker was told to pause, and not yet to go on with, or to flush."""
    _waits: set[int] = attrs.Factory(set)
    """Turns of which the client was told the same, or that they ended."""

    def on_step(
        self, session_id: str, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """Check one step.

        Raises:
            AssertionError: a promise was broken.
        """
        del session_id
        self.check(before, event, after, commands)

    def check(self, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
        """Check one step.

        Raises:
            AssertionError: a promise was broken.
        """
        self.steps += 1
        notices = [command.notice for command in commands if isinstance(command, Notify)]
        try:
            check_value(after)
            _check_transitions(before, after, [notice for notice in notices if isinstance(notice, StateChanged)])
            _check_counters(before, after)
            _check_commands(before, event, after, commands)
            _check_late(before, event, after, commands)
            self._check_replies(event, after, commands)
            self._check_pauses(after, commands)
            self._check_ear(commands)
            if before.state is State.ENDED:
                assert after == attrs.evolve(before, stale=before.stale + 1), "ENDED is final"
                assert not commands, "ENDED is final"
            if after.state is State.ENDED and before.state is not State.ENDED:
                assert isinstance(commands[-1], CloseSession), "closing is the last command"
                assert isinstance(notices[-1], SessionEnded), "the end is the last notice"
        except AssertionError as error:
            error.add_note(f"step {self.steps}: {event}")
            error.add_note(f"before: {before}")
            error.add_note(f"after: {after}")
            error.add_note(f"commands: {commands}")
            raise

    def _check_replies(self, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
        self._note_facts(event)
        for command in commands:
            match command:
                case Notify(notice=TurnStarted(turn=number, aside=aside)):
                    turn = self._turns.setdefault(number, _Turn(held=True))
                    assert turn.held, f"turn {number} starts twice"
                    turn.held, turn.aside = False, aside
                case Notify(notice=TurnEnded() as end):
                    self._check_end(end, after)
                case ReleaseReply(turn=number):
                    assert self._turns[number].ahead, f"turn {number} is let out, and was never held"
                    assert not self._turns[number].held, f"turn {number} is let out, and nobody was told of it"
                case StartReply(turn=number, held=ahead):
                    if ahead:
                        assert number not in self._turns, f"turn {number} starts twice"
                        self._turns[number] = _Turn(held=True, ahead=True)
                    assert not self._generating, "two replies at a time"
                    assert ahead == self._turns[number].held, f"turn {number} is answered before it has begun"
                    assert ahead or after.turn is None or after.turn.number == number, (
                        f"a reply for turn {number}, not the live one"
                    )
                    assert ahead or after.turn is None or after.turn.output is command.output, (
                        f"turn {number} was to begin as {after.turn.output.value}, and is made as {command.output.value}"
                    )
                    self._generating.add(number)
                    self._turns[number].delivered |= command.output is Output.TEXT
                    self._check_request(command, after)
                case CancelReply(turn=number):
                    assert FlushPlayback(turn=number) in commands, f"turn {number} is cancelled and not flushed"
                    self._generating.discard(number)
                    self._turns[number].canceled = True
                case _:
                    pass
        held = after.speculation.turn if after.speculation is not None else None
        live = {turn.number for turn in (after.turn, held) if turn is not None}
        stray = self._generating - live
        assert not stray, f"turns {sorted(stray)} are neither live nor cancelled"
        if after.history is not self._history or isinstance(event, ev.PlaybackStopped):
            self._history = after.history
            self._check_heard(after)

    def _check_end(self, end: TurnEnded, after: Conversation) -> None:
        """What the client is told to have been heard is what is remembered."""
        turn = self._turns[end.turn]
        assert not turn.held, f"turn {end.turn} was never released"
        assert not turn.ended, f"turn {end.turn} ends twice"
        turn.ended = True
        self._generating.discard(end.turn)
        assert "".join(turn.written).strip().startswith(end.heard), f"turn {end.turn}: heard what was not written"
        said = next((item for item in _own(after) if item.turn == end.turn), None)
        if said is not None:
            assert said.text == end.heard, f"turn {end.turn}: {end.heard!r} was heard, and {said.text!r} is remembered"
        else:
            remembered = end.reason is not None or turn.aside or not end.heard
            assert remembered, f"turn {end.turn}: {end.heard!r} was heard, and is not remembered"

    def _note_facts(self, event: ev.Event) -> None:
        number = getattr(event, "turn", None) or 0
        turn = self._turns.get(number)
        if turn is None:
            return
        generating = number in self._generating
        match event:
            case ev.PhraseReady() if generating or (turn.canceled and not turn.ended):
                turn.written.append(event.text)
            case ev.PhraseSpoken() if generating:
                turn.starts[event.index] = event.start_s
            case ev.SynthesizerFailed() if generating:
                turn.delivered = True
            case ev.PlaybackStopped() if turn.clock_s is None and turn.canceled and not turn.ended:
                turn.clock_s = event.played_s
            case _:
                pass

    def _check_heard(self, after: Conversation) -> None:
        """The history has only words whose audio began before the playback stopped."""
        for item in _own(after):
            if not item.interrupted or not item.text:
                continue
            turn = self._turns[item.turn]
            if turn.delivered or turn.clock_s is None:
                continue
            may = [text for index, text in enumerate(turn.written) if turn.starts.get(index, 0.0) < turn.clock_s]
            assert "".join(may).startswith(item.text), f"turn {item.turn}: {item.text!r} was not heard"

    @staticmethod
    def _check_request(command: StartReply, after: Conversation) -> None:
        if command.kind is not TurnKind.RESPONSE:
            assert command.text, "nothing to say"
            assert not command.messages, "a text is not asked of the model"
            return
        roles = [message.role for message in command.messages]
        assert roles[-1:] != ["assistant"], f"a request ends with the user, or with a tool's result: {roles}"
        assert all(one != other or one == "tool" for one, other in itertools.pairwise(roles)), f"not merged: {roles}"
        _check_pairs(command.messages)
        wish = after.turn.wish if after.turn is not None else None
        asked = wish.items if wish is not None and wish.items is not None else after.history
        heard = [item.text.strip() for item in asked if isinstance(item, AgentSaid)]
        for message in command.messages:
            if message.role == "assistant" and message.content:
                assert message.content in " ".join(filter(None, heard)), "the request has what was not heard"

    def _check_pauses(self, after: Conversation, commands: tuple[Command, ...]) -> None:
        """A pause is followed by going on, by a cancellation, or by the end of the turn, and by nothing else."""
        for command in commands:
            match command:
                case PausePlayback(turn=number):
                    assert number not in self._paused, f"turn {number} is paused twice"
                    self._paused.add(number)
                case ResumePlayback(turn=number) | FlushPlayback(turn=number):
                    self._paused.discard(number)
                case Notify(notice=PlaybackPaused(turn=number)):
                    assert number not in self._waits, f"the client is told twice to stand still in turn {number}"
                    self._waits.add(number)
                case Notify(notice=PlaybackResumed(turn=number)):
                    assert number in self._waits, (
                        f"the client is to go on with turn {number}, which does not stand still"
                    )
                    self._waits.remove(number)
                case Notify(notice=PlaybackCleared(turn=number) | TurnEnded(turn=number)):
                    self._waits.discard(number)
                    self._paused.discard(number)
                case _:
                    pass
        turn = after.turn
        still = {turn.number} if turn is not None and turn.paused_at is not None else set()
        assert self._waits == still, f"the client stands still in {self._waits}, the agent in {still}"
        assert self._paused == (set() if turn is not None and turn.waiting else still), "what is paused stands still"

    def _check_ear(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, OpenListener):
                assert not self._listening, "the ear is opened twice"
                self._listening = True
            elif isinstance(command, CloseListener):
                self._listening = False


def _own(c: Conversation) -> list[AgentSaid]:
    """What the agent said itself; the client may have put in what it likes."""
    return [item for item in c.history if isinstance(item, AgentSaid) and item.id == turn_id(item.turn)]


def _check_late(before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
    if is_late(before, event):
        # Nobody has told the ear yet that it is muted, if this is the first thing that happens.
        assert after == attrs.evolve(before, stale=before.stale + 1, deaf=after.deaf), "a late fact changes nothing"
        assert all(isinstance(command, SetMute) for command in commands), "a late fact has nothing done"


def _check_pairs(messages: Sequence[ChatMessage]) -> None:
    """Results come right after their calls, one for each, in the same order."""
    due: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert due, f"a result without a call: {message.call}"
            assert message.call == due.pop(0), f"results are not in the order of their calls: {message.call}"
        else:
            assert not due, f"calls without results: {due}"
            due = [call.call for call in message.calls]
    assert not due, f"calls without results: {due}"


def _check_transitions(before: Conversation, after: Conversation, changes: list[StateChanged]) -> None:
    state = before.state
    for change in changes:
        assert change.old is state, f"told {change.old} -> {change.new}, from {state}"
        assert change.new in TRANSITIONS[state], f"{state} -> {change.new} is not in the table"
        state = change.new
    assert state is after.state, f"{before.state} -> {after.state} was told as {changes}"


def _check_counters(before: Conversation, after: Conversation) -> None:
    assert after.turns >= before.turns, "turn numbers grow"
    assert after.utterance >= before.utterance, "utterance numbers grow"
    assert after.stale >= before.stale, "late facts are counted, not uncounted"


def _check_commands(before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
    assert len(commands) <= _MOST_COMMANDS, f"{len(commands)} commands for one event"
    turn = before.turn
    if turn is not None and not turn.interruptible:
        stopped = CancelReply(turn=turn.number, reason=Reason.BARGE_IN) in commands
        asked = isinstance(event, ev.InterruptRequested | ev.ItemTruncateRequested)
        assert asked or not stopped, "what may not be interrupted is stopped by nobody's words"
    if turn is not None and isinstance(event, ev.InterruptRequested):
        # Whoever passes it on has silenced the turn already.
        assert after.turn is None or after.turn.number != turn.number, "the stop button ends whatever turn there is"
        assert turn.waiting or FlushPlayback(turn=turn.number) in commands, "what is stopped is not heard any more"
    settings = after.settings
    for command in commands:
        if isinstance(command, StartStt):
            assert after.attached or before.attached, "nobody is there to be understood"
            assert settings.input is not Input.TEXT, "who only types is not heard"
            given = (command.locale, command.mode, command.endpoint_s)
            assert given == (settings.locale, settings.stt_mode, settings.endpoint_s), (
                "STT starts with all its settings"
            )
        if isinstance(command, SetEndpoint):
            least = min(settings.endpoint_min_s, settings.endpoint_s)
            most = max(settings.endpoint_max_s, settings.endpoint_s)
            assert least <= command.silence_s <= most, "a pause is waited for as the settings let it be"
            assert command.utterance == after.utterance, "who does not speak does not pause"
