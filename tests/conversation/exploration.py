"""Every conversation that there is in a small world: breadth first, over normal forms.

A world is a few events that belong together and the settings in which they matter. Its conversations are infinitely many,
but only by what no decision depends on: when something was, which numbers turns and utterances have, the words of the history.
``normal`` takes that away, so what is left is finitely many, and the walk comes to its end. It goes on from the normal forms
themselves, so nothing hinges on which conversation of a kind came first.

Time is abstract: any deadline that is armed may be the next to pass, in whatever order they are due. That is more than can
really happen; that it is not less is checked too (``stroll``): real runs, with times and numbers, are held against what was
explored.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import attrs

from flare_actors.conversation import Conversation, Floor, Limits, Settings, State, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.backchannels import Said, read_words
from flare_actors.conversation.calls import ToolUse
from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.history import SpokenPhrase
from flare_actors.conversation.model import Deadlines, Failures, Hearing, Marks, Settling, Speculation, Turn, Waste
from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.states import Reason, Wait
from flare_actors.conversation.values import evolve
from flare_actors.testing.invariants import check_value
from flare_actors.testing.strategies import Move, pass_time

LIMITS: Final = Limits(same_failures=1_000, say_queue=1, history_items=4)
"""With so much patience the number of failures decides nothing but a back-off's length."""


@attrs.frozen(kw_only=True)
class World:
    """Events that belong together, and the settings in which they matter."""

    settings: Settings
    alphabet: tuple[ev.Event, ...]
    """Besides what a healthy ear, reply and speaker would tell next, and the deadlines that pass."""
    begun: tuple[ev.Event, ...]
    counted: tuple[str, ...] = ()
    """The stages whose failures in a row are counted."""
    most_awaited: int = 1
    """The user says nothing more while so many utterances are not understood yet."""
    most_unsettled: int = 1
    """The speaker has told what was played of a cancelled turn before so many more are cancelled."""

    def begin(self) -> tuple[Conversation, float, list[tuple[State, State]]]:
        """Where it begins, when, and the transitions that led there."""
        c, now, seen = Conversation(settings=self.settings), 0.0, []
        for event in self.begun:
            before, now = c, now + 0.1
            c, commands = step(before, attrs.evolve(event, at=now))
            seen += transitions(before.state, c.state, commands)
        return c, now, seen

    def offers(self, c: Conversation) -> list[ev.Event]:
        """What may happen next, but for a deadline."""
        moves = (Move(None), *map(Move, self.alphabet))
        resolved = (move.resolve(c) for move in moves)
        full = len(c.awaited) >= self.most_awaited
        played = [ev.PlaybackStopped(turn=s.number, played_s=0.7) for s in c.settling if not s.settled]
        return [event for event in resolved if not (full and isinstance(event, ev.SpeechStarted))] + played

    def has(self, c: Conversation) -> bool:
        """Is it one of this world's?"""
        return sum(not s.settled for s in c.settling) <= self.most_unsettled

    def normal(self, c: Conversation) -> Conversation:
        """Its normal form, here."""
        return normal(c, self.counted)


# --- Normal forms ---------------------------------------------------------------------------------------------------------

_LATEST: Final = 10
"""The number of the latest turn, and of the latest utterance; those before count down from it."""
_DUE_S: Final = {
    Wait.SESSION_IDLE: 600.0,
    Wait.LIFETIME: 3_600.0,
    Wait.GRACE: 30.0,
    Wait.DRAIN: 5.0,
    Wait.INITIALIZE: 15.0,
    Wait.SETTLE: 1.0,
    Wait.UTTERANCE: 60.0,
    Wait.COMMIT: 3.0,
    Wait.INTERRUPTION: 1.0,
    Wait.TRANSCRIPT: 14.0,
    Wait.GENERATION: 45.0,
    Wait.PLAYBACK: 3.0,
    Wait.STT_RETRY: 2.0,
    Wait.RECOVERY: 1.0,
    Wait.IDLE: 30.0,
}
"""When a deadline is due in a normal form: about as long as it mostly takes."""
_AGES_S: Final = 1e6


def normal(c: Conversation, counted: Iterable[str] = ()) -> Conversation:
    """The same without what no decision depends on: it is now 0 s, and the latest turn and utterance are the tenth."""
    if c.state is State.ENDED:
        return Conversation(settings=c.settings, state=State.ENDED, ended=c.ended)
    unsettled = [s for s in c.settling if not s.settled]
    utterances = _renumbered((a.utterance for a in c.awaited), c.utterance)
    said: dict[str, Any] = {"pause": 0, "endpoint": None}
    if c.settings.soft_endpoint_s is None and read_words(c.partial, "en") is not Said.BACKCHANNEL:
        said |= {
            "partial": "tea"
        }  # What the words are is asked when an answer is begun ahead, and of who may only nod.
    if c.floor is Floor.SILENT:  # Of an utterance that is over nothing is asked any more but its transcript.
        said |= dict.fromkeys(("confirmed", "worded", "overheard", "unheard", "paused"), False)
        said |= {"turn_end": None, "partial": c.partial if c.awaited and c.settings.soft_endpoint_s is not None else ""}
    if not c.paused or c.floor is Floor.SILENT:
        said |= {"speculations_left": 0}
    return evolve(
        c,
        **said,
        utterance=_LATEST,
        partials=c.partials and c.hearing is Hearing.READY,
        pauses=(),
        awaited=tuple(evolve(a, utterance=utterances[a.utterance], speech_ended=0.0, endpoint=0.0) for a in c.awaited),
        turns=_LATEST,
        turn=None if c.turn is None else _turn(c.turn),
        speculation=None if c.speculation is None else _held(c.speculation, utterances),
        # What becomes of an account concerns the history alone; but whoever asks the model waits for it.
        settling=tuple(evolve(_OPEN, number=_LATEST - len(unsettled) + place) for place in range(len(unsettled))),
        speculated=0,
        released=0,
        wasted=_NO_WASTE,
        waste=_NO_WASTE,
        spoken_at=0.0,
        last_spoken="",
        asked=_NO_MARKS,
        detached=_uses(c.detached),
        reports=_uses(c.reports),
        history=(),
        items=0,
        quiet_since=0.0,
        failures=Failures(**{stage: getattr(c.failures, stage) for stage in counted}),
        stale=0,
        deadlines=Deadlines(**{name: _DUE_S[wait] for wait, name in _NAMES if getattr(c.deadlines, name) is not None}),
    )


_NAMES: Final = tuple((wait, wait.value) for wait in Wait)
_NO_MARKS: Final = Marks()
_OPEN: Final = Settling(number=0, reason=Reason.BARGE_IN, phrases=(), ended_at=0.0)
_NO_WASTE: Final = Waste()


def _renumbered(numbers: Iterable[int], latest: int) -> dict[int, int]:
    older = sorted({number for number in numbers if number != latest}, reverse=True)
    return {latest: _LATEST} | {number: _LATEST - 1 - place for place, number in enumerate(older)}


def _known(moment: float | None) -> float | None:
    return None if moment is None else 0.0


def _turn(turn: Turn) -> Turn:
    generated_s = turn.generated_s
    whole = None if generated_s is None else min(1.0, generated_s)

    def share(seconds: float) -> float:
        return 1.0 if generated_s is not None and seconds >= generated_s - 0.001 else 0.0

    return evolve(
        turn,
        number=_LATEST,
        phrases=tuple(_phrase(phrase) for phrase in turn.phrases[-1:]),
        calls=_uses(turn.calls),
        generated_s=whole,
        paused_at=_known(turn.paused_at),
        resumed_at=None,
        nodded=None if turn.nodded is None else _NO_MARKS,
        played_s=share(turn.played_s),
        reported_at=_known(turn.reported_at),
        paced_s=share(turn.paced_s),
        tokens=(),
        marks=_NO_MARKS,
    )


def _phrase(phrase: SpokenPhrase) -> SpokenPhrase:
    spoken = phrase.end_s is not None
    return SpokenPhrase(text="It is late, ", start_s=0.0 if spoken else None, end_s=1.0 if spoken else None)


def _uses(uses: tuple[ToolUse, ...]) -> tuple[ToolUse, ...]:
    return tuple(sorted((evolve(use, due=0.0) for use in uses), key=lambda use: use.call)) if uses else ()


def _held(held: Speculation, utterances: dict[int, int]) -> Speculation:
    # What was asked before is left out of the request as it is left out of the history: the words so far are the last word.
    (last,) = held.request.messages[-1:]
    words = evolve(last, content=last.content.split()[-1])
    return evolve(
        held,
        utterance=utterances.get(held.utterance, held.utterance),
        turn=_turn(held.turn),
        started=0.0,
        finished=_known(held.finished),
        request=evolve(held.request, turn=_LATEST, messages=(words,)),
    )


def key(form: Conversation) -> Conversation:
    """What tells normal forms apart: of the settings only those that can change count, which makes it three times as quick."""
    s = form.settings
    settings: Any = (s.input, s.output, s.turn_detection, s.auto_answer, s.mute, s.barge_in)
    return evolve(form, settings=settings)


def _concrete(form: Conversation) -> Iterator[Conversation]:
    """Conversations that have this normal form, as different as a decision can see."""
    turn = form.turn
    if turn is None or turn.nodded is None:
        yield form
        return
    for asked in (-_AGES_S, _AGES_S):  # The user has nodded long ago, or is just doing so.
        yield evolve(form, turn=evolve(turn, nodded=evolve(turn.nodded, asked=asked)))


# --- The walk -------------------------------------------------------------------------------------------------------------


@attrs.define
class Explored:
    """What a walk has found."""

    found: dict[Conversation, Conversation] = attrs.field(factory=dict)
    """Every normal form, by its key."""
    seen: set[tuple[State, State]] = attrs.field(factory=set)
    """Transitions that conversations made, by themselves or on the way within one step."""
    steps: int = 0
    whole: bool = False
    """There is no other normal form."""

    @property
    def regions(self) -> set[tuple[State, Floor]]:
        return {(c.state, c.floor) for c in self.found.values()}


def transitions(before: State, after: State, commands: Iterable[Command]) -> list[tuple[State, State]]:
    """The states that one step went through, as the client is told; nothing else may have changed the state."""
    told = [each.notice for each in commands if isinstance(each, Notify) and isinstance(each.notice, StateChanged)]
    now = before
    for change in told:
        assert change.old is now, f"{change} while in {now}"
        now = change.new
    assert now is after, f"{after} was entered untold"
    return [(change.old, change.new) for change in told]


def explore(world: World, most: int) -> Explored:
    """Every normal form that can be reached, up to a number of them."""
    start, _, seen = world.begin()
    start = world.normal(start)
    result = Explored(found={key(start): start}, seen=set(seen))
    queue = deque([start])
    while queue and len(result.found) <= most:
        for before in _concrete(queue.popleft()):
            for event in _next(world, before):
                after, commands = step(before, event)
                result.steps += 1
                if _is_as_it_was(before, after):
                    continue
                result.seen.update(transitions(before.state, after.state, commands))
                if not world.has(after):
                    continue
                form = world.normal(after)
                if (known := key(form)) not in result.found:
                    check_value(after)
                    result.found[known] = form
                    queue.append(form)
    result.whole = not queue
    return result


def _is_as_it_was(before: Conversation, after: Conversation) -> bool:
    """Nothing has changed but the count of late facts: that is told by the fields' identities, ten times as quickly."""
    was = before.__dict__
    return all(value is was[name] or name == "stale" for name, value in after.__dict__.items())


def _next(world: World, c: Conversation) -> Iterator[ev.Event]:
    for wait, name in _NAMES:
        due = getattr(c.deadlines, name)
        if due is not None:
            yield ev.DeadlinePassed(at=due, wait=wait)
    for event in world.offers(c):
        yield evolve(event, at=0.01)
        if isinstance(event, ev.SpeechStarted):  # While the agent's echo may come back, and when it cannot any more.
            yield evolve(event, at=_AGES_S)


def stroll(world: World, seed: int, moves: int) -> Iterator[Conversation]:
    """A real run: real times and numbers, deadlines as they come."""
    rng = random.Random(seed)
    c, now, _ = world.begin()
    yield c
    for _ in range(moves):
        now += rng.choice((0.01, 0.01, 0.1, 0.7, 3.0, 50.0))
        for passed in pass_time(c, until=now):
            c = passed.after
            if not world.has(c):
                return
            yield c
        events = world.offers(c)
        event = events[0] if rng.random() < 0.4 else rng.choice(events)
        c, _ = step(c, evolve(event, at=now))
        if not world.has(c):
            return
        yield c
