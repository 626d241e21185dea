"""Tools: Python functions that the language model may call.

    @tool(safe=True, timeout_s=5)
    async def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
        \"\"\"The weather in a city, now.\"\"\"

    agent = Agent(tools=[get_weather], ...)

The signature makes the JSON schema, the docstring the description. What the model sends is read strictly; what does not fit
is told to the model, which then tries again. A function's exceptions are told to the model by their type alone, because their
texts may hold what is nobody's business; raise ``ToolError`` for what it should know.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union, overload

import attrs
import trio

from flare_actors.conversation.calls import ToolSpec
from flare_actors.errors import ToolError

if TYPE_CHECKING:
    from flare_actors._signatures import Parameter  # It loads cattrs: only for those who have tools.

__all__ = ["Offer", "Tool", "as_tools", "tool"]

THREADS: Final = 32
"""Functions that are not async and run at a time, of all sessions together; more wait, within their own time."""
_limiter: Final[trio.lowlevel.RunVar[trio.CapacityLimiter]] = trio.lowlevel.RunVar("tool threads")


def _not_blank(_: object, attribute: attrs.Attribute[str | None], value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} is something to say, or None")


@attrs.frozen(kw_only=True, eq=False)
class Tool:
    """A function that the model may call, and how. Made by ``tool``; calling it calls the function.

    Cancellation: a tool is cancelled with its turn (the user interrupts, the client is gone), unless it is detached; none
    outlives its session. A function that is not async runs in a worker thread, which is abandoned then.
    """

    function: Callable[..., object] = attrs.field(repr=False)
    """What is called, with keyword arguments only."""
    spec: ToolSpec
    """What the model is told."""
    timeout_s: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    """Seconds after which it is cancelled, and the model told so; None: ``Timeouts.tool_s``. A detached one has this time,
    too."""
    safe: bool = False
    """It only looks something up: nobody minds if it is called in vain. Others wait until it is certain that the user has
    finished speaking, while answers are begun ahead (``soft_endpoint_s``)."""
    survives: bool = attrs.field()
    """The call and its result are remembered although the user interrupts the answer. Default: unless it is safe, because
    what was done was done, and what was looked up can be looked up again."""
    detached: bool = False
    """It goes on in the background: the model is told at once that it has begun, and of its result in the next answer."""
    announced: bool = False
    """Of a detached one: when it is done, the agent speaks of it by itself, as soon as the floor is free."""
    filler: str | None = attrs.field(default=None, validator=_not_blank)
    """Said when it takes longer than ``filler_after_s``, once in an answer, if the model has said nothing itself."""
    filler_after_s: float = attrs.field(default=1.0, validator=attrs.validators.ge(0))
    """Seconds. About one is the longest silence that is usual in conversation (Jefferson, "Preliminary notes on a possible
    metric which provides for a 'standard maximum' silence of approximately one second in conversation", 1989)."""
    parameters: tuple[Parameter, ...] = attrs.field(repr=False)
    """The function's, in order."""

    @survives.default
    def _survives(self) -> bool:
        return not self.safe

    def __attrs_post_init__(self) -> None:
        if self.safe and self.detached:
            raise ValueError(f"tool {self.spec.name!r}: what goes on in the background is not safe; choose one")
        if self.announced and not self.detached:
            raise ValueError(f"tool {self.spec.name!r}: announced is for detached tools; set detached, too")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the function has it
        """Call the function as it is."""
        return self.function(*args, **kwargs)

    def read(self, arguments: str) -> dict[str, object]:
        """The function's arguments out of the JSON text that the model wrote.

        Raises:
            ToolError: they do not fit; the message says all that is wrong, for the model.
        """
        try:
            given = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ToolError("the arguments are no JSON") from None
        if not isinstance(given, dict):
            raise ToolError("the arguments are no JSON object")
        read: dict[str, object] = {}
        problems = [
            f"{name}: there is no such argument" for name in given if name not in {p.name for p in self.parameters}
        ]
        for parameter in self.parameters:
            if parameter.name in given:
                value, wrong = parameter.read(given[parameter.name])
                read[parameter.name] = value
                problems += wrong
            elif parameter.required:
                problems.append(f"{parameter.name}: required and missing")
        if problems:
            raise ToolError("the arguments do not fit: " + "; ".join(problems))
        return read

    async def run(self, arguments: Mapping[str, object]) -> str:
        """Call the function and give its result as text for the model: a string as it is, all else as JSON.

        Raises:
            TypeError: the result has no JSON form.
            Exception: what the function raises.

        Cancellation: an async function's is its own; one that runs in a thread is left to itself there.
        """
        if _is_async(self.function):
            result = await self.function(**arguments)  # type: ignore[misc] # it was asked whether it can be awaited
        else:
            call = functools.partial(self.function, **arguments)
            result = await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=_threads())
        if isinstance(result, str):
            return result
        if result is None:
            return "done"
        from flare_actors._signatures import converter

        return json.dumps(converter().unstructure(result), ensure_ascii=False)


Offer: TypeAlias = Union[Tool, ToolSpec, Callable[..., object]]
"""What an agent takes for a tool: one made by ``tool``, a plain function, or the spec of one that the client carries out."""


@overload
def tool(function: Callable[..., object], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    safe: bool = False,
    survives: bool | None = None,
    detached: bool = False,
    announced: bool = False,
    filler: str | None = None,
    filler_after_s: float = 1.0,
) -> Callable[[Callable[..., object]], Tool]: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    **choices: Any,
) -> Tool | Callable[[Callable[..., object]], Tool]:
    """Offer a function to the model: ``@tool``, or ``@tool(safe=True, ...)``.

    Args:
        function: async or not, with a type for each parameter: ``str``, ``int``, ``float``, ``bool``, ``Literal``, enums,
            lists, ``dict[str, ...]``, attrs classes and dataclasses, and these ``| None``. ``Annotated[str, "..."]``
            describes a parameter, and so does the docstring's ``Args``.
        name: default: the function's.
        description: default: the docstring.
        choices: the fields of ``Tool``.

    Raises:
        TypeError: a parameter has no type, or one that has no JSON schema.
        ValueError: the name is none, or choices contradict each other.
    """
    if function is None:
        return functools.partial(_make, name=name, description=description, **choices)
    return _make(function, name=name, description=description, **choices)


def _make(function: Callable[..., object], *, name: str | None, description: str | None, **choices: Any) -> Tool:  # noqa: ANN401 - fields
    if choices.get("survives", 0) is None:
        del choices["survives"]
    from flare_actors._signatures import parameters_of

    parameters, about, schema = parameters_of(function)
    spec = ToolSpec(
        name=name or str(getattr(function, "__name__", type(function).__name__)),
        description=about if description is None else description,
        parameters=json.dumps(schema, ensure_ascii=False),
    )
    return Tool(function=function, spec=spec, parameters=parameters, **choices)


def as_tools(offers: Iterable[Offer]) -> tuple[Tool | ToolSpec, ...]:
    """An agent's tools; plain functions become tools.

    Raises:
        ValueError: two have the same name.
        TypeError, ValueError: as for ``tool``.
    """
    tools = tuple(each if isinstance(each, Tool | ToolSpec) else tool(each) for each in offers)
    names = [each.name if isinstance(each, ToolSpec) else each.spec.name for each in tools]
    for each in names:
        if names.count(each) > 1:
            raise ValueError(f"two tools are called {each!r}; give one of them another name: tool(name=...)")
    return tools


def _is_async(function: Callable[..., object]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(function, "__call__", None)  # noqa: B004 - not whether it can be called, but how
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _threads() -> trio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
        return limiter
