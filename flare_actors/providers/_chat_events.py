"""Server-sent events and what a chat completion says in them. Pure: bytes in, values out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, Union

import attrs

from flare_actors.errors import ProviderError
from flare_actors.ports import TextDelta, Usage

__all__ = ["ErrorEvent", "EventReader", "Finished", "StreamOutput", "error_code", "read_event"]

DONE: Final = "[DONE]"
MAX_EVENT_BYTES: Final = 1 << 20  # a token's event has a few hundred
# Error codes are words; anything longer may quote the user, or the key.
CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,47}")


@attrs.frozen(kw_only=True)
class Finished:
    """The answer is complete."""

    end_of_stream: bool
    """Nothing comes after it, not even counts."""


@attrs.frozen(kw_only=True)
class ErrorEvent:
    """The server failed in the middle of its answer."""

    code: str
    """`` code`` for a message, or nothing."""


StreamOutput: TypeAlias = Union[TextDelta, Usage, Finished, ErrorEvent]


class EventReader:
    """The data of server-sent events, out of bytes that may be cut anywhere.

    httpx2 has a reader of its own, but where that refuses an oversized event it leaves the generators underneath open.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The events that are complete with this chunk.

        Raises:
            ProviderError: an event is longer than any sane one.
        """
        self._size += len(chunk)
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._line += line
            yield from self._end_line(bytes(self._line).removesuffix(b"\r"))
            self._line.clear()
        self._line += rest
        if self._size > MAX_EVENT_BYTES + len(chunk):
            raise ProviderError("llm", "the event stream holds an event without end")

    def _end_line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
                self._data.clear()
            self._size = 0
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))


def read_event(data: str) -> Iterator[StreamOutput]:
    """What one event says; unknown fields (reasoning, log probabilities, tool calls) are passed over.

    Raises:
        ProviderError: it is no chat completion chunk.
    """
    if data.strip() == DONE:
        yield Finished(end_of_stream=True)
        return
    try:
        chunk = json.loads(data)
    except ValueError:
        raise ProviderError("llm", "the event stream holds something that is no JSON") from None
    if not isinstance(chunk, Mapping):
        raise _foreign("an event")
    if chunk.get("error"):
        yield ErrorEvent(code=_code(chunk["error"]))
        return
    choices = chunk.get("choices") or []
    if not isinstance(choices, list):
        raise _foreign("'choices'")
    for choice in choices[:1]:
        yield from _read_choice(choice)
    if counts := chunk.get("usage"):
        yield _read_usage(counts)


def error_code(body: bytes) -> str:
    """The machine-readable code in an error's body, as `` code`` for a message; empty if there is none."""
    try:
        data = json.loads(body)
    except ValueError:
        return ""
    return _code(data.get("error")) if isinstance(data, Mapping) else ""


def _read_choice(choice: object) -> Iterator[StreamOutput]:
    if not isinstance(choice, Mapping):
        raise _foreign("'choices[0]'")
    delta = choice.get("delta") or {}
    if not isinstance(delta, Mapping):
        raise _foreign("'delta'")
    content = delta.get("content")
    if content is not None and not isinstance(content, str):
        raise _foreign("'content'")
    if content:
        yield TextDelta(text=content)
    if choice.get("finish_reason") is not None:
        yield Finished(end_of_stream=False)


def _read_usage(counts: object) -> Usage:
    if isinstance(counts, Mapping):
        given, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
        if isinstance(given, int) and isinstance(written, int):
            return Usage(input_tokens=given, output_tokens=written)
    raise _foreign("'usage'")


def _code(error: object) -> str:
    if isinstance(error, Mapping):
        for name in ("code", "type"):
            code = error.get(name)
            if isinstance(code, str) and CODE.fullmatch(code):
                return f" {code}"
    return ""


def _foreign(what: str) -> ProviderError:
    return ProviderError("llm", f"the event stream holds {what} that is not a chat completion chunk's")
