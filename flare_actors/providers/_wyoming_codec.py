r"""Wyoming's framing: a line of JSON, then data, then payload. Pure: bytes in, events out, and back.

    {"type": "audio-chunk", "version": "1.0.0", "data_length": 46, "payload_length": 640}\n
    {"rate": 16000, "width": 2, "channels": 1, ...}  <640 bytes of PCM>

An event's data may stand in the line, after it, or both; what stands after it wins, as in the servers' own library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

__all__ = ["Decoder", "Event", "WyomingError", "encode"]

VERSION: Final = "1.8.0"  # of the protocol's description that this follows; servers do not look at it
# A server that knows two hundred voices describes itself in 90 kB; speech comes in pieces of 2-60 kB.
MAX_LINE_BYTES: Final = 1 << 20
MAX_DATA_BYTES: Final = 4 << 20
MAX_PAYLOAD_BYTES: Final = 16 << 20


class WyomingError(ValueError):
    """What came is not the Wyoming protocol; the message quotes nothing of it."""


@attrs.frozen(kw_only=True)
class Event:
    """One message, either way."""

    type: str
    """``describe``, ``audio-chunk``, ..."""
    data: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """JSON."""
    payload: bytes = attrs.field(default=b"", repr=False)


def encode(event: Event) -> bytes:
    """An event's bytes."""
    header: dict[str, object] = {"type": event.type, "version": VERSION}
    data = json.dumps(dict(event.data), ensure_ascii=False).encode() if event.data else b""
    if data:
        header["data_length"] = len(data)
    if event.payload:
        header["payload_length"] = len(event.payload)
    return json.dumps(header).encode() + b"\n" + data + event.payload


class Decoder:
    """Events out of bytes that may be cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        """Bytes of an unfinished line in which there is no line feed."""
        self._header: _Header | None = None

    @property
    def between_events(self) -> bool:
        """Nothing was begun and not finished: a connection may end here."""
        return not self._buffer and self._header is None

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with these bytes.

        Raises:
            WyomingError: they are no such events; nothing that comes later can be understood either.
        """
        self._buffer += data
        while True:
            if self._header is None:
                line = self._line()
                if line is None:
                    return
                self._header = _read_header(line)
            header = self._header
            end = header.data_length + header.payload_length
            if len(self._buffer) < end:
                return
            more = bytes(self._buffer[: header.data_length])
            payload = bytes(self._buffer[header.data_length : end])
            del self._buffer[:end]
            self._header = None
            yield Event(type=header.type, data={**header.data, **_object(more, "data")} if more else header.data,
                        payload=payload)  # fmt: skip

    def _line(self) -> bytes | None:
        at = self._buffer.find(b"\n", self._scanned)
        if max(at, len(self._buffer) if at < 0 else 0) > MAX_LINE_BYTES:
            raise WyomingError("a line without end")
        if at < 0:
            self._scanned = len(self._buffer)
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        self._scanned = 0
        return line


@attrs.frozen(kw_only=True)
class _Header:
    type: str
    data: Mapping[str, Any]
    data_length: int
    payload_length: int


def _read_header(line: bytes) -> _Header:
    header = _object(line, "a line")
    kind, data = header.get("type"), header.get("data")
    if not isinstance(kind, str):
        raise WyomingError("an event without a type")
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise WyomingError("an event whose data is no object")
    return _Header(
        type=kind,
        data=data,
        data_length=_length(header.get("data_length"), MAX_DATA_BYTES),
        payload_length=_length(header.get("payload_length"), MAX_PAYLOAD_BYTES),
    )


def _object(text: bytes, what: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:  # bad UTF-8 is one, too
        raise WyomingError(f"{what} that is no JSON") from None
    except RecursionError:
        raise WyomingError(f"{what} nested without end") from None
    if not isinstance(value, Mapping):
        raise WyomingError(f"{what} that is no object")
    return value


def _length(value: object, most: int) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise WyomingError("an event of impossible length")
    return value
