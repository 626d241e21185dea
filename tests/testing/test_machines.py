"""The stateful machines: as they come, as users extend them, and red where a promise is broken."""

from __future__ import annotations

import hypothesis.strategies as st
import planted_bugs
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from flare_actors.conversation.history import AgentSaid
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Output
from flare_actors.testing.machines import ConversationMachine, SessionMachine

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
