"""The language model: from what was said to an answer, and the tools that it asks for."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Literal, Protocol, TypeAlias, TypedDict, Union, runtime_checkable

import attrs

from flare_actors.conversation.calls import ToolCall, ToolChoice, ToolSpec

__all__ = [
    "LanguageModel",
    "LimitReached",
    "Message",
    "ModelOptions",
    "ModelOutput",
    "TextDelta",
    "ToolCallDelta",
    "Usage",
    "takes_max_tokens",
    "takes_tools",
]


@attrs.frozen(kw_only=True)
class Message:
    """One entry of what the language model is shown."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = attrs.field(default="", repr=False)
    """Of an assistant's message with calls it may be empty; of a tool's it is the result."""
    calls: tuple[ToolCall, ...] = ()
    """Of an assistant's message: the tools that it asked for. The messages right after it are their results, one for each,
    in the same order."""
    call: str | None = None
    """Of a tool's message: the id of the call whose result it is."""
    failed: bool = False
    """Of a tool's message: the result tells what went wrong."""


@attrs.frozen(kw_only=True)
class TextDelta:
    """The answer grows by this text (any split, never empty)."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ToolCallDelta:
    """The arguments of a call grow. Only a sign of life: the call counts, whole, when ``ToolCall`` comes."""

    call: str
    """As in the ``ToolCall`` that follows."""
    name: str
    arguments: str = attrs.field(repr=False)
    """This piece of them."""


@attrs.frozen(kw_only=True)
class Usage:
    """What the request cost, as the provider counts it."""

    input_tokens: int
    output_tokens: int


@attrs.frozen(kw_only=True)
class LimitReached:
    """The answer ends here because it may not have more tokens: the model had not finished. At most once, before its end."""


ModelOutput: TypeAlias = Union[TextDelta, ToolCallDelta, ToolCall, Usage, LimitReached]


class ModelOptions(TypedDict, total=False):
    """What ``LanguageModel.generate`` may be asked with besides, by its names there.

    For who only hands it on to another model: ``**options: Unpack[ModelOptions]`` and ``guard.ask_model``. A model that
    heeds one of them names it as an argument.
    """

    tools: Sequence[ToolSpec]
    tool_choice: ToolChoice
    max_tokens: int | None


@runtime_checkable
class LanguageModel(Protocol):
    """Writes answers."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        """Answer the last message.

        Args:
            messages: a system message first (if there are instructions), then user and assistant in turn, with the results of
                tools after the calls; the last one is the user's, or a tool's.
            locale: BCP 47 tag of what is spoken.
            tools: what the model may call. A model that knows no tools leaves this argument and the next one out: it is
                given them only where there are tools to be offered, and then fails, once, with a message that says why.
            tool_choice: whether it may, must or must not call one; given with tools only.
            max_tokens: the longest answer, where somebody has asked for a limit; the model's own limit, if it has a lower
                one, stays in force. A model may leave this argument out as well: it then fails where it is asked so.

        Gives the answer's text as it is written, and each call as soon as it is whole, then ends. Who asked carries the
        calls out, and asks again with their results.

        Raises:
            ProviderError: it failed; what came before stays valid.
        """
        ...


def takes_tools(model: LanguageModel) -> bool:
    """Whether a model's ``generate`` has the argument ``tools``: models that were written without may leave it out."""
    return _takes(model, "tools")


def takes_max_tokens(model: LanguageModel) -> bool:
    """Whether a model's ``generate`` has the argument ``max_tokens``, which may be left out, too."""
    return _takes(model, "max_tokens")


def _takes(model: LanguageModel, argument: str) -> bool:
    generate = model.generate
    if isinstance(generate, MethodType) and isinstance(generate.__func__, FunctionType):
        return _method_has(generate.__func__, argument)
    return _has(generate, argument)


@lru_cache(maxsize=64)
def _method_has(function: FunctionType, argument: str) -> bool:
    """Looked up once for each method of a class: a signature takes 50 us, in the way of every answer."""
    return _has(function, argument)


def _has(function: Callable[..., object], argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
