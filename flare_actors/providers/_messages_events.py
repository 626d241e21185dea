"""What an answer of the messages API says in its server-sent events, and a conversation in its words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from flare_actors.errors import ProviderError
from flare_actors.ports import LimitReached, Message, TextDelta, ToolCall, ToolCallDelta, ToolChoice, ToolSpec, Usage
from flare_actors.providers._sse import EventReader, error_code, read_json

__all__ = ["MessagesReader", "write_messages", "write_tools"]

MAX_BLOCKS: Final = 64  # in one answer
MAX_ARGUMENT_CHARS: Final = 1 << 16
# A conversation must begin with the user, but ours may begin with a welcome.
BEGINNING: Final = "(The conversation begins.)"


class MessagesReader:
    """An answer out of the bytes of its stream: text and calls as they come; how it ended, in fields."""

    def __init__(self) -> None:
        self._events = EventReader("llm")
        self._call: ToolCall | None = None
        self._blocks = 0
        self._given = 0
        self._written = 0
        self._counted = False
        self.done = False
        """The answer is complete."""

    @property
    def usage(self) -> Usage | None:
        """The latest count; cached input counts like any other."""
        return Usage(input_tokens=self._given, output_tokens=self._written) if self._counted else None

    def feed(self, chunk: bytes) -> Iterator[TextDelta | ToolCall | ToolCallDelta | LimitReached]:
        """What is known with this chunk.

        Raises:
            ProviderError: it is no such stream, or tells of a failure.
        """
        for data in self._events.feed(chunk):
            yield from self._read(read_json("llm", data, "message"))

    def _read(self, event: Mapping[str, Any]) -> Iterator[TextDelta | ToolCall | ToolCallDelta | LimitReached]:
        match event:
            case {"type": "message_start", "message": Mapping() as message}:
                self._count(message.get("usage"))
            case {"type": "content_block_start", "content_block": Mapping() as block}:
                yield from self._begin(block)
            case {"type": "content_block_delta", "delta": Mapping() as delta}:
                yield from self._grow(delta)
            case {"type": "content_block_stop"}:
                yield from self._finish()
            case {"type": "message_delta"}:
                self._count(event.get("usage"))
                match event:
                    case {"delta": {"stop_reason": "max_tokens"}}:
                        self._call = None  # Cut off within a call: nobody knows what was to be in it.
                        yield LimitReached()
            case {"type": "message_stop"}:
                yield from self._finish()
                self.done = True
            case {"type": "error"}:
                raise ProviderError("llm", f"the server failed while answering{error_code(event.get('error'))}")
            case {"type": "message_start" | "content_block_start" | "content_block_delta"} | {"type": None}:
                raise _foreign("an event")
            case {"type": str()}:
                pass  # pings, and what will be invented
            case _:
                raise _foreign("an event")

    def _begin(self, block: Mapping[str, Any]) -> Iterator[TextDelta | ToolCall | ToolCallDelta]:
        yield from self._finish()
        self._blocks += 1
        if self._blocks > MAX_BLOCKS:
            raise ProviderError("llm", f"the answer holds more than {MAX_BLOCKS} blocks")
        match block:
            case {"type": "text", "text": str(text)}:
                if text:
                    yield TextDelta(text=text)
            case {"type": "tool_use", "id": str(call), "name": str(name)} if name:
                given = block.get("input")
                arguments = json.dumps(given, ensure_ascii=False) if isinstance(given, Mapping) and given else ""
                self._call = ToolCall(call=call or f"call{self._blocks}", name=name, arguments=arguments)
                yield ToolCallDelta(call=self._call.call, name=name, arguments=arguments)
            case {"type": "text" | "tool_use"}:
                raise _foreign("a block")
            case _:
                pass  # thinking, and what servers do with tools of their own

    def _grow(self, delta: Mapping[str, Any]) -> Iterator[TextDelta | ToolCallDelta]:
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                if text:
                    yield TextDelta(text=text)
            case {"type": "input_json_delta", "partial_json": str(more)}:
                call = self._call
                if call is None:
                    return  # of a tool that is the server's own business
                if len(call.arguments) + len(more) > MAX_ARGUMENT_CHARS:
                    raise ProviderError(
                        "llm", f"the answer holds a tool call with more than {MAX_ARGUMENT_CHARS} characters"
                    )
                self._call = attrs.evolve(call, arguments=call.arguments + more)
                yield ToolCallDelta(call=call.call, name=call.name, arguments=more)
            case {"type": "text_delta" | "input_json_delta"}:
                raise _foreign("a delta")
            case _:
                pass

    def _finish(self) -> Iterator[ToolCall]:
        call, self._call = self._call, None
        if call is not None:
            yield attrs.evolve(call, arguments=call.arguments.strip() or "{}")

    def _count(self, usage: object) -> None:
        if not isinstance(usage, Mapping):
            return
        self._counted = True
        given = [usage.get(f"{which}input_tokens") for which in ("", "cache_creation_", "cache_read_")]
        if any(isinstance(each, int) and each for each in given):
            self._given = sum(each for each in given if isinstance(each, int))
        if isinstance(written := usage.get("output_tokens"), int):
            self._written = written


def write_messages(messages: Sequence[Message]) -> tuple[str, list[dict[str, object]]]:
    """The instructions, and the turns: user and assistant in alternation, the user first, none of them empty."""
    instructions = "\n\n".join(each.content for each in messages if each.role == "system")
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(_write_blocks(message))
        if not blocks:
            continue
        if not turns and role == "assistant":
            turns.append(("user", [{"type": "text", "text": BEGINNING}]))
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return instructions, [{"role": role, "content": blocks} for role, blocks in turns]


def _write_blocks(message: Message) -> Iterator[dict[str, object]]:
    if message.role == "tool":
        result: dict[str, object] = {"type": "tool_result", "tool_use_id": message.call, "content": message.content}
        yield result | ({"is_error": True} if message.failed else {})
        return
    if message.content.strip():
        yield {"type": "text", "text": message.content}
    for call in message.calls:
        yield {"type": "tool_use", "id": call.call, "name": call.name, "input": _arguments(call)}


def _arguments(call: ToolCall) -> object:
    """An object, as the API insists on; what a model wrote may be broken, and its result says so."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def write_tools(tools: Sequence[ToolSpec], choice: ToolChoice) -> dict[str, object]:
    """The fields of the request that offer tools; none without tools."""
    if not tools:
        return {}
    offered = [{"name": each.name, "description": each.description, "input_schema": each.schema} for each in tools]
    return {"tools": offered, "tool_choice": {"type": "any" if choice == "required" else choice}}


def _foreign(what: str) -> ProviderError:
    return ProviderError("llm", f"the event stream holds {what} that is not a message's")
