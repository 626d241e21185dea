"""Changes of settings as data: taken as each setting takes them, all of them or none."""

from __future__ import annotations

import math

import pytest

from flare_actors.conversation import BargeIn, Settings
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.changes import FIXED, Change, WrongSetting, changed, changes


def test_names_come_in_order_and_values_as_json_has_them() -> None:
    assert changes({"welcome": None, "barge_in": BargeIn.OFF, "idle_prompts": ["a", "b"], "endpoint_s": 0.5}) == (
        Change(name="barge_in", value="off"),
        Change(name="endpoint_s", value=0.5),
        Change(name="idle_prompts", value=("a", "b")),
        Change(name="welcome", value=None),
    )


@pytest.mark.parametrize("value", [object(), {"a": 1}, ["a", 1], (None,), b"x"])
def test_a_kind_that_no_setting_has_is_refused(value: object) -> None:
    with pytest.raises(WrongSetting, match=f"welcome: takes no {type(value).__name__}") as wrong:
        changes({"welcome": value})
    assert wrong.value.name == "welcome"


def test_no_repr_shows_what_is_to_be_said() -> None:
    assert "Hello" not in repr(Change(name="welcome", value="Hello."))


@pytest.mark.parametrize(
    ("name", "value", "then"),
    [
        ("barge_in", "off", BargeIn.OFF),
        ("endpoint_s", 1, 1.0),
        ("soft_endpoint_s", None, None),
        ("soft_endpoint_s", 0.5, 0.5),
        ("welcome", None, None),
        ("welcome", "Hi.", "Hi."),
        ("auto_answer", False, False),
        ("answer_tokens", 7, 7),
        ("idle_prompts", ("a",), ("a",)),
        ("locale", "tr-TR", "tr-TR"),
    ],
)
def test_each_setting_takes_what_it_is(name: str, value: object, then: object) -> None:
    settings = changed(Settings(), [Change(name=name, value=value)])  # type: ignore[arg-type]
    assert getattr(settings, name) == then
    assert type(getattr(settings, name)) is type(then)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("colour", "red", "there is no such setting"),
        *((name, None, "cannot be changed during a session; set it before") for name in sorted(FIXED)),
        ("barge_in", "perhaps", "takes one of 'full', 'guarded', "),
        ("barge_in", None, "takes one of 'full', 'guarded', "),
        ("endpoint_s", "long", "takes a number"),
        ("endpoint_s", True, "takes a number"),
        ("endpoint_s", math.inf, "takes a number"),
        ("endpoint_s", math.nan, "takes a number"),
        ("endpoint_s", None, "takes a number"),
        ("locale", None, "takes a text"),
        ("locale", 7, "takes a text"),
        ("auto_answer", 1, "takes true or false"),
        ("answer_tokens", 1.5, "takes a whole number"),
        ("answer_tokens", True, "takes a whole number"),
        ("idle_prompts", "Hello?", "takes a list of texts"),
        ("endpoint_s", -1.0, "out of bounds"),
        ("locale", "x", "out of bounds"),
    ],
)
def test_what_a_setting_does_not_take_is_refused_by_its_name(name: str, value: object, says: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        changed(Settings(), [Change(name="welcome", value="Hi."), Change(name=name, value=value)])  # type: ignore[arg-type]
    assert str(wrong.value).startswith(f"{name}: {says}")
    assert wrong.value.name == name


def test_the_last_of_two_changes_of_one_setting_counts() -> None:
    settings = changed(Settings(), [Change(name="locale", value="de-DE"), Change(name="locale", value="tr-TR")])
    assert settings.locale == "tr-TR"


# --- Tools, as they are told of -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "get_time", "A-1", "x" * 64])
def test_a_tool_has_a_name_that_every_model_takes(name: str) -> None:
    assert ToolSpec(name=name).name == name


@pytest.mark.parametrize("name", ["", "x" * 65, "get time", "günün", "a.b"])
def test_a_name_that_some_model_refuses_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 letters"):
        ToolSpec(name=name)


@pytest.mark.parametrize("parameters", ["", "{", "[]", "7", '{"type": "array"}', "[" * 100_000])
def test_parameters_that_are_no_schema_of_an_object_are_refused(parameters: str) -> None:
    with pytest.raises(ValueError, match="a JSON schema of type 'object'"):
        ToolSpec(name="tea", parameters=parameters)


def test_a_schema_says_that_it_is_an_objects() -> None:
    assert ToolSpec(name="tea").schema == {"type": "object", "properties": {}}
    assert ToolSpec(name="tea", parameters='{"required": []}').schema == {"type": "object", "required": []}
