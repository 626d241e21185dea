from __future__ import annotations

import pytest
from core_driver import Core

from flare_actors.conversation import Limits, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.items import AgentSaid, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.notices import ErrorRaised, ItemDeleted, ItemInserted, ItemShown, ItemTruncated
from flare_actors.conversation.states import Output, Wait


def insert(text: str, *, id: str = "", after: str | None = None) -> ev.ItemInsertRequested:  # noqa: A002
    return ev.ItemInsertRequested(item=UserSaid(id=id, text=text), after=after)


def ids(core: Core) -> list[str]:
    return [item.id for item in core.c.history]


def told(core: Core, kind: type) -> list:
    return [command.notice for command in core.done if isinstance(getattr(command, "notice", None), kind)]


def answered() -> Core:
    """One question and its answer of two seconds, heard to the end."""
    core = Core().starts()
    core.says("what time is it")
    core.writes("It is late. ", "Very late.")
    core.sounds(1.0, 1.0)
    core.is_generated(2.0)
    core.happens(ev.PlaybackFinished(turn=core.c.turns, played_s=2.0), after=2.0)
    assert core.c.state is State.LISTENING
    return core


def test_utterances_and_turns_name_their_items_and_a_client_may_name_its_own() -> None:
    core = answered()
    core.happens(
        insert("by the way", id="mine"), insert("and"), ev.ItemInsertRequested(item=Instructed(text="be brief"))
    )
    assert ids(core) == ["utterance_1", "turn_1", "mine", "item_1", "item_2"]
    assert [notice.after for notice in told(core, ItemInserted)] == ["turn_1", "mine", "item_1"]


def test_an_item_goes_where_the_client_wants_it() -> None:
    core = answered()
    core.happens(insert("first", id="a", after=""), insert("second", id="b", after="utterance_1"))
    assert ids(core) == ["a", "utterance_1", "b", "turn_1"]
    assert [notice.after for notice in told(core, ItemInserted)] == [None, "utterance_1"]


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (insert("x", after="nobody"), "item_not_found", "after"),
        (insert("x", id="turn_99"), "item_id_taken", "id"),
        (insert("x", id="utterance_1"), "item_id_taken", "id"),
        (insert("  "), "empty_text", "text"),
        (insert("x" * 8_001), "text_too_long", "text"),
        (ev.ItemDeleteRequested(item_id="nobody"), "item_not_found", "item_id"),
        (ev.ItemReadRequested(item_id="nobody"), "item_not_found", "item_id"),
        (ev.ItemTruncateRequested(item_id="nobody", end_s=1.0), "item_not_found", "item_id"),
        (ev.ItemTruncateRequested(item_id="utterance_1", end_s=1.0), "item_not_truncatable", "item_id"),
        (ev.ItemTruncateRequested(item_id="turn_1", end_s=2.5), "audio_too_short", "end_s"),
    ],
)
def test_what_cannot_be_done_is_said_by_the_request_s_own_name_and_changes_nothing(request_, code, field) -> None:
    import attrs

    core = answered()
    before = core.c.history
    core.happens(attrs.evolve(request_, request_id="r7"))
    error = told(core, ErrorRaised)[-1]
    assert (error.code, error.field, error.request_id) == (code, field, "r7")
    assert core.c.history == before


def test_without_a_conversation_nothing_is_put_in() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), insert("x"))
    assert told(core, ErrorRaised)[-1].code == "not_started"


def test_a_deleted_item_is_not_asked_about() -> None:
    core = answered()
    core.happens(ev.ItemDeleteRequested(item_id="utterance_1"), ev.ItemDeleteRequested(item_id="turn_1"))
    assert core.c.history == ()
    assert told(core, ItemDeleted)[-1] == ItemDeleted(item_id="turn_1")
    core.says("and now")
    assert [m.content for m in next(c for c in reversed(core.done) if isinstance(c, StartReply)).messages] == [
        "and now"
    ]


def test_what_was_said_a_moment_ago_is_gone_once_it_is_deleted() -> None:
    core = Core().starts()
    core.says("tell me")
    core.writes("One two three. ")
    core.sounds(1.0)
    core.happens(ev.InterruptRequested(), ev.ItemDeleteRequested(item_id="turn_1"))
    core.happens(ev.ItemReadRequested(item_id="turn_1"), ev.ItemDeleteRequested(item_id="turn_1"))
    assert [error.code for error in told(core, ErrorRaised)] == ["item_not_found", "item_not_found"]
    core.happens(ev.PlaybackStopped(turn=1, played_s=0.5))
    assert ids(core) == ["utterance_1"]


def test_what_is_being_said_cannot_be_deleted() -> None:
    core = Core().starts()
    core.says("tell me")
    core.happens(ev.ItemDeleteRequested(item_id="turn_1"))
    error = told(core, ErrorRaised)[-1]
    assert (error.code, error.field) == ("item_in_progress", "item_id")


def test_what_was_said_before_can_be_deleted_while_the_agent_speaks() -> None:
    core = Core().starts()
    core.says("tell me")
    core.happens(ev.ItemDeleteRequested(item_id="utterance_1"))
    assert told(core, ItemDeleted) == [ItemDeleted(item_id="utterance_1")]
    assert ids(core) == []


def test_reading_gives_what_was_heard() -> None:
    core = answered()
    core.happens(ev.ItemReadRequested(item_id="turn_1"))
    assert told(core, ItemShown) == [
        ItemShown(item=AgentSaid(turn=1, text="It is late. Very late.", audio_s=2.0)),
    ]


def test_cutting_what_was_said_keeps_whole_words_in_proportion() -> None:
    core = answered()
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=1.2))
    assert told(core, ItemTruncated) == [ItemTruncated(item_id="turn_1", end_s=1.2)]
    assert core.c.history[-1] == AgentSaid(turn=1, text="It is late.", interrupted=True, audio_s=1.2)


def test_cutting_what_is_being_said_stops_it_there() -> None:
    core = Core().starts()
    core.says("tell me")
    core.writes("One two three. ", "Four five six.")
    core.sounds(1.0, 1.0)
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=1.0))
    assert core.c.state is State.LISTENING
    core.happens(ev.PlaybackStopped(turn=1, played_s=1.4))
    assert core.c.history[-1].text == "One two three."
    core.happens(ev.ItemReadRequested(item_id="turn_1"), ev.ItemTruncateRequested(item_id="turn_1", end_s=0.0))
    assert core.c.history[-1].text == ""
    core.happens(ev.ItemReadRequested(item_id="turn_1"))
    assert told(core, ItemShown)[-1].item.text == ""


def test_what_was_only_written_has_no_seconds_to_be_cut_at() -> None:
    core = Core(output=Output.TEXT).starts()
    core.says("what time is it")
    core.writes("It is late.")
    core.is_generated(0.0)
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=0.5))
    assert core.errors == ["audio_too_short"]
    assert core.history[-1] == "agent: It is late."
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=0.0))
    assert core.c.history[-1].text == ""


def test_an_older_answer_is_cut_by_itself_while_the_latest_one_settles() -> None:
    core = answered()
    core.says("and now")
    core.is_answering("Later still. ")
    core.happens(ev.InterruptRequested(), ev.ItemTruncateRequested(item_id="turn_1", end_s=5.0))
    assert core.errors == ["audio_too_short"]
    core.happens(ev.ItemTruncateRequested(item_id="turn_2", end_s=1.0))
    assert core.errors == ["audio_too_short"], "of what is being settled the client knows best"
    core.stopped_at(2, 1.4)
    assert core.history[-1] == "agent: Later still."


def test_items_of_the_client_are_part_of_what_the_model_is_asked() -> None:
    core = Core().starts()
    core.happens(
        ev.ItemInsertRequested(item=Instructed(text="Speak like a pirate.")),
        insert("my name is Ada"),
        ev.ItemInsertRequested(item=AgentSaid(text="Aye, Ada.")),
    )
    core.says("who am I")
    request = next(command for command in core.done if isinstance(command, StartReply))
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Speak like a pirate."),
        ("user", "my name is Ada"),
        ("assistant", "Aye, Ada."),
        ("user", "who am I"),
    ]


def test_what_the_client_puts_in_is_of_no_turn() -> None:
    core = Core().starts()
    called = (
        ToolCalled(call="x1", name="tea", text="{}"),
        ToolReturned(call="x1", text="green"),
        AgentSaid(text="Tea."),
    )
    core.happens(*(ev.ItemInsertRequested(item=item) for item in called))
    assert [(type(item), item.turn) for item in core.c.history] == [(type(item), 0) for item in called]


def test_an_item_put_in_while_the_agent_speaks_comes_after_what_it_says() -> None:
    core = Core().starts()
    core.says("tell me")
    core.happens(insert("a note", id="note"))
    assert ids(core) == ["utterance_1", "turn_1", "note"]


def test_the_history_stays_bounded() -> None:
    core = Core(limits=Limits(history_items=2)).starts()
    core.happens(insert("a", id="a"), insert("b", id="b"), insert("c", id="c"))
    assert ids(core) == ["b", "c"]


def test_results_and_calls_of_one_name_are_bounded_as_others_are() -> None:
    core = Core(limits=Limits(history_items=2)).starts()
    called = [ToolCalled(id=f"call-{n}", call="x1", name="tea", text="{}") for n in range(3)]
    returned = [ToolReturned(id=f"result-{n}", call="x1", text="green") for n in range(3)]
    core.happens(*(ev.ItemInsertRequested(item=item) for item in (*called, *returned)))
    assert ids(core) == ["call-1", "call-2", "result-1", "result-2"]


def test_whether_a_silent_user_is_answered_once_more_hangs_on_what_the_history_has() -> None:
    core = Core(idle_answer=True, idle_prompt_s=10.0, idle_end_s=None).starts()
    core.passes(60.0)
    assert core.due(Wait.IDLE) is None
    core.happens(ev.ItemInsertRequested(item=AgentSaid(id="mine", text="Shall I go on?")))
    assert core.due(Wait.IDLE) == pytest.approx(10.0)
    core.passes(4.0)
    core.happens(ev.ItemDeleteRequested(item_id="mine"))
    assert core.due(Wait.IDLE) is None
    core.happens(ev.ItemInsertRequested(item=AgentSaid(text="Shall I?")))
    core.passes(10.0)
    assert core.state is State.PROCESSING_SPEECH
    core.happens(ev.ItemInsertRequested(item=UserSaid(text="a note")))
    assert core.due(Wait.IDLE) is None


def test_an_item_put_in_is_a_sign_of_life() -> None:
    core = Core(idle_prompts=("Hello?",), idle_prompt_s=10.0).starts()
    core.passes(10.0)
    core.answers("Hello?")
    core.passes(60.0)
    core.happens(insert("typed"))
    assert core.due(Wait.IDLE) == pytest.approx(10.0)
