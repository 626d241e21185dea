"""Server-sent events, and the JSON in them. Pure: bytes in, values out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flare_actors.errors import ProviderError, Stage

__all__ = ["EventReader", "error_code", "read_json"]

MAX_EVENT_BYTES: Final = 1 << 20  # a token's event has a few hundred
# Error codes are words; anything longer may quote the user, or the key.
CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,47}")


class EventReader:
    """The data of server-sent events, out of bytes that may be cut anywhere.

    httpx2 has a reader of its own, but where that refuses an oversized event it leaves the generators underneath open.

    Args:
        stage: whose stream it is, for errors.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage: Stage = stage
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

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
            raise ProviderError(self._stage, "the event stream holds an event without end")

    def _end_line(self, line: bytes) -> Iterator[str]:
        if not self._begun:
            self._begun, line = True, line.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        if not line:
            if self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
                self._data.clear()
            self._size = 0
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))


def read_json(stage: Stage, data: str, what: str) -> Mapping[str, Any]:
    """An event's data as the JSON object that it must be.

    Args:
        stage: whose stream it is, for errors.
        data: of one event.
        what: what it should be: ``chat completion chunk``.

    Raises:
        ProviderError: it is no such thing; what it is instead is not quoted.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ProviderError(stage, "the event stream holds something that is no JSON") from None
    if not isinstance(value, Mapping):
        raise ProviderError(stage, f"the event stream holds an event that is not a {what}'s")
    return value


def error_code(error: object) -> str:
    """The machine-readable code of an ``error`` value, as `` code`` for a message; empty if there is none."""
    if isinstance(error, Mapping):
        for name in ("code", "type"):
            code = error.get(name)
            if isinstance(code, str) and CODE.fullmatch(code):
                return f" {code}"
    return ""
