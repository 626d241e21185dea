"""Tokens to phrases, and phrases to what is spoken."""

# ruff: noqa: RUF001 - the marks of many scripts look alike, and are meant.

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.phrases import PhraseSplitter, _without_marks, speakable

MARKS = st.sampled_from(
    [*"abI1 ,.!?:;…\n\"'”*)_-—。、！」你é|#[]()<>`", ". ", "Dr. ", "3.14", "e.g. ", "http://a.b/c?d", "\n\n- "]
)
TEXTS = st.one_of(st.lists(MARKS, max_size=120).map("".join), st.text(max_size=80))


def phrases(text: str, **sizes: int) -> list[str]:
    splitter = PhraseSplitter(**sizes)
    return splitter.feed(text) + splitter.flush()


@given(TEXTS, st.integers(1, 40), st.integers(1, 60))
def test_phrases_together_are_the_text(text: str, first_chars: int, max_chars: int) -> None:
    assert "".join(phrases(text, first_chars=first_chars, max_chars=max_chars)) == text


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1), st.integers(1, 40), st.integers(1, 60))
def test_phrases_do_not_depend_on_where_tokens_end(
    text: str, sizes: list[int], first_chars: int, max_chars: int
) -> None:
    splitter = PhraseSplitter(first_chars=first_chars, max_chars=max_chars)
    got: list[str] = []
    start = turn = 0
    while start < len(text):
        end = start + sizes[turn % len(sizes)]
        got += splitter.feed(text[start:end])
        start, turn = end, turn + 1
    got += splitter.flush()
    assert got == phrases(text, first_chars=first_chars, max_chars=max_chars)


@given(TEXTS, st.integers(1, 60))
def test_no_phrase_is_empty_or_longer_than_the_limit(text: str, max_chars: int) -> None:
    assert all(0 < len(phrase) <= max_chars for phrase in phrases(text, max_chars=max_chars))


@given(TEXTS)
def test_a_phrase_is_given_out_before_the_next_one_is_complete(text: str) -> None:
    """Nothing waits in the splitter but the phrase in progress."""
    splitter = PhraseSplitter()
    given_out: list[str] = []
    for char in text:
        new = splitter.feed(char)
        assert len(new) <= 2  # A cut of what is too long, at a sentence's end.
        given_out += new
    assert given_out + splitter.flush() == phrases(text)


def test_a_splitter_that_was_flushed_is_as_new() -> None:
    splitter = PhraseSplitter()
    first = splitter.feed("Once upon a time, there was ") + splitter.flush()
    assert splitter.feed("Once upon a time, there was ") + splitter.flush() == first
    assert splitter.flush() == []


@pytest.mark.parametrize(
    "said",
    [
        # The first phrase may end at a comma, and does not wait for what follows.
        ["Hello there my friend,", " how are you doing today, my very best friend of all, and your family?"],
        ["Well,", " hello there, friend."],
        ["Oh, no worries!", " I am here."],
        ["Oh, is it?", " I am here."],
        ["Yes. ", "It is late. ", "Go home! ", "Or not? ", "Well."],
        # Later phrases are whole sentences, unless they become long.
        ["It is late,", " I think, and time to go."],
        # ... but where it may say that nothing ends here: in a quotation, behind a number, in an address.
        ["“Yes!” he said. ", "Then he left."],
        ["(Truly!) ", "Yes."],
        ["There are 1,000 of them!", " I think."],
        ["It is the year 1990! ", "So be it."],
        ["See www.example.com/a?b=c! ", "Go."],
        ["One. ", "It has leaves, flowers, roots and a stem, and it grows."],
        # Abbreviations, initials, numbers.
        ["Dr. Smith met Mrs. Jones e.g. at St. Mary's. ", "Then they left."],
        ["J. R. R. Tolkien wrote it. ", "So did U.S. citizens, i.e. some."],
        ["Pi is 3.14 and not 3,14. ", "It costs 1,000.50 dollars."],
        ["Take No. 5. ", "No. ", "Never."],
        ["We met at 5 p.m. ", "Then we ate, around 8 a.m. or so."],
        ["It was in 1990. ", "Then came 1991."],
        ["So did I. ", "Then he left."],
        ["I have two. ", "3 remain."],
        ["In what year?", " 42. ", "That is late."],
        ["Really?", " yes, naturally. ", "good."],
        ['"Naturally." he said. ', '"Really?" she asked.'],
        # Addresses.
        ["Go to www.example.com/a.html?b=c. ", "Then look."],
        ["Write to a.b@example.org! ", "Please."],
        # Ellipses.
        ["Well... maybe not. ", "Hm… ", "Then no... ", "Yes."],
        # Quotation marks and brackets after the mark.
        ['"Stop!" he said. ', '"Go." ', "She went. ", "(Really.) ", "Yes."],
        ["“Stop.” ", "‘Go!’ ", "**Bold.** ", "_End._ ", "So."],
        # Lines, lists, headings.
        ["# Title\n\n", "First\n", "- one\n", "- two\n", "1. three\n", "2. four"],
        ["**\n1. One. ", "Two."],
        ["There are two:\n", "1. One. ", "Really. ", "More.\n", "2. Two."],
        # Chinese, Japanese, Turkish, Arabic, Hindi.
        ["你好。", "我很好！", "你呢？", "“好。”", "再见"],
        ["终于OK!", "好的"],
        ["你好，", "世界，大家都很好，是吗？", "是。"],
        ["「はい。」", "そう言いました。", "終わり"],
        ["Bugün hava güzel mi?", " Evet, Doç. Dr. Yılmaz 19. yüzyılı vb. anlattı. ", "Tamam."],
        ["كيف حالك؟ ", "بخير۔ ", "شكرا"],
        ["नमस्ते। ", "ठीक है।"],
        # Dashes.
        ["I wanted to say— ", "no."],
    ],
)
def test_phrases_end_where_a_voice_would_pause(said: list[str]) -> None:
    assert phrases("".join(said)) == said


def test_a_sentence_ends_only_when_the_next_character_is_known() -> None:
    splitter = PhraseSplitter()
    assert splitter.feed("It costs 3.") == []
    assert splitter.feed("14 dollars. ") == []
    assert splitter.feed("O") == ["It costs 3.14 dollars. "]


def test_the_first_phrase_is_there_with_its_mark_and_each_later_one_when_the_next_character_is() -> None:
    splitter = PhraseSplitter()
    assert splitter.feed("You are right") == []
    assert splitter.feed(",") == ["You are right,"]
    assert splitter.feed(" I will think about all of it!") == []
    assert splitter.feed(" B") == [" I will think about all of it! "]


def test_each_next_phrase_must_be_longer_before_a_comma_may_end_it() -> None:
    text = "aaaa bbb, " * 60
    lengths = [len(phrase) for phrase in phrases(text, first_chars=16, max_chars=220)]
    assert lengths[0] == 19
    assert lengths[1] == 161
    assert min(lengths[2:-1]) > 200


def test_a_long_run_without_marks_is_cut_at_a_space_and_after_a_clause_if_there_is_one() -> None:
    assert all(phrase.endswith("word ") for phrase in phrases("word " * 200, max_chars=218)[:-1])
    assert phrases("- " + "x" * 300)[0] == "- " + "x" * 218
    text = "word " * 30 + "word, " + "word " * 20
    assert phrases(text, first_chars=219)[0] == "word " * 30 + "word, "
    assert [len(phrase) for phrase in phrases("x" * 500)] == [220, 220, 60]


def test_a_text_that_is_too_long_may_begin_with_a_closing_mark() -> None:
    assert phrases('") word' + " word" * 4, max_chars=12) == ['") word ', "word word ", "word word"]


def test_a_character_is_not_cut_from_what_belongs_to_it() -> None:
    assert phrases("e\u0301" * 10, max_chars=5) == ["e\u0301" * 2] * 5
    assert phrases("👍🏽" * 4, max_chars=7) == ["👍🏽"] * 4
    assert phrases("aaa👩\u200d", max_chars=5) == ["aaa", "👩\u200d"]


@pytest.mark.parametrize("sizes", [{"first_chars": 0}, {"max_chars": 0}])
def test_sizes_that_make_no_phrase_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PhraseSplitter(**sizes)


@pytest.mark.parametrize(
    ("phrase", "spoken"),
    [
        ("Hello there. ", "Hello there."),
        ("**Bold** and *slanted* and __this__ and `code`.", "Bold and slanted and this and code."),
        ("half **bold", "half bold"),
        ("## A title\n", "A title"),
        ("- an item\n", "an item"),
        ("* an item\n", "an item"),
        ("1. an item\n", "1. an item"),
        ("- [x] done\n", "done"),
        ("> quoted", "quoted"),
        ("See [the docs](https://example.com/a_(b)) now.", "See the docs now."),
        ("the docs](https://example.com/a) now.", "the docs now."),
        ("![a cat](cat.png)", "a cat"),
        ("Visit https://www.example.com/a/b?c=d#e.", "Visit example.com."),
        ("Visit www.example.com/a, please.", "Visit example.com, please."),
        ("<https://example.com:8080/a>", "example.com"),
        ("Visit https://example.com.", "Visit example.com."),
        ("Visit https://example.com!", "Visit example.com!"),
        ("| a | b |\n", "a, b"),
        ("|---|:-:|\n", ""),
        ("| --- | :---: |\nMenu", "Menu"),
        ("--- | ---\nMenu", "Menu"),
        ("a<br>b", "a b"),
        ("Great! 🎉👍🏽", "Great!"),
        ("👨‍👩‍👧 family", "family"),
        ("2 * 3 is 6", "2 × 3 is 6"),
        ("snake_case", "snake case"),
        ("#Python and C# are #1", "Python and C# are #1"),
        (r"3 \* 4", "3 × 4"),
        ("```python\n", ""),
        ("---\n", ""),
        ("Hello.\n- - -\n", "Hello."),
        ("…", ""),
        ("  \n ", ""),
        ("你好。", "你好。"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("AT&T's 5% of $3.50", "AT&T's 5% of $3.50"),
    ],
)
def test_marks_that_are_not_for_the_ear_are_not_spoken(phrase: str, spoken: str) -> None:
    assert speakable(phrase) == spoken


@pytest.mark.parametrize("line", ["-" * 200, ":" + "-" * 200, "|" + "--|" * 60, "- " * 100, "=" * 200, "<" * 200])
def test_a_drawn_line_with_words_in_it_is_read_in_no_time(line: str) -> None:
    # An expression that tries all ways to divide 200 dashes would never come back.
    assert speakable(f"{line} Menu").endswith("Menu")
    assert speakable(f"{line}\nMenu").endswith("Menu")


@given(st.text(alphabet="abcW 1.,!?':;*-[](\n_", max_size=40))
def test_a_phrase_without_marks_is_spoken_as_if_they_had_been_looked_for(text: str) -> None:
    thorough = " ".join(_without_marks(text).split()).lstrip(" ,!?").rstrip(" ,")
    assert speakable(text) == (thorough if any(map(str.isalnum, thorough)) else "")


@given(TEXTS)
def test_what_is_spoken_of_anything_has_words_and_no_marks(text: str) -> None:
    spoken = speakable(text)
    assert spoken == "" or any(map(str.isalnum, spoken))
    assert not set("*_`|[]\n") & set(spoken)
    assert spoken == spoken.strip()


@given(st.text(alphabet=st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=40))
def test_plain_words_are_spoken_as_they_are(word: str) -> None:
    assert speakable(f"{word} {word}.") == f"{word} {word}."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # "no" ends a sentence or is a number's abbreviation: what follows tells.
        ("I say no. Really. ", ["I say no. ", "Really. "]),
        ("It is no. 5 of ten. ", ["It is no. 5 of ten. "]),
        ("Ask Dr. Who now. ", ["Ask Dr. Who now. "]),
        ("Ask J. Smith now. ", ["Ask J. Smith now. "]),
        ("He said so... and left. ", ["He said so... and left. "]),
        ("He said so... And left. ", ["He said so... ", "And left. "]),
        ("So. Really?! Yes. ", ["So. ", "Really?! ", "Yes. "]),
        ("1. One thing. ", ["1. One thing. "]),
        ("So it is . Yes.", ["So it is . ", "Yes."]),
    ],
)
def test_a_dot_ends_a_sentence_or_a_word_and_what_follows_tells(text: str, expected: list[str]) -> None:
    assert phrases(text) == expected


def test_a_clause_ends_the_first_phrase_from_that_very_length_on() -> None:
    # "Well then, " is eleven characters, of which the space is not waited for.
    assert phrases("Well then, so be it all.", first_chars=11)[0] == "Well then,"
    assert phrases("Well then, so be it all.", first_chars=12)[0] == "Well then, so be it all."


@pytest.mark.parametrize(
    ("text", "max_chars", "expected"),
    [
        ("abcdefgh", 4, ["abcd", "efgh"]),
        ("ab cdefgh", 4, ["ab ", "cdef", "gh"]),
        ("a bcdefgh", 4, ["a ", "bcde", "fgh"]),
        ("好好好", 4, ["好好", "好"]),
        ("好好", 1, ["好", "好"]),
        ("e\u0301e\u0301e\u0301", 3, ["e\u0301", "e\u0301", "e\u0301"]),
    ],
)
def test_a_text_without_marks_is_cut_after_a_word_or_anywhere_but_not_within_a_letter(
    text: str, max_chars: int, expected: list[str]
) -> None:
    assert phrases(text, first_chars=1, max_chars=max_chars) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one, , , two", "one, two"),
        ("| a | b |", "a, b"),
        ("a,, b", "a, b"),
        ("#tag and # 5", "tag and # 5"),
        ("see https://www.example.com:80/a?b. Next", "see example.com. Next"),
        ("WWW.example.com/x", "example.com"),
        ("<HTTPS://example.com>", "example.com"),
        ("3 * 4", "3 × 4"),
        ("snake_case", "snake case"),
        ("~~gone~~ `code` *bold*", "gone code bold"),
        ("- [x] done", "done"),
        ("> quoted", "quoted"),
        ("a<br>b", "a b"),
        ("[text](http://a.b) end", "text end"),
        ("](http://a.b) end", "end"),
        ("\\*so\\*", "so"),
        ("👩🏽\u200d🚀 go", "go"),
    ],
)
def test_what_is_left_for_the_voice(text: str, expected: str) -> None:
    assert speakable(text) == expected


def test_marks_without_a_word_do_not_make_the_next_phrase_longer() -> None:
    assert phrases("— — 1, -", first_chars=2, max_chars=6) == ["— — ", "1, ", "-"]


def test_a_full_stop_before_which_there_is_no_word_ends_nothing() -> None:
    assert phrases("。你好。好") == ["。你好。", "好"]


class _LetterByLetter(PhraseSplitter):
    """The rules without the short way for plain words."""

    def feed(self, text: str) -> list[str]:
        return [phrase for char in text for phrase in super(_LetterByLetter, self).feed(f"{char}")]


@given(
    tokens=st.lists(
        st.lists(
            st.sampled_from(
                [" one", "two", " 3", ".", ",", "?", " ", "\n", "e.g.", " Dr.", '"', "…", " 12", "3.5", "字"]
            ),
            max_size=6,
        ).map("".join)
    ),
    most=st.integers(1, 40),
)
def test_whole_words_take_a_short_way_to_the_same_phrases(tokens: list[str], most: int) -> None:
    quick, slow = PhraseSplitter(max_chars=most), PhraseSplitter(max_chars=most)
    phrases = [phrase for token in tokens for phrase in quick.feed(token)] + quick.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flare_actors.conversation.phrases._WORDS", re.compile("(?!)"))
        assert [phrase for token in tokens for phrase in slow.feed(token)] + slow.flush() == phrases


# --- What was missing when every line was broken in turn ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        ["Yes. ", "Hi!", "你好。"],
        ["MAX你好。"],
        ["No!", " Go on."],
        ["Say FOX and go. ", "Yes."],
        ["It was Louis XV. ", "Then came another."],
        ["‘Oh yes!’ he said. ", "Then he left."],
        ["See sect. of it. ", "Yes."],
        ["See secti. ", "of it."],
        ["Well then——", "go"],
        ["今日は。", "Xです。"],
        ["Hello. ", "**\n1. First of all"],
        ["It opens at 9 a.m. 5 days a week. ", "Come."],
        ["It opens at 9 a.m. ", "Come."],
        ["Ha (. ", "b"],
    ],
)
def test_phrases_end_here_and_nowhere_else(said: list[str]) -> None:
    assert phrases("".join(said)) == said


def cut_at(most: int, text: str) -> list[str]:
    splitter = PhraseSplitter(first_chars=99, max_chars=most)
    return splitter.feed(text) + splitter.flush()


@pytest.mark.parametrize(
    ("most", "cut"),
    [
        (5, ["aaaaa", "aaaaa", "aa"]),
        (6, ["a ", "bcdefg"]),
        (9, ["abc, de ", "fgh"]),  # A comma just before the middle is none to cut at,
        (9, ["abcd, ", "e fgh"]),  # ... and one behind it is better than a space.
        (5, ["e", "\u0301", "\u0301" * 5]),
        (1, ["你", "好"]),
        (4, ["ＡＢ", "ＣＤ"]),
        (4, ["abc", "d\u0301"]),
        (4, ["abc", "d\u200d"]),
        (4, ["abc", "d\U0001f3fb"]),
        (4, ["abc", "d\U0001f3ff"]),
        (4, ["abcd", "\U0001f400"]),
        (4, ["abcd", "\U0001f3fa"]),
    ],
)
def test_what_is_too_long_is_cut_where_it_hurts_least(most: int, cut: list[str]) -> None:
    assert cut_at(most, "".join(cut)) == cut


def test_a_mark_within_a_sentence_ends_the_first_phrase_from_just_its_length_on() -> None:
    for first_chars, said in ((6, ["abcd; ", "ef"]), (7, ["abcd; ef"])):
        splitter = PhraseSplitter(first_chars=first_chars)
        assert splitter.feed("abcd; ef") + splitter.flush() == said


def test_a_phrase_has_at_most_220_letters_where_nothing_else_is_asked_for() -> None:
    assert [len(phrase) for phrase in PhraseSplitter().feed("a" * 441)] == [220, 220]


@pytest.mark.parametrize(
    ("phrase", "spoken"),
    [
        ("Visit www.example.com now.", "Visit example.com now."),
        ("See HTTPS://EXAMPLE.X", "See EXAMPLE.X"),
        ("Xavier", "Xavier"),
        ("![A cup](cup.png) of tea", "A cup of tea"),
        ('Read [this](t.html "Tea time") now.', "Read this now."),
        (", Xavier", "Xavier"),
    ],
)
def test_a_voice_is_given_no_more_than_is_to_be_said(phrase: str, spoken: str) -> None:
    assert speakable(phrase) == spoken
