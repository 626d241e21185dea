"""The stateful machines: as they come, as users extend them, and red where a promise is broken."""

from __future__ import annotations

from typing import get_args

import attrs
import hypothesis.strategies as st
import planted_bugs
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from flare_actors.conversation.commands import Command, Notify, StartStt
from flare_actors.conversation.events import DeadlinePassed, Event
from flare_actors.conversation.history import AgentSaid
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import Notice, ResponseTextDelta, ResponseTextDone, SessionStarted
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Output, Wait
from flare_actors.testing.machines import ConversationMachine, SessionMachine
from flare_actors.testing.scenes import SCENES

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

TestConversation = ConversationMachine.TestCase
TestConversation.settings = settings(stateful_step_count=60)


class TestSession(SessionMachine.TestCase):
    settings = settings(max_examples=40, stateful_step_count=12, deadline=None)


class Subtitles(ConversationMachine):
    """Somebody's own settings and invariant."""

    def choose(self) -> st.SearchStrategy[Settings]:
        return st.builds(Settings, output=st.just(Output.TEXT), barge_in=st.sampled_from(BargeIn))

    @invariant()
    def nothing_is_played(self) -> None:
        assert not any(
            item.interrupted and not item.text for item in self.conversation.history[:-8] if isinstance(item, AgentSaid)
        )


class TestSubtitles(Subtitles.TestCase):
    settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


class Watched(ConversationMachine):
    """Notes what has happened that was not too late, what was to be done, and what was told."""

    def __init__(self, chosen: Settings) -> None:
        super().__init__()
        self.reached: set[object] = set()
        self._settings = chosen
        self._begin(joined=True)

    def took(self, before: Conversation, event: Event, commands: tuple[Command, ...]) -> None:
        super().took(before, event, commands)
        if commands or attrs.evolve(self.conversation, stale=before.stale) != before:
            self.reached.add(event.wait if isinstance(event, DeadlinePassed) else type(event))
        for command in commands:
            self.reached.add(type(command.notice) if isinstance(command, Notify) else type(command))
            if isinstance(command, StartStt) and command.retry:
                self.reached.add("a retry")


_TOLD_BY_OTHERS = {
    SessionStarted: "by the session, to each link that is attached",
    ResponseTextDelta: "by the reply, as it is written",
    ResponseTextDone: "by the reply, when it is written",
}
"""Notices that are no decision of the core's, and who tells them."""
_EVERYTHING = (
    {"a retry", *Wait, *get_args(Event), *get_args(Command), *get_args(Notice)}
    - {DeadlinePassed, Notify}  # Named by what is waited for, and by what is told.
    - _TOLD_BY_OTHERS.keys()
)


def test_the_scenes_of_the_machine_reach_every_event_deadline_command_and_notice() -> None:
    reached: set[object] = set()
    for chosen in (Settings(), Settings(session_max_s=45.0)):
        for scene in (scene for those in SCENES.values() for scene in those.values()):
            machine = Watched(chosen)
            machine.play(scene)
            machine.what_must_be_true_between_steps_is()
            machine.teardown()
            reached |= machine.reached
    never = sorted(getattr(each, "__name__", str(each)) for each in _EVERYTHING - reached)
    assert not never, f"no scene leads to {', '.join(never)}: write one that does (flare_actors/testing/scenes.py)"


_FIND = settings(max_examples=200, stateful_step_count=40, database=None, deadline=None, phases=[Phase.generate])
"""To find is enough: making a failure small takes longer than finding it."""


@pytest.mark.parametrize(
    "plant",
    [planted_bugs.unarmed_deadline, planted_bugs.two_replies],
    ids=lambda p: p.__name__,
)
def test_a_broken_core_turns_the_machine_red(plant: planted_bugs.Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, AttributeError, ExceptionGroup)):
        run_state_machine_as_test(
            ConversationMachine,
            settings=_FIND,
        )


def test_a_broken_shell_turns_the_session_machine_red(monkeypatch: pytest.MonkeyPatch) -> None:
    planted_bugs.double_end(monkeypatch)
    with pytest.raises(AssertionError, match="ended"):
        run_state_machine_as_test(SessionMachine, settings=settings(_FIND, stateful_step_count=10))
