"""What a chat completion says in its server-sent events. Pure: bytes in, values out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, Union

import attrs

from flare_actors.errors import ProviderError
from flare_actors.ports import LimitReached, TextDelta, ToolCall, ToolCallDelta, Usage
from flare_actors.providers._sse import EventReader, error_code, read_json

__all__ = [
    "CallPart",
    "CallReader",
    "ErrorEvent",
    "Finished",
    "StreamOutput",
    "read_event",
]

DONE: Final = "[DONE]"
MAX_CALLS: Final = 64  # in one answer; OpenAI's own limit for tools is 128, and nobody calls half of them at a time
MAX_ARGUMENT_CHARS: Final = 1 << 16


@attrs.frozen(kw_only=True)
class Finished:
    """The answer is complete."""

    end_of_stream: bool
    """Nothing comes after it, not even counts."""
    limited: bool = False
    """It would have been longer, had it been allowed more tokens."""


@attrs.frozen(kw_only=True)
class ErrorEvent:
    """The server failed in the middle of its answer."""

    code: str
    """`` code`` for a message, or nothing."""


@attrs.frozen(kw_only=True)
class CallPart:
    """A piece of a tool call, as servers cut them."""

    index: int | None
    """Which call of the answer; some servers leave it out, or say 0 always."""
    call: str
    """The id; empty in pieces that go on with a call, and always with some servers."""
    name: str
    arguments: str = attrs.field(repr=False)


StreamOutput: TypeAlias = Union[TextDelta, CallPart, Usage, Finished, ErrorEvent]


class CallReader:
    """Tool calls out of their pieces, which come in order: a call is whole when the next one begins, or the answer ends."""

    def __init__(self) -> None:
        self._index: int | None = None
        self._id = ""
        self._call: ToolCall | None = None
        self._count = 0

    def feed(self, part: CallPart) -> Iterator[ToolCall | ToolCallDelta]:
        """What is known with this piece.

        Raises:
            ProviderError: it belongs to no call, or there is no end of them.
        """
        # A new index or a new id is a new call: servers that send whole calls may number all of them 0, or give no ids either.
        other = part.index != self._index or (
            part.name != "" and (part.call != self._id if part.call else self._is_whole())
        )
        if self._call is None or other:
            yield from self.finish()
            if not part.name:
                raise _foreign("a tool call without a name")
            self._count += 1
            if self._count > MAX_CALLS:
                raise ProviderError("llm", f"the answer holds more than {MAX_CALLS} tool calls")
            self._index, self._id = part.index, part.call
            self._call = ToolCall(call=part.call or f"call{self._count}", name=part.name, arguments="")
        call = self._call
        self._call = attrs.evolve(call, arguments=call.arguments + part.arguments)
        if len(self._call.arguments) > MAX_ARGUMENT_CHARS:
            raise ProviderError("llm", f"the answer holds a tool call with more than {MAX_ARGUMENT_CHARS} characters")
        yield ToolCallDelta(call=call.call, name=call.name, arguments=part.arguments)

    def _is_whole(self) -> bool:
        """The arguments are there to their end: whoever begins another call now does not go on with this one."""
        try:
            return self._call is not None and isinstance(json.loads(self._call.arguments), Mapping)
        except (ValueError, RecursionError):
            return False

    def finish(self) -> Iterator[ToolCall]:
        """The call that was under way: nothing more comes of it."""
        call, self._call = self._call, None
        if call is not None:
            yield attrs.evolve(call, arguments=call.arguments.strip() or "{}")

    def forget(self) -> None:
        """The answer was cut off in the call that was under way: nobody knows what was to be in it."""
        self._call = None


class AnswerReader:
    """An answer out of the bytes of its stream: text and calls as they come; how it ended, in fields."""

    def __init__(self) -> None:
        self._events = EventReader("llm")
        self._calls = CallReader()
        self.finished = False
        """The answer is complete."""
        self.done = False
        """Nothing comes after it, not even counts."""
        self.usage: Usage | None = None
        """The latest count: some servers count along, and the last count is the count."""

    def feed(self, chunk: bytes) -> Iterator[TextDelta | ToolCall | ToolCallDelta | LimitReached | ErrorEvent]:
        """What is known with this chunk.

        Raises:
            ProviderError: it is no stream of chat completion chunks.
        """
        for output in (each for data in self._events.feed(chunk) for each in read_event(data)):
            match output:
                case TextDelta() | ErrorEvent():
                    yield output
                case CallPart():
                    yield from self._calls.feed(output)
                case Usage():
                    self.usage = output
                case Finished(end_of_stream=end, limited=limited):
                    self.finished, self.done = True, self.done or end
                    if limited:
                        self._calls.forget()
                        yield LimitReached()
                    yield from self._calls.finish()


def read_event(data: str) -> Iterator[StreamOutput]:
    """What one event says; unknown fields (reasoning, log probabilities) are passed over.

    Raises:
        ProviderError: it is no chat completion chunk.
    """
    if data.strip() == DONE:
        yield Finished(end_of_stream=True)
        return
    chunk = read_json("llm", data, "chat completion chunk")
    if chunk.get("error"):
        yield ErrorEvent(code=error_code(chunk["error"]))
        return
    choices = chunk.get("choices") or []
    if not isinstance(choices, list):
        raise _foreign("'choices'")
    for choice in choices[:1]:
        yield from _read_choice(choice)
    yield from _read_usage(chunk.get("usage"))


def _read_choice(choice: object) -> Iterator[StreamOutput]:
    if not isinstance(choice, Mapping):
        raise _foreign("'choices[0]'")
    delta = choice.get("delta") or {}
    if not isinstance(delta, Mapping):
        raise _foreign("'delta'")
    for name in ("content", "refusal"):  # A refusal is what the model says instead of an answer.
        content = delta.get(name)
        if content is not None and not isinstance(content, str):
            raise _foreign(f"'{name}'")
        if content:
            yield TextDelta(text=content)
    calls = delta.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _foreign("'tool_calls'")
    for call in calls:
        yield _read_call(call)
    if choice.get("finish_reason") is not None:
        yield Finished(end_of_stream=False, limited=choice["finish_reason"] == "length")


def _read_call(call: object) -> CallPart:
    if isinstance(call, Mapping):
        function = call.get("function") or {}
        index, call_id = call.get("index"), call.get("id") or ""
        if isinstance(function, Mapping) and isinstance(index, int | None) and isinstance(call_id, str):
            name, arguments = function.get("name") or "", function.get("arguments")
            if isinstance(arguments, Mapping):  # Some servers forget that it is to be JSON text.
                arguments = json.dumps(arguments, ensure_ascii=False)
            if isinstance(name, str) and isinstance(arguments, str | None):
                return CallPart(index=index, call=call_id, name=name, arguments=arguments or "")
    raise _foreign("'tool_calls'")


def _read_usage(counts: object) -> Iterator[Usage]:
    """Counts, if they are any: an answer is not worse for being counted otherwise."""
    if isinstance(counts, Mapping):
        given, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
        if isinstance(given, int) and isinstance(written, int):
            yield Usage(input_tokens=given, output_tokens=written)


def _foreign(what: str) -> ProviderError:
    return ProviderError("llm", f"the event stream holds {what} that is not a chat completion chunk's")
