"""The session's two queues: order, bounds, and what is taken back."""

from __future__ import annotations

from contextlib import ExitStack

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import given
from trio.testing import MockClock

from flare_actors.actors.channels import Clock, Inbox, Outbox
from flare_actors.conversation.events import CommitRequested, Event, InterruptRequested, SessionOverloaded, TextReceived
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    NothingHeard,
    ResponseTextDelta,
    ResponseTextDone,
    SessionEnded,
    TranscriptReceived,
)
from flare_actors.conversation.states import Reason
from flare_actors.ports import AudioOut


def connected(rate: int = 32_000) -> tuple[Outbox, int, list[str]]:
    overloads: list[str] = []
    outbox = Outbox(overloads.append)
    return outbox, outbox.connect(rate), overloads


def drained(outbox: Outbox) -> list[object]:
    found = []
    while (message := outbox.get_nowait()) is not None:
        found.append(message)
    return found


# --- The outbox ------------------------------------------------------------------------------------------------------------


def test_notices_and_audio_leave_in_the_order_in_which_they_came() -> None:
    outbox, _, _ = connected()
    outbox.open_turn(1)
    outbox.put(HearingReady())
    outbox.put_audio(1, b"aa")
    outbox.put(NothingHeard(utterance=1))
    outbox.put_audio(1, b"bb")
    assert drained(outbox) == [HearingReady(), AudioOut(1, b"aa"), NothingHeard(utterance=1), AudioOut(1, b"bb")]
    assert outbox.unsent_audio_bytes == 0


def test_what_is_paused_is_kept_back_and_notices_are_not() -> None:
    outbox, _, _ = connected()
    outbox.open_turn(1)
    outbox.put_audio(1, b"aa")
    outbox.put(HearingReady())
    outbox.pause(1)
    outbox.pause(1)
    outbox.put_audio(1, b"bb")
    outbox.put(NothingHeard(utterance=1))
    assert drained(outbox) == [HearingReady(), NothingHeard(utterance=1)]
    assert (len(outbox), outbox.unsent_audio_bytes) == (2, 4)
    outbox.put(NothingHeard(utterance=2))
    outbox.resume(1)
    assert drained(outbox) == [NothingHeard(utterance=2), AudioOut(1, b"aa"), AudioOut(1, b"bb")]
    assert outbox.unsent_audio_bytes == 0


@pytest.mark.parametrize("end", ["flush", "open", "disconnect"])
def test_what_is_paused_goes_with_its_turn(end: str) -> None:
    outbox, _, _ = connected()
    outbox.open_turn(1)
    outbox.put_audio(1, b"aa")
    outbox.pause(1)
    if end == "flush":
        outbox.flush(1)
    elif end == "open":
        outbox.open_turn(2)
    else:
        outbox.disconnect()
    outbox.resume(1)
    assert drained(outbox) == []
    assert outbox.unsent_audio_bytes == 0


def test_only_the_open_turn_can_be_paused() -> None:
    outbox, _, _ = connected()
    outbox.open_turn(2)
    outbox.pause(1)
    outbox.put_audio(2, b"aa")
    assert drained(outbox) == [AudioOut(2, b"aa")]


def test_pieces_of_text_that_follow_each_other_become_one_and_others_do_not() -> None:
    outbox, _, _ = connected()
    for text in ("One ", "two ", "three"):
        outbox.put_text(1, text)
    outbox.put_text(2, "other")
    outbox.put(ResponseTextDone(turn=2, text="other"))
    outbox.put_text(2, "late")
    assert drained(outbox) == [
        ResponseTextDelta(turn=1, text="One two three"),
        ResponseTextDelta(turn=2, text="other"),
        ResponseTextDone(turn=2, text="other"),
        ResponseTextDelta(turn=2, text="late"),
    ]


def test_a_newer_partial_transcript_replaces_one_that_has_not_left() -> None:
    outbox, _, _ = connected()
    for text, final in (("one", False), ("one two", False), ("one two three", True), ("late", False)):
        outbox.put(TranscriptReceived(utterance=1, text=text, final=final))
    outbox.put(TranscriptReceived(utterance=2, text="next", final=False))
    assert [m.text for m in drained(outbox)] == ["one two three", "late", "next"]


def test_a_flush_takes_back_all_of_a_turn_and_nothing_else() -> None:
    outbox, _, _ = connected()
    outbox.open_turn(1)
    outbox.put_audio(1, b"aa")
    outbox.put(HearingReady())
    outbox.put_audio(1, b"bbbb")
    outbox.flush(1)
    assert outbox.unsent_audio_bytes == 0
    outbox.put_audio(1, b"too late")
    assert drained(outbox) == [HearingReady()]


def test_audio_of_a_turn_that_is_not_open_is_refused_at_both_ends() -> None:
    outbox, _, _ = connected()
    left: list[int] = []
    outbox.on_audio_left = left.append
    outbox.open_turn(1)
    outbox.put_audio(1, b"aa")
    outbox.put_audio(2, b"bb")
    outbox.open_turn(2)  # The last of turn 1 had not left.
    assert drained(outbox) == []
    assert left == []
    assert outbox.unsent_audio_bytes == 0


def test_without_a_link_nothing_is_kept() -> None:
    outbox, _, overloads = connected()
    outbox.open_turn(1)
    outbox.put_audio(1, b"aa")
    outbox.disconnect()
    outbox.put_audio(1, b"bb")
    for _ in range(2000):
        outbox.put(HearingReady())
    assert len(outbox) == 0
    assert not outbox.congested
    assert overloads == []


def test_too_many_notices_are_an_overload_told_once_and_the_last_words_still_fit() -> None:
    outbox, _, overloads = connected()
    for number in range(outbox.NOTICES + 100):
        outbox.put(NothingHeard(utterance=number))
    assert overloads == ["outbox"]
    assert len(outbox) == outbox.NOTICES
    outbox.put(ErrorRaised(code="overloaded", message="", recoverable=False))
    outbox.put(SessionEnded(reason=Reason.OVERLOADED))
    assert drained(outbox)[-1] == SessionEnded(reason=Reason.OVERLOADED)


def test_complaints_do_not_take_the_room_of_the_last_words() -> None:
    outbox, _, overloads = connected()
    for number in range(outbox.NOTICES + 100):
        outbox.put(ErrorRaised(code=str(number), message="", recoverable=True))
    assert overloads == ["outbox"]
    assert len(outbox) == outbox.NOTICES
    outbox.put(ErrorRaised(code="overloaded", message="", recoverable=False))
    outbox.put(SessionEnded(reason=Reason.OVERLOADED))
    assert drained(outbox)[-1] == SessionEnded(reason=Reason.OVERLOADED)
    for number in range(outbox.NOTICES + 100):
        outbox.put(ErrorRaised(code=str(number), message="", recoverable=False))
    assert len(outbox) == outbox.NOTICES + outbox.LAST_WORDS


def test_audio_has_a_bound_of_its_own() -> None:
    outbox, _, _ = connected(rate=1000)
    outbox.open_turn(1)
    for _ in range(9):
        outbox.put_audio(1, bytes(100))
        assert not outbox.congested
    outbox.put_audio(1, bytes(100))
    assert outbox.congested
    outbox.get_nowait()
    assert not outbox.congested


async def test_a_reader_that_was_superseded_gets_nothing_more() -> None:
    outbox, old, _ = connected()
    got: dict[str, object] = {}

    async def read(name: str, connection: int) -> None:
        got[name] = await outbox.get(connection)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "old", old)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put(HearingReady())  # It is woken by this, and superseded before it runs.
        new = outbox.connect(32_000)
        outbox.put(NothingHeard(utterance=1))
        nursery.start_soon(read, "new", new)
    assert got == {"old": [], "new": [NothingHeard(utterance=1)]}


async def test_a_closed_outbox_gives_what_is_in_and_then_the_end() -> None:
    outbox, connection, _ = connected()
    outbox.put(HearingReady())
    outbox.close()
    outbox.put(HearingReady())
    assert await outbox.get(connection) == [HearingReady()]
    assert await outbox.get(connection) == []


async def test_what_waits_is_handed_over_at_once_up_to_the_first_audio() -> None:
    outbox, connection, _ = connected()
    outbox.open_turn(1)
    outbox.put(HearingReady())
    outbox.put_text(1, "Well, ")
    outbox.put_audio(1, bytes(2))
    outbox.put_text(1, "yes.")
    outbox.put_audio(1, bytes(4))
    first, second = ResponseTextDelta(turn=1, text="Well, "), ResponseTextDelta(turn=1, text="yes.")
    assert await outbox.get(connection) == [HearingReady(), first, AudioOut(1, bytes(2))]
    outbox.flush(1)
    assert await outbox.get(connection) == [second], "what comes after it can be taken back"


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("audio"), st.integers(1, 3)),
            st.tuples(st.just("open"), st.integers(1, 3)),
            st.tuples(st.just("flush"), st.integers(1, 3)),
            st.tuples(st.just("notice"), st.just(0)),
            st.tuples(st.just("get"), st.just(0)),
            st.tuples(st.just("connect"), st.just(0)),
        )
    )
)
def test_whatever_is_asked_of_it_the_outbox_counts_right_and_gives_no_closed_turn(
    actions: list[tuple[str, int]],
) -> None:
    outbox, _, _ = connected()
    left: list[int] = []
    outbox.on_audio_left = left.append
    turn, given_out = 0, 0
    for action, number in actions:
        match action:
            case "audio":
                outbox.put_audio(number, bytes(2 * number))
            case "open":
                outbox.open_turn(turn := number)
            case "flush":
                outbox.flush(number)
                turn = 0 if turn == number else turn
            case "notice":
                outbox.put(HearingReady())
            case "get":
                message = outbox.get_nowait()
                if isinstance(message, AudioOut):
                    assert message.turn == turn
                    given_out += len(message.pcm)
            case _:
                outbox.connect(32_000)
                turn = 0
        waiting = [m for m in outbox._queue if isinstance(m, AudioOut)]
        assert outbox.unsent_audio_bytes == sum(len(m.pcm) for m in waiting)
        assert outbox._notices == len(outbox) - len(waiting)
        assert sum(left) == given_out


# --- The inbox --------------------------------------------------------------------------------------------------------------


async def test_events_are_stamped_as_they_enter_and_leave_in_order(autojump_clock: MockClock) -> None:
    inbox = Inbox(Clock())
    inbox.put(CommitRequested())
    await trio.sleep(1.5)
    inbox.put(InterruptRequested())
    assert inbox.get_nowait() == CommitRequested(at=0.0)
    assert await inbox.get() == InterruptRequested(at=1.5)
    assert inbox.get_nowait() is None


async def test_a_session_that_goes_on_continues_its_time(autojump_clock: MockClock) -> None:
    clock = Clock(100.0)
    await trio.sleep(2)
    assert clock.now() == pytest.approx(102)
    assert clock.trio_time(105) == pytest.approx(trio.current_time() + 3)


async def test_a_full_inbox_tells_it_before_anything_else_and_never_raises(autojump_clock: MockClock) -> None:
    inbox = Inbox(Clock())
    for _ in range(inbox.SIZE + 10):
        inbox.put(CommitRequested())
    assert len(inbox) == inbox.SIZE
    assert inbox.get_nowait() == SessionOverloaded(queue="inbox")
    assert inbox.get_nowait() == CommitRequested()


async def test_another_queues_overload_wakes_the_reader_and_is_named(autojump_clock: MockClock) -> None:
    inbox = Inbox(Clock())
    got: list[object] = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            got.append(await inbox.get())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        inbox.overload("outbox")
    assert got == [SessionOverloaded(queue="outbox")]


async def test_a_cancelled_read_loses_no_event(autojump_clock: MockClock) -> None:
    inbox = Inbox(Clock())
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:

            async def put_and_cancel() -> None:
                inbox.put(TextReceived(text="not lost"))
                scope.cancel()

            nursery.start_soon(put_and_cancel)
            event = None
            event = await inbox.get()
        assert event is not None or inbox.get_nowait() is not None


# --- Events that can wait -----------------------------------------------------------------------------------------------------


def texts(events: list[Event | None]) -> list[str]:
    return [event.text for event in events if isinstance(event, TextReceived)]


@pytest.mark.parametrize("ends", [True, False])
async def test_in_quiet_a_patient_event_wakes_nobody_until_its_end_or_another_event(
    autojump_clock: MockClock, ends: bool
) -> None:
    inbox = Inbox(Clock())
    taken: list[Event | None] = []

    async def take() -> None:
        while True:
            taken.append(inbox.get_nowait() or await inbox.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        with inbox.quiet():
            with inbox.quiet():
                inbox.put_patiently(TextReceived(text="a"))
                await trio.sleep(1)
            await trio.sleep(1)
            assert taken == []
            assert len(inbox) == 1
            if not ends:
                inbox.put(TextReceived(text="b"))
                await trio.testing.wait_all_tasks_blocked()
                assert texts(taken) == ["a", "b"]
        await trio.testing.wait_all_tasks_blocked()
        assert taken[0] == TextReceived(at=0.0, text="a"), "stamped when it came"
        inbox.put_patiently(TextReceived(text="c"))  # Nothing is quiet: as any other.
        await trio.testing.wait_all_tasks_blocked()
        assert texts(taken)[-1] == "c"
        nursery.cancel_scope.cancel()
    assert len(inbox) == 0


async def test_what_waited_in_quiet_comes_in_though_that_was_cancelled(autojump_clock: MockClock) -> None:
    inbox = Inbox(Clock())
    with trio.move_on_after(1), inbox.quiet():
        inbox.put_patiently(TextReceived(text="a"))
        await trio.sleep_forever()
    assert await inbox.get() == TextReceived(at=0.0, text="a")


@given(puts=st.lists(st.sampled_from(["put", "patiently", "quiet", "end", "take"]), max_size=400))
def test_patient_or_not_events_come_out_in_order_and_none_is_lost_but_by_an_overload(puts: list[str]) -> None:
    async def main() -> None:
        inbox = Inbox(Clock())
        taken: list[Event] = []
        sent = 0
        with ExitStack() as stack:
            for what in puts:
                if what == "quiet":
                    stack.enter_context(inbox.quiet())
                elif what == "end":
                    stack.pop_all().close()
                elif what == "take":
                    taken += [event] if (event := inbox.get_nowait()) is not None else []
                else:
                    (inbox.put if what == "put" else inbox.put_patiently)(TextReceived(text=str(sent)))
                    sent += 1
        full = inbox._overloaded is not None
        assert full or len(inbox) == sent - len(texts(taken))
        taken += iter(inbox.get_nowait, None)
        told = texts(taken)
        if full or any(isinstance(event, SessionOverloaded) for event in taken):
            assert sent > Inbox.SIZE
            assert told == sorted(told, key=int)
        else:
            assert told == [str(number) for number in range(sent)]

    trio.run(main, clock=MockClock())
