"""How long a silence is waited for: each rule, the scale, and what the core tells the ear."""

from __future__ import annotations

import pytest
from core_driver import Core
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation import Settings
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import SetEndpoint, StartReply
from flare_actors.conversation.states import Endpointing, SttMode
from flare_actors.conversation.turn_end import (
    Ending,
    ends_in_comma,
    ends_in_filler,
    ends_in_number,
    ends_mid_phrase,
    ends_sentence,
    hinted,
    note_pause,
    own_pause_s,
    read_ending,
    wait_s,
)

ADAPTIVE = Settings(endpoint_min_s=0.3, endpoint_s=0.5, endpoint_max_s=1.1)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("", Ending.UNKNOWN),
        ("  ", Ending.UNKNOWN),
        ("What time is it?", Ending.FINISHED),
        ("Stop!", Ending.FINISHED),
        ("今何時ですか。", Ending.FINISHED),
        ("what time is it", Ending.UNKNOWN),
        ("No, not now,", Ending.OPEN),
        ("Well...", Ending.OPEN),
        ("...", Ending.OPEN),
        ("I would like to book a table, um.", Ending.HESITATING),
        ("What time does? Ah?", Ending.HESITATING),
        ("I think we should, you know.", Ending.HESITATING),
        ("It was Tuesday, I mean.", Ending.HESITATING),
        ("A table for four, let me see.", Ending.HESITATING),
        ("You know?", Ending.FINISHED),
        ("Please send the invoice to.", Ending.HESITATING),
        ("My name is Anna and", Ending.HESITATING),
        ("My order number is.", Ending.HESITATING),
        ("Yes, it is.", Ending.FINISHED),
        ("What time does?", Ending.HESITATING),
        ("What does?", Ending.HESITATING),
        ("Send to.", Ending.HESITATING),
        ("To.", Ending.FINISHED),
        ("?!", Ending.FINISHED),
        ("Yes, I do.", Ending.FINISHED),
        ("How do I?", Ending.HESITATING),
        ("I", Ending.UNKNOWN),
        ("Is", Ending.UNKNOWN),
        ("My number is four seven.", Ending.UNKNOWN),
        ("It was in 1984.", Ending.UNKNOWN),
    ],
)
def test_a_transcript_tells_by_its_end_whether_more_is_to_come(text: str, ending: Ending) -> None:
    assert read_ending(text) is ending


def test_words_of_one_language_mean_nothing_in_another() -> None:
    assert ends_mid_phrase("nach den", "de-DE") is False
    assert ends_in_filler("das ist äh", "de-DE")
    assert ends_in_filler("das ist äh", "de_DE")
    assert not ends_in_filler("das ist äh", "en-US")
    assert read_ending("Please send it to.", "tr_TR") is Ending.FINISHED


@pytest.mark.parametrize(
    ("text", "locale"), [("das ist ähm", "de"), ("c'est euh", "fr"), ("quiero este", "es"), ("bu şey", "tr")]
)
def test_each_language_hesitates_in_its_own_way(text: str, locale: str) -> None:
    assert ends_in_filler(text, locale)
    assert not ends_in_filler(text, "en")


@pytest.mark.parametrize("mark", [".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u061f"])
def test_each_script_has_its_own_marks_that_end_a_sentence(mark: str) -> None:
    assert ends_sentence(f"so{mark}")
    assert not ends_in_comma(f"so{mark}")


@pytest.mark.parametrize(
    "mark", [",", ";", ":", "\uff0c", "\u3001", "\u060c", "...", "\u2026", "-", "\u2013", "\u2014"]
)
def test_each_script_has_its_own_marks_after_which_more_is_to_come(mark: str) -> None:
    assert ends_in_comma(f"so{mark}")
    assert not ends_sentence(f"so{mark}")


def test_the_single_rules_look_at_the_end_alone() -> None:
    assert ends_sentence("Yes. No. ")
    assert not ends_sentence("Yes. No")
    assert not ends_sentence("Yes...")
    assert ends_in_comma("one, two,")
    assert not ends_in_comma("one, two")
    assert ends_in_number("room 12")
    assert not ends_in_number("12 rooms")
    assert ends_in_filler("well, um")
    assert not ends_in_filler("um, well")


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("It is four, seven, two.", Ending.UNKNOWN),
        ("At four seven.", Ending.UNKNOWN),
        ("Seven.", Ending.UNKNOWN),
        ("My number is 4 7 2.", Ending.UNKNOWN),
        ("No, I meant the other one.", Ending.FINISHED),
        ("Remind me to water the plants at seven.", Ending.FINISHED),
        ("Call me before 9.", Ending.FINISHED),
        ("At seven.", Ending.FINISHED),
    ],
)
def test_a_number_is_waited_for_where_it_may_be_dictated(text: str, ending: Ending) -> None:
    assert read_ending(text) is ending


@pytest.mark.parametrize(
    ("ending", "estimate", "then"),
    [
        (Ending.FINISHED, None, Ending.FINISHED),
        (Ending.FINISHED, 0.9, Ending.FINISHED),
        (Ending.FINISHED, 0.1, Ending.UNKNOWN),
        (Ending.UNKNOWN, 0.1, Ending.OPEN),
        (Ending.UNKNOWN, 0.9, Ending.UNKNOWN),
        (Ending.OPEN, 0.9, Ending.UNKNOWN),
        (Ending.OPEN, 0.1, Ending.HESITATING),
        (Ending.HESITATING, 0.9, Ending.HESITATING),
        (Ending.HESITATING, 0.1, Ending.HESITATING),
        (Ending.OPEN, 0.5, Ending.OPEN),
        (Ending.FINISHED, 0.5, Ending.FINISHED),
    ],
)
def test_a_turn_end_model_is_a_hint_and_no_more(ending: Ending, estimate: float | None, then: Ending) -> None:
    assert hinted(ending, estimate) is then


def test_each_ending_has_its_wait() -> None:
    waits = [wait_s(ADAPTIVE, ending) for ending in Ending]
    assert waits == pytest.approx([0.3, 0.5, 0.8, 1.1])


def test_a_speaker_who_pauses_longer_is_waited_for_longer_but_not_after_a_whole_sentence() -> None:
    assert own_pause_s((0.6, 0.7)) == 0.0
    assert own_pause_s((0.6, 0.7, 0.8)) == pytest.approx(0.8 * 1.15)
    slow = own_pause_s((0.6, 0.7, 0.7))
    assert slow == pytest.approx(0.7 * 1.15)
    assert [wait_s(ADAPTIVE, ending, slow) for ending in Ending] == pytest.approx([0.5, slow, slow, 1.1])
    assert [wait_s(ADAPTIVE, ending, 60.0) for ending in Ending] == pytest.approx([0.5, 1.1, 1.1, 1.1])


def test_one_long_pause_among_five_is_an_exception() -> None:
    assert own_pause_s((0.3, 0.3, 0.3, 0.3, 5.0)) == pytest.approx(0.3 * 1.15)


def test_only_the_latest_pauses_are_remembered() -> None:
    pauses: tuple[float, ...] = ()
    for number in range(40):
        pauses = note_pause(pauses, float(number))
    assert pauses == tuple(map(float, range(30, 40)))


def test_a_stop_within_a_word_is_no_pause_of_the_speakers() -> None:
    assert note_pause((0.5,), 0.1) == (0.5,)
    assert note_pause((0.5,), 0.2) == (0.5, 0.2)


@given(
    st.sampled_from(Ending),
    st.lists(st.floats(0, 10), max_size=10),
    st.floats(0.05, 5),
    st.floats(0.05, 5),
    st.floats(0.05, 5),
)
def test_the_wait_lies_between_the_bounds_whatever_they_are(
    ending: Ending, pauses: list[float], least: float, usual: float, most: float
) -> None:
    settings = Settings(endpoint_min_s=least, endpoint_s=usual, endpoint_max_s=most)
    wait = wait_s(settings, ending, own_pause_s(pauses))
    assert min(least, usual) <= wait <= max(usual, most)
    assert wait >= wait_s(settings, Ending.FINISHED)


# --- The core ---------------------------------------------------------------------------------------------------------------


def pausing(text: str | None = None, *, core: Core | None = None, **choices: object) -> Core:
    core = core or Core(**{"endpoint_s": 0.5, "endpoint_max_s": 1.1, **choices}).starts()
    utterance = core.speaks()
    core.happens(ev.SpeechPaused(utterance=utterance))
    if text is not None:
        core.happens(ev.TranscriptUpdated(utterance=utterance, text=text))
    return core


def told(core: Core) -> list[tuple[int, float, bool]]:
    return [(each.pause, each.silence_s, each.settled) for each in core.did(SetEndpoint)]


def test_the_ear_is_told_at_the_pause_and_again_when_the_words_are_known() -> None:
    assert told(pausing("What time is it?")) == [(1, 0.5, False), (1, 0.3, True)]
    assert told(pausing("Please send it to")) == [(1, 0.5, False), (1, 1.1, True)]


def test_words_known_before_the_pause_settle_it_at_once() -> None:
    core = Core(endpoint_s=0.5).starts()
    utterance = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="Stop."), ev.SpeechPaused(utterance=utterance))
    assert told(core) == [(1, 0.3, True)]


def test_nothing_new_tells_the_ear_nothing() -> None:
    core = pausing("Stop.")
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="Stop!"))
    assert len(told(core)) == 2


def test_a_transcript_with_something_missing_is_not_judged() -> None:
    core = pausing()
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="What time", complete=False))
    assert told(core) == [(1, 0.5, False)]


def test_a_batch_recogniser_says_nothing_so_that_nothing_is_waited_for() -> None:
    assert told(pausing(stt_mode=SttMode.BATCH)) == [(1, 0.5, True)]


def test_words_that_will_not_come_are_not_waited_for() -> None:
    core = Core(endpoint_s=0.5).starts()
    core.happens(ev.TextReceived(text="what time is it"))
    utterance = core.speaks(confirmed=False)
    core.happens(ev.RecognizerFailed(), ev.SpeechPaused(utterance=utterance))
    assert told(core) == [(1, 0.5, True)]


def test_a_fixed_wait_is_never_changed() -> None:
    core = pausing("Please send it to", endpointing=Endpointing.FIXED)
    assert told(core) == []
    assert len(core.did(StartReply)) == 1


def test_who_hesitates_is_not_answered_ahead() -> None:
    assert pausing("Please send it to").did(StartReply) == []
    assert len(pausing("Please send it.").did(StartReply)) == 1


def test_where_nothing_is_begun_ahead_the_wait_adapts_all_the_same() -> None:
    core = pausing("What time is it?", soft_endpoint_s=None)
    assert told(core)[-1] == (1, 0.3, True)
    assert core.did(StartReply) == []


def test_a_pause_after_which_the_user_went_on_is_remembered_and_the_next_one_judged_anew() -> None:
    core = pausing("What time.")
    core.happens(ev.SpeechResumed(utterance=core.c.utterance, pause_s=0.28))
    assert core.c.pauses == (0.28,)
    core.happens(ev.SpeechPaused(utterance=core.c.utterance))
    assert told(core)[-1] == (2, 0.5, False)


def test_an_utterance_that_was_cut_in_a_pause_shows_how_long_the_speaker_pauses() -> None:
    core = Core(endpoint_s=0.5, endpoint_max_s=1.1).starts()
    core.says("What time")
    core.happens(ev.SpeechStarted(utterance=core.c.utterance + 1, pause_s=0.9))
    assert core.c.pauses == (0.9,)


def test_who_speaks_after_a_long_silence_or_over_the_answer_has_not_gone_on() -> None:
    core = Core(endpoint_s=0.5, endpoint_max_s=1.1).starts()
    core.says("What time is it?")
    core.happens(ev.SpeechStarted(utterance=core.c.utterance + 1, pause_s=1.2))
    assert core.c.pauses == ()
    core = Core().starts()
    core.says("What time is it?")
    core.writes("Noon.")
    core.sounds(1.0)
    core.happens(ev.SpeechStarted(utterance=core.c.utterance + 1, pause_s=0.9))
    assert core.c.pauses == ()


def test_with_a_turn_end_model_the_wait_is_settled_by_both() -> None:
    core = Core(endpoint_s=0.5).starts()
    core.happens(ev.ListenerOpened(estimates=True))
    pausing("What time is it?", core=core)
    assert told(core)[-1] == (1, 0.3, False)
    core.happens(ev.TurnEndEstimated(utterance=core.c.utterance, probability=0.1))
    assert told(core)[-1] == (1, 0.5, True)


def test_an_estimate_for_a_pause_that_is_over_is_late() -> None:
    core = pausing()
    core.happens(ev.SpeechResumed(utterance=core.c.utterance, pause_s=0.3))
    stale = core.c.stale
    core.happens(ev.TurnEndEstimated(utterance=core.c.utterance, probability=0.1))
    assert core.c.stale == stale + 1
    assert core.c.turn_end is None


def test_an_estimate_for_one_utterance_says_nothing_of_the_next() -> None:
    core = Core(endpoint_s=0.5).starts()
    core.happens(ev.ListenerOpened(estimates=True))
    pausing("What time is it?", core=core)
    core.happens(ev.TurnEndEstimated(utterance=core.c.utterance, probability=0.1))
    core.pauses()
    core.is_understood("")
    pausing("What time is it?", core=core)
    assert told(core)[-1] == (1, 0.3, False)
