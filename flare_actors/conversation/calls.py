"""What a language model may ask to have done: tools, as it is told of them, and its calls."""

from __future__ import annotations

import json
import re
from typing import Any, Final, Literal, TypeAlias

import attrs

__all__ = ["CUT_OFF", "IN_BACKGROUND", "AnswerRest", "ToolCall", "ToolChoice", "ToolSpec", "ToolUse"]

ToolChoice: TypeAlias = Literal["auto", "none", "required"]
"""Whether the model may call tools as it likes, must not, or must call at least one. (To have it call a certain one, offer
that one alone, and require it.)"""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What OpenAI's and Anthropic's APIs take alike."""

IN_BACKGROUND: Final = "It has begun and goes on in the background; the result will be told here when it is there."
"""What the model is told at first of a detached tool."""
CUT_OFF: Final = "The user interrupted. It is not known whether it took effect."
"""What the model is told of a call that was cancelled with its turn, where that matters."""

_NO_ARGUMENTS: Final = '{"type": "object", "properties": {}}'


@attrs.frozen(kw_only=True)
class ToolSpec:
    """A tool as the model is told of it. By itself, without a function, it is one that the client carries out."""

    name: str = attrs.field()
    """Letters, digits, ``_`` and ``-``, at most 64."""
    description: str = attrs.field(default="", repr=False)
    """What it does and when to call it, written for the model."""
    parameters: str = attrs.field(default=_NO_ARGUMENTS, repr=False)
    """The JSON text of a JSON schema of type ``object``: its arguments."""

    @name.validator
    def _is_a_name(self, _: object, value: str) -> None:
        if _NAME.fullmatch(value) is None:
            raise ValueError("a tool's name has 1 to 64 letters, digits, '_' and '-'")

    @parameters.validator
    def _is_a_schema(self, _: object, value: str) -> None:
        try:
            schema = json.loads(value)
        except (ValueError, RecursionError):
            schema = None
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise ValueError("a tool's parameters are the JSON text of a JSON schema of type 'object'")

    @property
    def schema(self) -> dict[str, Any]:
        """``parameters`` as an object, a new one each time."""
        schema: dict[str, Any] = json.loads(self.parameters)
        return {"type": "object", **schema}


@attrs.frozen(kw_only=True)
class AnswerRest:
    """What is different in an answer from the results of its tools on; None: as before."""

    instructions: str | None = attrs.field(default=None, repr=False)
    """After the agent's own."""
    replace: bool = False
    """... in place of the agent's own."""
    max_tokens: int | None = None
    """The longest rest, in the model's tokens; 0: as long as the model likes."""
    tools: tuple[ToolSpec, ...] | None = None
    """What the client can carry out."""
    tool_choice: ToolChoice | None = None
    """Of the next request to the model."""


@attrs.frozen(kw_only=True)
class ToolCall:
    """The model asks for a tool."""

    call: str
    """The call's id, by which its result is matched: letters and digits. Of a provider's own making it need only be unique
    within its answer; the session gives each call one of its own."""
    name: str
    """Which tool. Models invent some."""
    arguments: str = attrs.field(default="{}", repr=False)
    """The JSON text of an object, as the model wrote it: it may be broken."""


@attrs.frozen(kw_only=True, slots=False)
class ToolUse:
    """A call that is carried out, as far as it has come."""

    call: str
    name: str
    arguments: str = attrs.field(repr=False)
    step: int = 0
    """Which of the turn's requests to the model it came of, from 0."""
    due: float = 0.0
    """Seconds since the session's start: by then its own timeout has ended it."""
    client: bool = False
    """The client carries it out."""
    detached: bool = False
    """It goes on in the background, whatever becomes of its turn."""
    announced: bool = False
    """Of a detached one: when it is done, the agent speaks of it by itself."""
    survives: bool = False
    """It is remembered although its turn is interrupted."""
    output: str | None = attrs.field(default=None, repr=False)
    """What the model is told of it; None: nothing yet."""
    failed: bool = False
