"""Tools by themselves: signatures become schemas, what a model sends is read by them, results become text."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import attrs
import jsonschema
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flare_actors import ToolError, ToolSpec, tool
from flare_actors.config import Config, load
from flare_actors.config.agent import open_agent
from flare_actors.errors import ConfigError
from flare_actors.providers import registry
from flare_actors.testing.values import values
from flare_actors.tools import Tool, as_tools


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Cup:
    """A cup of something."""

    size: Size
    sugar: int | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass
class Order:
    cups: list[Cup]
    by: Mapping[str, int] = dataclasses.field(default_factory=dict)


@attrs.frozen
class Tree:
    children: list[Tree]


def everything(
    text: str,
    count: int,
    share: float,
    yes: bool,
    cup: Cup,
    order: Order,
    kind: Literal["tea", 3],
    size: Annotated[Size, "how much of it"],
    either: int | str | None,
    pair: tuple[int, str],
    many: Sequence[float],
    unique: set[str],
    table: dict[str, list[bool]],
    anything: Any,
    maybe: str | None = None,
    limit: int = 5,
) -> str:
    """Takes all there is.

    More about it.

    Args:
        text: some
            words
        count (int): how many

    Returns:
        Nothing that the model must know.
    """
    raise NotImplementedError


EVERYTHING = tool(everything)


def schema(made: Tool) -> dict[str, Any]:
    return made.spec.schema


def test_a_signature_is_a_schema_and_the_docstring_its_words():
    assert (EVERYTHING.spec.name, EVERYTHING.spec.description) == (
        "everything",
        "Takes all there is.\n\nMore about it.",
    )
    found = schema(EVERYTHING)
    jsonschema.Draft202012Validator.check_schema(found)
    properties = found["properties"]
    assert properties["text"] == {"type": "string", "description": "some words"}
    assert properties["count"] == {"type": "integer", "description": "how many"}
    assert properties["kind"] == {"enum": ["tea", 3]}
    assert properties["size"] == {"enum": ["small", "large"], "description": "how much of it"}
    assert properties["either"] == {"type": ["integer", "string", "null"]}
    assert properties["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert properties["unique"] == {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    assert properties["cup"]["description"] == "A cup of something."
    assert properties["cup"]["required"] == ["size"]
    assert properties["order"]["properties"]["cups"]["items"] == properties["cup"]
    assert properties["anything"] == {}
    assert properties["limit"] == {"type": "integer", "default": 5}
    assert found["required"] == [name for name in properties if name not in {"maybe", "limit"}]
    assert found["additionalProperties"] is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(["small", "tea"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["size", "sugar", "notes", "x"]), inner)
    ),
    max_leaves=4,
)


@given(st.sampled_from([each.name for each in EVERYTHING.parameters]), JSON)
def test_what_the_schema_takes_is_read_and_nothing_else_is(name, value):
    (parameter,) = [each for each in EVERYTHING.parameters if each.name == name]
    only = attrs.evolve(EVERYTHING, parameters=(parameter,), survives=True)
    if name == "unique" and isinstance(value, list) and len(value) != len(set(map(repr, value))):
        return  # A set does not mind.
    try:
        read = only.read(json.dumps({name: value}))
    except ToolError:
        assert not jsonschema.Draft202012Validator(schema(EVERYTHING)["properties"][name]).is_valid(value)
    else:
        assert jsonschema.Draft202012Validator(schema(EVERYTHING)["properties"][name]).is_valid(value), value
        assert set(read) == {name}


@given(values(Cup))
def test_objects_come_as_they_were_meant(cup):
    @tool
    def take(cup: Cup) -> None: ...

    text = json.dumps({"cup": {"size": cup.size.value, "sugar": cup.sugar, "notes": list(cup.notes)}})
    assert take.read(text) == {"cup": cup}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nonsense", "the arguments are no JSON"),
        ("[" * 100_000, "the arguments are no JSON"),
        ("[]", "the arguments are no JSON object"),
        ("{}", "the arguments do not fit: cup: required and missing"),
        ('{"cup": 1}', "the arguments do not fit: cup: expected an object, got an integer"),
        ('{"cup": {}}', "the arguments do not fit: required and missing at cup.size"),
        (
            '{"cup": {"size": "big", "sugar": "a"}, "milk": 1}',
            "milk: there is no such argument; expected one of 'small', 'large' at cup.size; expected an integer, got a string",
        ),
        ('{"cup": {"size": "small", "notes": ["a", 1]}}', "expected a string, got an integer at cup.notes[1]"),
        ('{"cup": {"size": "small", "notes": "abc"}}', "expected an array, got a string at cup.notes"),
    ],
)
def test_what_does_not_fit_is_said_so_that_a_model_can_mend_it(arguments, message):
    @tool
    def take(cup: Cup) -> None: ...

    with pytest.raises(ToolError) as caught:
        take.read(arguments)
    assert message in str(caught.value)


def no_type(x) -> None: ...
def odd_type(x: complex) -> None: ...
def itself(x: Tree) -> None: ...
def keys(x: dict[int, str]) -> None: ...
def nameless(*x: str) -> None: ...
def unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_type, "'no_type': parameter 'x' has no type; give it one, e.g. x: str"),
        (odd_type, "parameter 'x' is complex, which no JSON schema is known for"),
        (itself, "Tree, which no JSON schema is known for"),
        (keys, "no JSON schema is known for"),
        (nameless, "parameter 'x' has no name of its own"),
        (unknown, "its types name 'Nowhere'"),
    ],
)
def test_a_signature_that_makes_no_schema_is_refused_by_name(function, message):
    with pytest.raises(TypeError, match=message):
        tool(function)


@pytest.mark.parametrize(
    "choices",
    [
        {"safe": True, "detached": True},
        {"announced": True},
        {"timeout_s": 0},
        {"filler": "  "},
        {"name": "no spaces"},
    ],
)
def test_choices_that_make_no_sense_together_are_refused(choices):
    with pytest.raises(ValueError, match=r"tool|timeout_s|filler"):
        tool(**choices)(lambda: None)


def test_what_was_done_survives_an_interruption_and_what_was_looked_up_does_not():
    assert tool(name="a")(lambda: None).survives
    assert not tool(name="a", safe=True)(lambda: None).survives
    assert tool(name="a", safe=True, survives=True)(lambda: None).survives


class Counter:
    """Counts."""

    def __init__(self) -> None:
        self.total = 0

    async def add(self, n: int = 1) -> int:
        """Add to it."""
        self.total += n
        return self.total

    async def __call__(self, n: int) -> int:
        return await self.add(n)


async def test_methods_partials_and_callables_are_tools_too():
    counter = Counter()
    add = tool(counter.add)
    assert (add.spec.name, add.spec.description) == ("add", "Add to it.")
    assert await add.run(add.read("{}")) == "1"
    again = tool(name="again")(functools.partial(counter.add, n=5))
    assert await again.run({}) == "6"
    called = tool(counter)
    assert called.spec.name == "Counter"
    assert await called.run({"n": 4}) == "10"
    assert await add(2) == 12, "a tool is still its function"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        (None, "done"),
        (7, "7"),
        ([Cup(Size.SMALL)], '[{"size": "small", "sugar": null, "notes": []}]'),
        ({"ö": 1.5}, '{"ö": 1.5}'),
    ],
)
async def test_results_are_text_for_the_model(result, text):
    assert await tool(name="f")(lambda: result).run({}) == text


async def test_a_function_that_is_not_async_does_not_block_the_others():
    @tool
    def where() -> str:
        return str(trio.from_thread.run_sync(trio.lowlevel.current_task).name != "")

    assert await where.run({}) == "True"


def test_an_agents_tools_have_names_of_their_own():
    spec = ToolSpec(name="everything")
    assert as_tools([everything]) != ()
    with pytest.raises(ValueError, match="two tools are called 'everything'"):
        as_tools([everything, spec])


async def test_a_configuration_names_functions(tmp_path, monkeypatch):
    (tmp_path / "my_house_tools.py").write_text("def lamp(on: bool) -> None: ...\nnothing = 3\ndef odd(x): ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    def configured(*names: str) -> Config:
        file = tmp_path / "agent.toml"
        scripted = "".join(f'[providers.{stage}]\nuse = "scripted"\n' for stage in ("vad", "stt", "llm", "tts"))
        file.write_text(f"[agent]\ntools = {list(names)!r}\n{scripted}")
        return load(file, catalogue=registry)

    async with open_agent(configured("my_house_tools:lamp")) as agent:
        (lamp,) = agent.tools
        assert isinstance(lamp, Tool)
        assert lamp.read('{"on": true}') == {"on": True}
    for name, message in {
        "no_such_module:f": "finds no module 'no_such_module'",
        "my_house_tools:f": "has no 'f'",
        "my_house_tools:nothing": "is no function",
        "my_house_tools:odd": "parameter 'x' has no type",
    }.items():
        with pytest.raises(ConfigError, match=message):
            async with open_agent(configured(name)):
                pass
    with pytest.raises(ConfigError, match="tools"):
        configured("just_a_word")
