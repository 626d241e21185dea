"""Stateful property tests to inherit from: one over ``step``, one over whole sessions.

    class MyRules(ConversationMachine):
        def choose(self) -> SearchStrategy[Settings]:
            return st.builds(Settings, barge_in=st.just(BargeIn.OFF))

        @invariant()
        def nobody_is_interrupted(self) -> None:
            assert not any(item.interrupted for item in self.conversation.history if isinstance(item, AgentSaid))

    TestMyRules = MyRules.TestCase

What every machine checks is in ``invariants``; yours come on top.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import Command
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import State
from flare_actors.conversation.step import fold, step
from flare_actors.journal import conversation_from_json, conversation_to_json, event_from_json, event_to_json
from flare_actors.testing import strategies
from flare_actors.testing.faults import Act, At, Fault
from flare_actors.testing.invariants import ConversationChecker, check_value
from flare_actors.testing.scenes import Scene, scenes
from flare_actors.testing.simulation import CHANGES, MOVES, Move, Script, play

__all__ = ["ConversationMachine", "SessionMachine"]

_LONG = 40
"""So much happens before a session is ended: nothing more can happen to it then."""


class ConversationMachine(RuleBasedStateMachine):
    """Whatever happens, in any order: ``step`` keeps every promise.

    Subclass it for settings (``choose``) and rules of your own; ``happens``, ``passes`` and ``took`` are there for the latter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        """Where it stands."""
        self.now = 0.0
        """Seconds since the session's start."""
        self.journal: list[ev.Event] = []
        """Everything that happened."""
        self._settings = Settings()
        self._checker = ConversationChecker()

    def choose(self) -> st.SearchStrategy[Settings]:
        """The settings that are tried."""
        return strategies.settings()

    @initialize(data=st.data(), joined=st.booleans())
    def begin(self, data: st.DataObject, joined: bool) -> None:  # noqa: FBT001 - Hypothesis passes it by name
        """A session, which mostly somebody has joined and started."""
        self._settings = data.draw(self.choose())
        self._begin(joined=joined)

    def _begin(self, *, joined: bool) -> None:
        self.conversation, self.now, self.journal = Conversation(settings=self._settings), 0.0, []
        self._checker = ConversationChecker()
        if joined:
            for event in (
                ev.ClientAttached(),
                ev.ConversationStartRequested(),
                ev.ListenerOpened(),
                ev.RecognizerReady(partials=True),
            ):
                self.happens(event)

    @rule(move=strategies.moves())
    def something_happens(self, move: strategies.Move) -> None:
        """To the point, late, early, twice or nonsense."""
        self.happens(move.resolve(self.conversation))

    @rule(scene=scenes("answers"))
    def the_agent_answers(self, scene: Scene) -> None:
        """To the end, or it is asked for another answer, or told what was heard of it."""
        self.play(scene)

    @rule(scene=scenes("tools"))
    def tools_are_called(self, scene: Scene) -> None:
        """The agent's or the client's, in a turn or in the background, in time or late."""
        self.play(scene)

    @rule(scene=scenes("hearing"))
    def the_user_speaks(self, scene: Scene) -> None:
        """Into a silence or over the agent, to be understood or not."""
        self.play(scene)

    @rule(scene=scenes("failures"))
    def something_fails(self, scene: Scene) -> None:
        """Or does not come."""
        self.play(scene)

    @rule(scene=scenes("changes"))
    def something_changes(self, scene: Scene) -> None:
        """The client comes and goes, the conversation is another one, settings change."""
        self.play(scene)

    @precondition(lambda self: len(self.journal) > _LONG and self.conversation.state is not State.ENDED)
    @rule(scene=scenes("endings"))
    def it_comes_to_an_end(self, scene: Scene) -> None:
        """As sessions do; not before something has happened in it."""
        self.play(scene)

    @precondition(lambda self: self.conversation.state is State.ENDED)
    @rule()
    def another_session_begins(self) -> None:
        """With the same settings."""
        self.teardown()
        self._begin(joined=True)

    @rule(seconds=st.sampled_from((0.1, 0.3, 1.0, 10.0, 60.0, 400.0)))
    def time_passes(self, seconds: float) -> None:
        """And with it the deadlines."""
        self.passes(seconds)

    def play(self, scene: Scene) -> None:
        """Let all of a scene happen."""
        for each in scene:
            if isinstance(each, float):
                self.passes(each)
            else:
                self.happens(strategies.Move(each).resolve(self.conversation))

    def happens(self, event: ev.Event) -> tuple[Command, ...]:
        """Let an event happen now; gives what is to be done."""
        stamped = attrs.evolve(event, at=self.now)
        before = self.conversation
        self.conversation, commands = step(before, stamped)
        self.took(before, stamped, commands)
        return commands

    def passes(self, seconds: float) -> None:
        """Let time pass, and with it the deadlines."""
        self.now += seconds
        for each in strategies.pass_time(self.conversation, until=self.now):
            self.conversation = each.after
            self.took(each.before, each.event, each.commands)

    def took(self, before: Conversation, event: ev.Event, commands: tuple[Command, ...]) -> None:
        """After each step, with what it led from; ``conversation`` is what it led to. Extend it to see every one."""
        self.journal.append(event)
        self._checker.check(before, event, self.conversation, commands)

    @invariant()
    def what_must_be_true_between_steps_is(self) -> None:
        """The value itself is consistent."""
        check_value(self.conversation)

    def teardown(self) -> None:
        """Wherever it was left: its events alone, through JSON, give it again, and left alone it comes to rest."""
        assert conversation_from_json(conversation_to_json(self.conversation)) == self.conversation
        events = [event_from_json(event_to_json(event)) for event in self.journal]
        assert fold(Conversation(settings=self._settings), events) == self.conversation
        self._comes_to_rest()

    def _comes_to_rest(self) -> None:
        """With nobody doing anything, deadlines alone lead to rest: nobody is waited for without end."""
        conversation = self.conversation
        for each in strategies.pass_time(conversation, until=self.now + 3_000.0):
            conversation = each.after
        resting = {State.LISTENING, State.IDLE, State.ENDED}
        initializing = conversation.state is State.INITIALIZING and not conversation.attached
        assert conversation.state in resting or initializing, f"stuck in {conversation.state}"


_STREAM_FAULTS = st.builds(
    Fault,
    at=st.sampled_from((At.CONNECT, At.FIRST, At.MIDDLE, At.END, At.CLOSE)),
    act=st.sampled_from((Act.HANG, Act.RAISE, Act.CRASH, Act.CRASH_GROUP, Act.SLOW, Act.STUBBORN)),
    after=st.integers(1, 4),
    seconds=st.sampled_from((0.1, 1.0, 5.0)),
)


class SessionMachine(RuleBasedStateMachine):
    """A whole session, with real actors on virtual time: rules write a script, which is played at the end.

    The run is the simulator's (``flare_actors.testing.simulation``), so a failure is deterministic, and small.
    """

    settings: ClassVar[dict[str, Any]] = {
        "welcome": None,
        "apology": None,
        "soft_endpoint_s": 0.2,
        "output": "audio",
        "barge_in": "guarded",
        "stt_mode": "streaming",
    }
    """Choices of ``Settings``; a subclass may have others."""
    chosen: ClassVar[dict[str, tuple[Any, ...]]] = {
        "turn_detection": ("automatic", "automatic", "manual"),
        "input": ("audio", "audio", "audio", "text"),
        "mute": ("never", "never", "welcome", "speaking", "tools"),
        "auto_answer": (True, True, False),
        "false_interruption_s": (1.0, 0.0),
        "idle_prompts": ([], ["Are you there?"]),
    }
    """... of which one is drawn for each session."""

    def __init__(self) -> None:
        super().__init__()
        self._moves: list[Move] = []
        self._faults: dict[str, list[Fault | None]] = {"stt": [], "llm": [], "tts": []}
        self._script = Script(seed=0, number=0, settings=self.settings, client="silent", faults={}, moves=())

    @initialize(client=st.sampled_from(("honest", "silent", "liar")), pauses=st.booleans(), data=st.data())
    def somebody_joins(self, client: str, pauses: bool, data: st.DataObject) -> None:  # noqa: FBT001 - by name
        """A client that reports what it played, that does not, or that lies; it can stand still, or not."""
        drawn = {name: data.draw(st.sampled_from(values), label=name) for name, values in self.chosen.items()}
        self._script = attrs.evolve(self._script, client=client, pauses=pauses, settings=drawn | self.settings)

    @rule(
        kind=st.sampled_from([kind for kind in MOVES if kind != "wait"]),
        amount=st.sampled_from((0.1, 0.4, 1.0)),
        after=st.sampled_from((0.0, 0.05, 0.5)),
    )
    def the_client_moves(self, kind: str, amount: float, after: float) -> None:
        """One thing that a client does."""
        self._moves.append(Move(kind=kind, amount=amount, after=after))

    @rule(dice=st.integers(0, len(CHANGES) - 1))
    def a_setting_changes(self, dice: int) -> None:
        """Any of them, at once."""
        self._moves.append(Move(kind="settings", amount=dice / 1000))

    @rule(seconds=st.sampled_from((2.0, 10.0, 100.0)))
    def nothing_happens(self, seconds: float) -> None:
        """Time passes: the user is silent, or holds a button."""
        self._moves.append(Move(kind="wait", amount=seconds))

    @rule(stage=st.sampled_from(("stt", "llm", "tts")), fault=st.none() | _STREAM_FAULTS)
    def an_engine_will_fail(self, stage: str, fault: Fault | None) -> None:
        """The next stream of an engine, not yet planned, is to fail, or not."""
        self._faults[stage].append(fault)

    def teardown(self) -> None:
        """Play it: nothing may be stuck, leak, or break a promise."""
        faults = {stage: tuple(plan) for stage, plan in self._faults.items()}
        outcome = play(attrs.evolve(self._script, faults=faults, moves=tuple(self._moves)))
        assert not outcome.violation, outcome.violation
