"""The tables are whole, as the design has them, and the picture is drawn from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flare_actors.conversation.diagram import dot, mermaid
from flare_actors.conversation.model import Deadlines
from flare_actors.conversation.states import Mute, State, TurnKind, Wait
from flare_actors.conversation.table import (
    ACTIVE,
    MUTED,
    ON_SPEECH,
    PLAYING,
    PLAYING_STATE,
    PREPARING_STATE,
    TRANSITIONS,
    IllegalTransition,
    OnSpeech,
    check_transition,
)

DESIGN = {
    "idle": "initializing ended",
    "initializing": "preparing_welcome listening error idle ended",
    "preparing_welcome": "playing_welcome listening error idle ended",
    "playing_welcome": "listening error idle ended",
    "listening": "processing_speech preparing_response error idle ended",
    "processing_speech": "preparing_response listening error idle ended",
    "preparing_response": "playing_response listening error idle ended",
    "playing_response": "listening error idle ended",
    "error": "listening idle ended",
    "ended": "",
}


def test_the_ten_states_keep_their_names_and_may_follow_each_other_as_designed() -> None:
    assert {old.value: {new.value for new in TRANSITIONS[old]} for old in State} == {
        old: set(new.split()) for old, new in DESIGN.items()
    }


@pytest.mark.parametrize("old", list(State))
@pytest.mark.parametrize("new", list(State))
def test_what_the_table_does_not_have_is_refused(old: State, new: State) -> None:
    if new in TRANSITIONS[old]:
        check_transition(old, new)
    else:
        with pytest.raises(IllegalTransition, match=f"{old.name} -> {new.name}"):
            check_transition(old, new)


def test_every_cell_of_the_joint_table_is_written() -> None:
    assert set(ON_SPEECH) == set(State)
    assert set(PREPARING_STATE) == set(PLAYING_STATE) == set(TurnKind)
    assert all(PLAYING_STATE[kind] in TRANSITIONS[PREPARING_STATE[kind]] for kind in TurnKind)


def test_confirmed_speech_does_in_each_state_what_the_design_says() -> None:
    ignored = {State.IDLE, State.ERROR, State.ENDED}
    withdrawn = {State.PROCESSING_SPEECH, State.PREPARING_RESPONSE}
    interrupted = {State.PREPARING_WELCOME, State.PLAYING_WELCOME, State.PLAYING_RESPONSE}
    for state, action in ON_SPEECH.items():
        assert (action is OnSpeech.IGNORE) == (state in ignored)
        assert (action is OnSpeech.WITHDRAW) == (state in withdrawn)
        assert (action is OnSpeech.BARGE_IN) == (state in interrupted)
    assert frozenset({State.PLAYING_WELCOME, State.PLAYING_RESPONSE}) == PLAYING
    assert frozenset(State) - {State.IDLE, State.ENDED} == ACTIVE


def test_the_user_is_not_heard_in_the_states_that_each_choice_names() -> None:
    assert {
        Mute.NEVER: set(),
        Mute.WELCOME: {State.INITIALIZING, State.PREPARING_WELCOME, State.PLAYING_WELCOME},
        Mute.SPEAKING: {State.PLAYING_WELCOME, State.PLAYING_RESPONSE},
        Mute.TOOLS: set(),
        Mute.ALWAYS: set(State) - {State.IDLE, State.ENDED},
    } == MUTED


def test_a_welcome_has_states_of_its_own() -> None:
    for kind in TurnKind:
        welcome = kind is TurnKind.WELCOME
        assert PREPARING_STATE[kind] is (State.PREPARING_WELCOME if welcome else State.PREPARING_RESPONSE)
        assert PLAYING_STATE[kind] is (State.PLAYING_WELCOME if welcome else State.PLAYING_RESPONSE)


def test_the_tables_cannot_be_changed_by_whoever_imports_them() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.ENDED] = frozenset({State.IDLE})  # type: ignore[index]


def test_a_conversation_can_be_ended_from_every_active_state_and_only_the_end_is_final() -> None:
    assert all({State.IDLE, State.ENDED} <= TRANSITIONS[state] for state in ACTIVE)
    assert [state for state in State if not TRANSITIONS[state]] == [State.ENDED]


def test_every_edge_of_the_table_is_in_the_diagram_and_no_other() -> None:
    edges = {(old.value, new.value) for old in State for new in TRANSITIONS[old]}
    drawn = {(a, b) for a, b in re.findall(r"^ +(\w+) --> (\w+)$", mermaid(), re.MULTILINE)}
    assert drawn == edges
    assert f"[*] --> {State.IDLE.value}" in mermaid()
    assert f"{State.ENDED.value} --> [*]" in mermaid()
    assert set(re.findall(r"^ +(\w+) -> (\w+);$", dot(), re.MULTILINE)) == edges
    assert re.fullmatch(
        r"digraph conversation \{\n    rankdir=TB;\n    node \[.*\];\n(    \w+;\n){10}(    \w+ -> \w+;\n)+\}\n", dot()
    )
    assert mermaid().endswith(" --> [*]\n")


def test_the_design_page_shows_the_diagram_of_the_table_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "design.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("<!-- diagram: begin")
    shown = rest.partition("-->\n")[2].partition("<!-- diagram: end -->")[0]
    assert shown.strip() == f"```mermaid\n{mermaid()}```", "run: python .ci/update_docs.py"
    assert page.count("```mermaid") == 1


def test_the_picture_of_one_table_is_always_the_same() -> None:
    assert mermaid() == mermaid()
    assert dot() == dot()


def test_every_wait_is_a_deadline_and_ties_go_by_their_order() -> None:
    assert [wait.value for wait in Wait] == list(Deadlines.__annotations__)
    everything = Deadlines(**{wait.value: 5.0 for wait in Wait})
    assert everything.earliest() == (5.0, Wait.SESSION_IDLE)
    assert Deadlines(idle=3.0, grace=4.0).earliest() == (3.0, Wait.IDLE)
    assert Deadlines().earliest() is None
