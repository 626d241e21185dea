"""What was heard, what is remembered, what is echo, and what the model is shown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.calls import CUT_OFF, ToolCall, ToolUse
from flare_actors.conversation.history import (
    AgentSaid,
    HistoryItem,
    SpokenPhrase,
    SpokenWord,
    UserSaid,
    correct_result,
    cut,
    heard_text,
    is_echo,
    may_be_echo,
    remember,
    report,
    without_unheard,
    write_calls,
)
from flare_actors.conversation.items import ToolCalled, ToolReturned
from flare_actors.conversation.messages import build_messages

WORDS = st.lists(st.sampled_from(["tea", "is", "ready", "now,", "oh", "naturally"]), min_size=1, max_size=6)

TIMINGS = st.just(()) | st.lists(st.builds(SpokenWord, share=st.floats(-1, 2), at_s=st.floats(-1, 9)), max_size=6)


@st.composite
def measured(draw: st.DrawFn) -> tuple[SpokenPhrase, ...]:
    """Phrases one after the other; the last ones may not be measured yet, some have no sound."""
    phrases: list[SpokenPhrase] = []
    start = 0.0
    known = draw(st.integers(0, 5))
    for index, words in enumerate(draw(st.lists(WORDS, max_size=5))):
        text = " ".join(words) + " "
        if index < known:
            end = start + draw(st.sampled_from([0.0, 0.5, 1.0, 2.5]))
            phrases.append(SpokenPhrase(text=text, start_s=start, end_s=end).timed(draw(TIMINGS)))
            start = end
        else:
            phrases.append(SpokenPhrase(text=text).timed(draw(TIMINGS)))
    return tuple(phrases)


def written(phrases: tuple[SpokenPhrase, ...]) -> str:
    return "".join(phrase.text for phrase in phrases)


SECONDS = st.floats(0, 20)


@given(measured(), SECONDS)
def test_heard_text_is_whole_words_from_the_start(phrases: tuple[SpokenPhrase, ...], played_s: float) -> None:
    heard = heard_text(phrases, played_s)
    rest = written(phrases)[len(heard) :]
    assert written(phrases).startswith(heard)
    assert rest == "" or heard == "" or rest[0].isspace()


@pytest.mark.parametrize(
    ("text", "share", "heard"),
    [
        ("今天天气很好。 ", 0.64, "今天天气"),
        ("今天天气很好。 ", 0.99, "今天天气很好"),
        ("東京 and そして京都", 0.7, "東京 and そ"),
        ("東京 XX そして", 0.5, "東京"),
        ("안녕하세요 여러분", 0.7, "안녕하세요"),
    ],
)
def test_where_nothing_stands_between_words_each_character_counts(text: str, share: float, heard: str) -> None:
    assert heard_text((SpokenPhrase(text=text, start_s=0.0, end_s=1.0),), share) == heard


@given(measured(), SECONDS, SECONDS)
def test_who_hears_longer_hears_no_less(phrases: tuple[SpokenPhrase, ...], one: float, other: float) -> None:
    shorter, longer = sorted([one, other])
    assert heard_text(phrases, longer).startswith(heard_text(phrases, shorter))


def by_the_word(*at_s: float, end_s: float | None = None) -> SpokenPhrase:
    ends = (4, 9, 16, 21)
    words = [SpokenWord(share=end / 21, at_s=at) for end, at in zip(ends, at_s, strict=False)]
    return SpokenPhrase(text="This will please you. ", start_s=0.0, end_s=end_s).timed(words)


@pytest.mark.parametrize("end_s", [None, 4.0])
@pytest.mark.parametrize(
    ("played_s", "heard"),
    [(0.99, ""), (1.0, "This"), (2.99, "This"), (3.0, "This will"), (3.2, "This will please")],
)
def test_what_a_synthesizer_tells_of_its_words_counts_more_than_their_length(
    played_s: float, heard: str, end_s: float | None
) -> None:
    assert heard_text((by_the_word(1.0, 3.0, 3.2, 3.9, end_s=end_s),), played_s) == heard


def test_a_first_word_may_be_over_at_once() -> None:
    first = SpokenWord(share=0.2, at_s=0.1)
    assert SpokenPhrase(text="This will please you. ").timed([first]).words == (first,)


@pytest.mark.parametrize(("share", "at_s"), [(0.4, 2.0), (0.6, 0.5)], ids=["back in the text", "back in time"])
def test_a_word_that_does_not_follow_on_the_one_before_is_not_believed(share: float, at_s: float) -> None:
    first = SpokenWord(share=0.5, at_s=1.0)
    phrase = SpokenPhrase(text="This will please you. ").timed([first, SpokenWord(share=share, at_s=at_s)])
    assert phrase.words == (first,)


def test_behind_the_last_word_that_was_told_of_the_rest_is_spread_evenly() -> None:
    phrase = by_the_word(1.0, 2.0, end_s=4.0)
    assert [heard_text((phrase,), at_s) for at_s in (2.0, 3.05, 3.2, 4.0)] == [
        "This will",
        "This will",
        "This will please",
        "This will please you.",
    ]
    assert heard_text((by_the_word(1.0, 2.0),), 60.0) == "This will", "of the rest nobody knows anything yet"


@given(measured())
def test_nothing_played_is_nothing_heard(phrases: tuple[SpokenPhrase, ...]) -> None:
    assert heard_text(phrases, 0.0) == ""


@given(measured(), SECONDS)
def test_no_phrase_is_heard_before_its_sound_began(phrases: tuple[SpokenPhrase, ...], played_s: float) -> None:
    may = written(tuple(p for p in phrases if p.start_s is None or p.start_s < played_s or p.start_s == p.end_s))
    assert may.startswith(heard_text(phrases, played_s))


@given(measured())
def test_all_that_was_measured_and_played_is_heard(phrases: tuple[SpokenPhrase, ...]) -> None:
    known = tuple(phrase for phrase in phrases if phrase.end_s is not None)
    total = max((phrase.end_s or 0.0 for phrase in known), default=0.0)
    if total > 0:
        assert heard_text(known, total) == written(known).rstrip()


@given(measured(), st.floats(0, 1000))
def test_the_last_word_of_a_phrase_that_is_still_being_made_is_never_heard(
    phrases: tuple[SpokenPhrase, ...], played_s: float
) -> None:
    open_phrases = [phrase for phrase in phrases if phrase.end_s is None]
    if open_phrases:
        assert heard_text(phrases, played_s) != written(phrases).rstrip()


@pytest.mark.parametrize(
    ("played_s", "heard"),
    [
        (0.1, ""),
        (0.3, "It"),
        (0.6, "It is"),
        (1.0, "It is late."),
        (1.4, "It is late."),
        (1.6, "It is late. Very"),
        (2.0, "It is late. Very late."),
    ],
)
def test_a_phrase_played_in_part_counts_by_words_in_proportion(played_s: float, heard: str) -> None:
    phrases = (
        SpokenPhrase(text="It is late. ", start_s=0.0, end_s=1.0),
        SpokenPhrase(text="Very late. ", start_s=1.0, end_s=2.0),
    )
    assert heard_text(phrases, played_s) == heard


def test_a_phrase_without_sound_does_not_end_what_was_heard() -> None:
    phrases = (
        SpokenPhrase(text="It is late. ", start_s=0.0, end_s=1.0),
        SpokenPhrase(text="---\n"),
        SpokenPhrase(text="Very late. ", start_s=1.0, end_s=2.0),
    )
    assert heard_text(phrases, 2.0) == "It is late. ---\nVery late."


def test_a_phrase_still_being_made_is_measured_by_the_voice_so_far() -> None:
    slow = (SpokenPhrase(text="It is late. ", start_s=0.0, end_s=4.0), SpokenPhrase(text="Very very very late. "))
    fast = (SpokenPhrase(text="It is late. ", start_s=0.0, end_s=0.4), SpokenPhrase(text="Very very very late. "))
    assert heard_text(slow, 5.0) == "It is late. "[:-1]
    assert heard_text(slow, 6.0) == "It is late. Very"
    assert heard_text(fast, 0.9) == "It is late. Very very very"


# --- Memory -----------------------------------------------------------------------------------------------------------------

ITEMS = st.lists(
    st.one_of(
        st.builds(UserSaid, text=st.sampled_from(["", "a", "b c"])),
        st.builds(AgentSaid, turn=st.integers(1, 9), text=st.sampled_from(["", "x", "y z"])),
    ),
    max_size=12,
)


@given(ITEMS, st.integers(2, 5))
def test_the_newest_items_are_remembered(items: list[HistoryItem], limit: int) -> None:
    history: tuple[HistoryItem, ...] = ()
    for item in items:
        history = remember(history, item, limit)
    assert history == tuple(items[-limit:])


@given(ITEMS)
def test_the_model_is_shown_turns_of_one_side_and_the_other_and_the_user_last(items: list[HistoryItem]) -> None:
    messages = build_messages(items)
    roles = [message.role for message in messages]
    assert all(one != other for one, other in itertools.pairwise(roles))
    assert roles[-1:] in ([], ["user"])
    assert all(message.content.strip() for message in messages)
    said = [item.text for item in items if isinstance(item, UserSaid) and item.text]
    assert " ".join(message.content for message in messages if message.role == "user") == " ".join(said)


def test_a_result_without_a_word_is_remembered_where_an_answer_without_one_is_not() -> None:
    kept = (ToolCalled(turn=1, call="c1", name="f", text="{}"), ToolReturned(turn=1, call="c1", text=""))
    assert without_unheard((*kept, AgentSaid(turn=1, text="")), set()) == kept


def test_the_result_of_one_tool_in_the_background_leaves_those_of_others_where_they_are() -> None:
    other = (ToolCalled(turn=1, call="c1", name="f", text="{}"), ToolReturned(turn=1, call="c1", text="sunny"))
    history = (*other, AgentSaid(turn=1, text="It is nice."))
    use = ToolUse(call="c2", name="g", arguments="{}", output="done")
    assert report(history, 2, use, 10)[:3] == history


# --- Echo -------------------------------------------------------------------------------------------------------------------

ANSWER = "Well, the capital of France is Paris, and the one of Turkey is Ankara; it lies in the middle of the country."


@pytest.mark.parametrize(
    "heard",
    [
        "the capital of France is Paris",
        "capital of friends is Paris and the",  # One word in seven misheard.
        "one of Turkey is Ankara",
        "AND THE ONE OF TURKEY, IS ANKARA",
    ],
)
def test_a_piece_of_the_agents_words_is_echo(heard: str) -> None:
    assert is_echo(heard, ANSWER)


@pytest.mark.parametrize(
    "heard",
    [
        "",
        "Paris",
        "is Paris",  # Short answers repeat words.
        "what is the capital of Spain",
        "no it is not in the middle of Italy",
        "the the the of the",  # Anybody's words, all over the answer.
        "Ankara is Paris of capital the",  # The wrong way round.
    ],
)
def test_words_that_are_no_piece_of_the_agents_are_the_users(heard: str) -> None:
    assert not is_echo(heard, ANSWER)


CHINESE = "您好。博物馆在九点开门。周日十一点。您想要红茶还是咖啡。"


@pytest.mark.parametrize(
    ("heard", "echo"),
    [
        ("博物馆在九点开门", True),
        ("物馆在九点", False),  # About two words and a half.
        ("物馆在九点开", True),
        ("要红茶", False),
        ("红茶还是咖啡是咖啡红", False),
        ("is 红茶还", False),
        ("is 红茶还是", True),
    ],
)
def test_two_characters_count_as_a_word_where_nothing_stands_between_words(heard: str, echo: bool) -> None:
    assert is_echo(heard, CHINESE) is echo


@pytest.mark.parametrize(
    ("partial", "may"), [("红茶", True), ("茶红", False), ("博物馆在九点", True), ("不要红茶", False)]
)
def test_few_characters_may_be_echo_where_the_agent_said_them_side_by_side(partial: str, may: bool) -> None:
    assert may_be_echo(partial, CHINESE) is may


def test_a_misheard_word_does_not_hide_that_a_longer_partial_may_be_echo() -> None:
    assert may_be_echo("country the capital of France is Paris", ANSWER)


def test_common_words_scattered_over_a_long_answer_are_no_echo() -> None:
    long = (
        "What I like is tea. " + "Indeed, naturally. " * 20 + "So the time we had, it passed. " + "Oh. " * 20 + "Is it?"
    )
    assert not is_echo("what is the time it is", long)


def test_a_word_that_the_agent_did_not_say_is_none_of_its_words() -> None:
    assert not is_echo("oh tea is ready naturally", "Tea? Your tea is ready here.")


def test_a_misheard_word_that_comes_late_in_the_answer_does_not_hide_the_echo() -> None:
    assert is_echo("country the capital of France is Paris", ANSWER)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=30), st.data())
def test_any_piece_of_three_words_or_more_is_echo(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 3))
    end = data.draw(st.integers(start + 3, len(words)))
    assert is_echo(" ".join(words[start:end]), " ".join(words))


@given(st.text(max_size=40), st.text(max_size=40))
def test_strangers_words_are_no_echo_of_others(one: str, other: str) -> None:
    if not set(one.casefold().split()) & set(other.casefold().split()):
        is_echo(one, other)  # Whatever the script: it does not raise.


def test_the_calls_of_a_turn_stand_before_what_was_said_in_it_and_not_in_another() -> None:
    said = (AgentSaid(turn=1, text="Hello."), AgentSaid(turn=2, text="It is green."))
    use = ToolUse(call="t0002c001", name="look", arguments="{}", output="green")
    items = write_calls(said, 2, [use], 10, interrupted=False)
    assert [type(item) for item in items] == [AgentSaid, ToolCalled, ToolReturned, AgentSaid]


# --- What was missing when every line was broken in turn ----------------------------------------------------------------------


def test_a_word_that_is_told_of_goes_on_from_the_one_before_up_to_the_end() -> None:
    told = SpokenPhrase(text="one two").timed([SpokenWord(share=0.5, at_s=1.0)])
    for share, at_s, believed in (
        (0.5, 2.0, False),
        (0.6, 1.0, True),
        (1.0, 2.0, True),
        (1.1, 2.0, False),
        (0.6, 0.9, False),
    ):
        assert (len(told.timed([SpokenWord(share=share, at_s=at_s)]).words) == 2) is believed, (share, at_s)


def test_a_phrase_has_no_more_words_than_letters() -> None:
    words = [SpokenWord(share=share, at_s=1.0) for share in (0.2, 0.4, 0.6)]
    assert SpokenPhrase(text="ab").timed(words).words == tuple(words[:2])


def test_the_share_that_is_spoken_is_never_more_than_all_and_needs_no_time_behind_the_last_word() -> None:
    phrase = SpokenPhrase(text="one two").timed([SpokenWord(share=0.5, at_s=1.0)])
    assert phrase.share_spoken(9.0, 2.0) == pytest.approx(1.0)
    assert phrase.share_spoken(1.0, 1.0) == pytest.approx(0.5)
    assert phrase.share_spoken(0.5, 2.0) == pytest.approx(0.0, abs=1e-8)


def test_a_phrase_of_which_less_than_a_sample_is_missing_was_heard() -> None:
    phrase = SpokenPhrase(text="one two", start_s=0.0, end_s=1.0)
    assert heard_text([phrase], 1.0 - 1e-6) == "one two"
    assert heard_text([phrase], 1.0 - 2e-6) == "one"


def test_a_phrase_without_length_that_is_still_to_come_was_not_heard() -> None:
    assert heard_text([SpokenPhrase(text="one", start_s=2.0, end_s=2.0)], 1.0) == ""


def test_a_voice_of_which_nothing_is_known_yet_speaks_fifteen_letters_a_second() -> None:
    phrase = SpokenPhrase(text="one two three four five six", start_s=1.0)
    assert heard_text([phrase], 1.0 + 14 / 15) == "one two three"
    assert heard_text([phrase], 1.0 + 12 / 15) == "one two"


def test_a_voice_is_measured_by_all_that_was_heard_of_it() -> None:
    # 8 letters in 2 s, so 4 a second: "six" is over when 4 letters are.
    known = [SpokenPhrase(text=text, start_s=at, end_s=at + 1.0) for text, at in (("one ", 0.0), ("two ", 1.0))]
    assert heard_text([*known, SpokenPhrase(text="six seven", start_s=2.0)], 2.74) == "one two"
    assert heard_text([*known, SpokenPhrase(text="six seven", start_s=2.0)], 2.76) == "one two six"


def test_an_answer_of_half_a_second_is_cut_in_proportion() -> None:
    said = AgentSaid(turn=1, text="one two", audio_s=0.5)
    assert cut(said, 0.25) == AgentSaid(turn=1, text="one", audio_s=0.25, interrupted=True)
    assert cut(said, 9.0) == AgentSaid(turn=1, text="one two", audio_s=0.5, interrupted=True)


def test_calls_before_the_first_word_are_remembered_as_long_as_it_is() -> None:
    call = ToolCalled(turn=1, call="c1", name="f", text="{}")
    result = ToolReturned(turn=1, call="c1", text="sunny")
    history = remember(remember((call, result), UserSaid(id="1", text="a"), 2), UserSaid(id="2", text="b"), 2)
    assert history == (call, result, UserSaid(id="1", text="a"), UserSaid(id="2", text="b"))
    assert remember(history, UserSaid(id="3", text="c"), 2) == (UserSaid(id="2", text="b"), UserSaid(id="3", text="c"))


def test_a_result_without_its_call_is_not_remembered() -> None:
    assert remember((), ToolReturned(call="c1", text="sunny"), 9) == ()


def test_a_call_is_entered_with_all_that_is_known_of_it() -> None:
    done = ToolUse(call="c1", name="f", arguments="{}", output="rain", failed=True, client=True)
    cut_off = ToolUse(call="c2", name="g", arguments="{}", survives=True, client=True)
    lost = ToolUse(call="c3", name="h", arguments="{}")
    assert write_calls((), 3, [done, cut_off, lost], 9, interrupted=False) == (
        ToolCalled(turn=3, call="c1", name="f", text="{}"),
        ToolCalled(turn=3, call="c2", name="g", text="{}"),
        ToolReturned(turn=3, call="c1", text="rain", failed=True, client=True),
        ToolReturned(turn=3, call="c2", text=CUT_OFF, failed=True, client=True),
    )


@pytest.mark.parametrize("failed", [False, True])
def test_a_result_that_comes_late_stands_where_it_was_missing(failed: bool) -> None:
    before, after = UserSaid(id="1", text="a"), UserSaid(id="2", text="b")
    missing = ToolReturned(turn=1, call="c1", text=CUT_OFF, failed=True, client=True)
    corrected = ToolReturned(turn=1, call="c1", text="sunny", failed=failed, client=True)
    assert correct_result((before, missing, after), "c1", "sunny", failed=failed) == (before, corrected, after)
    assert correct_result((missing,), "c2", "sunny", failed=failed) is None
    for other in (ToolReturned(call="c1", text=CUT_OFF, failed=True), ToolReturned(call="c1", text="x", client=True)):
        assert correct_result((other,), "c1", "sunny", failed=failed) is None


@pytest.mark.parametrize(
    ("heard", "spoken", "echo"),
    [
        ("a b c d e z", "a b c d x x x x e", True),  # Six words have room for three more,
        ("a b c d e z", "a b c d x x x x x e", False),
        ("a b c d", "a b c x x d", True),  # ... and four for two.
        ("a b c d", "a b c x x x d", False),
    ],
)
def test_an_echo_has_half_as_much_room_again_and_two_words_at_least(heard: str, spoken: str, echo: bool) -> None:
    assert is_echo(heard, spoken) is echo


def test_a_call_is_shown_once_though_another_has_its_name() -> None:
    call, result = ToolCalled(call="c1", name="f", text="{}"), ToolReturned(call="c1", text="sunny", failed=True)
    shown = build_messages((call, result, UserSaid(text="a"), ToolCalled(call="c1", name="f", text="{}", id="2")))
    assert shown[0].calls == (ToolCall(call="c1", name="f", arguments="{}"),)
    assert [(each.role, each.call, each.failed) for each in shown] == [
        ("assistant", None, False),
        ("tool", "c1", True),
        ("user", None, False),
    ]


def test_a_word_that_just_fits_was_heard() -> None:
    assert cut(AgentSaid(turn=1, text="ab cde", audio_s=3.0), 1.0).text == "ab"


def test_half_of_a_long_phrase_is_half_of_its_words() -> None:
    assert heard_text([SpokenPhrase(text="one two", start_s=0.0, end_s=2.0)], 1.0) == "one"


def test_a_phrase_was_over_when_the_next_of_which_that_is_known_began() -> None:
    phrases = [SpokenPhrase(text="one ", start_s=0.0), SpokenPhrase(text="two "), SpokenPhrase(text="x y", start_s=2.0)]
    assert heard_text(phrases, 2.05) == "one two"
