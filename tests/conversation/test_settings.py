"""What can be chosen: the page says what is chosen by default, and every bound is where it says."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
import pytest

from flare_actors.conversation import Limits, Settings, Timeouts, backchannels, endpointing, model, states, table

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SECTIONS = {"conversation": Settings, "conversation.timeouts": Timeouts, "conversation.limits": Limits}


def _table(section: str) -> dict[str, str]:
    """The page's defaults, as they stand there."""
    part = PAGE.split(f"### `[{section}]`\n")[1].split("\n### ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|", part, re.MULTILINE))


def _shown(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_names_every_setting_and_its_default(section: str) -> None:
    kind, told = SECTIONS[section], _table(section)
    fields = {field.name for field in attrs.fields(kind)} - {"timeouts", "limits"}
    assert set(told) == fields
    for name in fields:
        value = _shown(getattr(kind(), name))
        cell = told[name].strip().strip("`")
        if value is None or value == ():
            assert cell in {"", '"never"', '"none"'}, name
        else:
            assert json.loads(cell) == value, name


NOT_NEGATIVE = {
    "min_speech_s",
    "preroll_s",
    "interruption_min_s",
    "interruption_max_wait_s",
    "false_interruption_s",
    "echo_tail_s",
    "reconnect_grace_s",
}
AT_MOST_TEN = {"endpoint_s", "endpoint_min_s", "endpoint_max_s", "idle_prompt_growth"}


def _numbers(kind: Any) -> list[str]:
    return [
        field.name for field in attrs.fields(kind) if str(field.type) in {"float", "int", "float | None", "int | None"}
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in SECTIONS.values() for name in _numbers(kind)],
    ids=str,
)
def test_a_number_that_makes_no_sense_is_refused(kind: Any, name: str) -> None:
    least = {"history_items": 2, "idle_prompt_growth": 1}.get(name)
    for wrong in (-1, *([] if name in NOT_NEGATIVE else [0]), *([] if least is None else [least - 1])):
        with pytest.raises(ValueError, match=name):
            kind(**{name: wrong})
    for right in (
        0 if name in NOT_NEGATIVE else 0.001 if least is None else least,
        0.9 if name == "vad_threshold" else 10,
    ):
        assert getattr(kind(**{name: right}), name) == right
    if name in AT_MOST_TEN:
        with pytest.raises(ValueError, match=name):
            kind(**{name: 10.1})


@pytest.mark.parametrize("wrong", [0.0, 1.0, 1.5])
def test_a_threshold_lies_between_never_and_always(wrong: float) -> None:
    with pytest.raises(ValueError, match="vad_threshold"):
        Settings(vad_threshold=wrong)


@pytest.mark.parametrize("right", [(), ("a",), ["a", "b"], ("a",) * 16])
def test_there_may_be_sixteen_prompts_in_a_row(right: Any) -> None:
    assert Settings(idle_prompts=right).idle_prompts == tuple(right)


@pytest.mark.parametrize("wrong", [("a",) * 17, ("a", "")])
def test_a_prompt_has_words_and_there_are_not_too_many(wrong: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="idle_prompts"):
        Settings(idle_prompts=wrong)


def test_a_locale_has_two_letters_at_least() -> None:
    assert Settings(locale="de").locale == "de"
    with pytest.raises(ValueError, match="locale"):
        Settings(locale="d")


def test_what_may_be_none_may_be_none() -> None:
    names = [field.name for field in attrs.fields(Settings) if "None" in str(field.type)]
    assert len(names) == 8
    settings = Settings(**dict.fromkeys(names))
    assert all(getattr(settings, name) is None for name in names)


@pytest.mark.parametrize(
    ("choices", "pause_s"),
    [
        ({"soft_endpoint_s": 0.1}, 0.1),
        ({"soft_endpoint_s": None}, 0.2),
        ({"soft_endpoint_s": None, "endpointing": states.Endpointing.FIXED}, None),
        ({"soft_endpoint_s": 0.1, "endpointing": states.Endpointing.FIXED}, 0.1),
    ],
)
def test_a_pause_is_told_of_when_something_hangs_on_it(choices: dict[str, Any], pause_s: float | None) -> None:
    assert Settings(**choices).pause_s == pause_s


def test_the_core_waits_longer_than_every_stage() -> None:
    assert Timeouts(connect_s=1, initialize_s=2).opening_s == 3
    stages = {"llm_first_s": 1, "llm_gap_s": 1, "tts_first_s": 1, "tts_gap_s": 1}
    for slowest in stages:
        assert Timeouts(connect_s=2, backstop_s=3, **{**stages, slowest: 70}).generation_s == 75


ENUMERATIONS = [
    each
    for room in (states, model, table, endpointing, backchannels)
    for each in vars(room).values()
    if isinstance(each, type) and issubclass(each, Enum) and list(each) and each.__module__ == room.__name__
]


@pytest.mark.parametrize("enumeration", ENUMERATIONS, ids=lambda each: each.__name__)
def test_what_is_sent_stored_and_logged_is_the_name_in_small_letters(enumeration: type[Enum]) -> None:
    assert [member.value for member in enumeration] == [member.name.lower() for member in enumeration]
