"""A connection to a Wyoming server, and what the server says of itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.errors import ProviderError, Stage, UnsupportedLocale
from flare_actors.ports import locale_supported
from flare_actors.providers._again import pause_s
from flare_actors.providers._http import short
from flare_actors.providers._sse import error_code
from flare_actors.providers._wyoming_codec import Decoder, Event, WyomingError, encode

__all__ = ["Connection", "ConnectionLost", "Program", "WyomingServer", "WyomingSettings", "audio_format", "check_uri"]

CHUNK_BYTES: Final = 65_536
DESCRIBE_S: Final = 5.0  # a server that takes a connection answers this from memory, if it is one


class WyomingSettings(Protocol):
    """What the settings of both stages have."""

    @property
    def uri(self) -> str: ...
    @property
    def connect_s(self) -> float: ...
    @property
    def retries(self) -> int: ...


def check_uri(_: object, __: attrs.Attribute[str], value: str) -> None:
    """An attrs validator of ``uri``.

    Raises:
        ValueError: it is no ``tcp://HOST:PORT``.
    """
    try:
        url = urlsplit(value)
        good = url.scheme == "tcp" and url.hostname and url.port and not url.path
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be tcp://HOST:PORT, e.g. 'tcp://127.0.0.1:10300'")


def audio_format(rate: int) -> dict[str, object]:
    """The data of ``audio-start`` and ``audio-chunk``."""
    return {"rate": rate, "width": BYTES_PER_SAMPLE, "channels": 1}


@attrs.frozen(kw_only=True)
class Program:
    """The service behind a connection, as its ``info`` has it."""

    languages: tuple[str, ...]
    """As the server writes them: ``en``, ``en_US``; empty: it does not say."""
    streams: bool
    """It takes (TTS) or gives (STT) text piece by piece."""
    choices: tuple[str, ...]
    """Its models or voices, by name."""


class ConnectionLost(ProviderError):
    """The server, or the network, has dropped the connection."""


class Connection:
    """One TCP connection: events out, events in. Closing it is how Wyoming cancels."""

    def __init__(self, stage: Stage, name: str, stream: trio.SocketStream) -> None:
        self._stage: Stage = stage
        self._name = name
        self._stream = stream
        self._decoder = Decoder()
        self._events: deque[Event] = deque()

    async def aclose(self) -> None:
        """Close it, at once; whoever receives is told that it is closed."""
        await trio.aclose_forcefully(self._stream)

    async def send(self, *events: Event) -> None:
        """Send.

        Raises:
            ProviderError: the connection is lost.
        """
        try:
            await self._stream.send_all(b"".join(map(encode, events)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectionLost(self._stage, f"{self._name}: the connection was lost") from None

    async def receive(self) -> Event | None:
        """The next event; None: the connection was closed, by the server or by us.

        Raises:
            ProviderError: it broke, is no Wyoming server's, or the server tells of an error.
        """
        while not self._events:
            try:
                data = await self._stream.receive_some(CHUNK_BYTES)
                self._events.extend(self._decoder.feed(data))
            except trio.ClosedResourceError:
                return None
            except trio.BrokenResourceError:
                raise ConnectionLost(self._stage, f"{self._name}: the connection was lost") from None
            except WyomingError as error:
                message = f"{self._name} sends {error}; is it a Wyoming server?"
                raise ProviderError(self._stage, message, critical=True) from None
            if not data:
                if not self._decoder.between_events:
                    raise ProviderError(self._stage, f"{self._name} broke off in the middle of an event")
                return None
        event = self._events.popleft()
        if event.type == "error":
            raise ProviderError(self._stage, f"{self._name} failed{error_code(event.data)}")
        return event

    async def expect(self) -> Event:
        """The next event; there must be one.

        Raises:
            ProviderError: as ``receive``, or the server has closed the connection.
        """
        event = await self.receive()
        if event is None:
            raise ProviderError(self._stage, f"{self._name} closed the connection before its answer was complete")
        return event


class WyomingServer:
    """Where a stage's server is, and what it said of itself when it was first asked.

    Args:
        stage: ``stt`` or ``tts``.
        settings: where, and how patiently.
        choice: the model or voice that was chosen; None: the server's own.
    """

    def __init__(self, stage: Stage, settings: WyomingSettings, choice: str | None) -> None:
        self._stage: Stage = stage
        self._settings = settings
        self._choice = choice
        self._name = settings.uri.removesuffix("/")
        self._program: Program | None = None

    @property
    def languages(self) -> tuple[str, ...] | None:
        """What it supports; None: it was not asked yet, or does not say."""
        return (self._program.languages or None) if self._program else None

    async def greet(self) -> None:
        """Ask what it is, if it is there; if it is not, the first turn asks again."""
        try:
            await self.check()
        except ProviderError as error:
            if error.critical:
                raise

    async def check(self) -> tuple[str, ...]:
        """Ask for its models or voices, on a connection of its own.

        Raises:
            ProviderError: it is not there, is no Wyoming server, or has no such service; critical if only a change of the
                settings can help.
        """
        connection = await self._dial()
        try:
            self._program = await self._describe(connection)
        finally:
            await connection.aclose()
        return self._program.choices

    async def dial(self) -> tuple[Connection, Program]:
        """A connection of one's own; close it.

        Raises:
            ProviderError: as ``check``.
        """
        connection = await self._dial()
        try:
            if self._program is None:
                self._program = await self._describe(connection)
        except BaseException:  # Cancelled, too: nobody else knows the connection yet.
            await connection.aclose()
            raise
        return connection, self._program

    def language(self, program: Program, locale: str) -> str | None:
        """The server's own name for a locale; None: it does not name languages.

        Raises:
            UnsupportedLocale: it names others.
        """
        if not program.languages:
            return None
        wanted = _tag(locale)
        same = [each for each in program.languages if _tag(each) == wanted]
        alike = [each for each in program.languages if locale_supported(locale, [each])]
        if not alike:
            raise UnsupportedLocale(self._stage, self._name, locale, program.languages)
        return (same or sorted(alike, key=len))[0]

    async def _dial(self) -> Connection:
        url = urlsplit(self._settings.uri)
        assert url.hostname is not None
        assert url.port is not None
        for left in reversed(range(self._settings.retries + 1)):
            try:
                with trio.move_on_after(self._settings.connect_s):
                    return Connection(self._stage, self._name, await trio.open_tcp_stream(url.hostname, url.port))
            except OSError:
                if left:
                    await trio.sleep(pause_s())
                    continue
                message = f"{self._name}: no connection; is the server running, and uri right?"
                raise ProviderError(self._stage, message) from None
            raise ProviderError(self._stage, f"{self._name}: no connection within {self._settings.connect_s:g} s")
        raise AssertionError("the last try raises or returns")

    async def _describe(self, connection: Connection) -> Program:
        with trio.move_on_after(DESCRIBE_S):
            await connection.send(Event(type="describe"))
            while (event := await connection.expect()).type != "info":
                pass
            return self._read_info(event.data)
        raise ProviderError(
            self._stage, f"{self._name} does not say what it is; is it a Wyoming server?", critical=True
        )

    def _read_info(self, info: Mapping[str, Any]) -> Program:
        key, inner, streaming = (
            ("asr", "models", "supports_transcript_streaming")
            if self._stage == "stt"
            else ("tts", "voices", "supports_synthesize_streaming")
        )
        programs = [each for each in _list(info.get(key)) if isinstance(each, Mapping)]
        if not programs:
            raise ProviderError(self._stage, f"{self._name} has no {key} service", critical=True)
        known: list[str] = []
        for program in programs:
            artifacts = [each for each in _list(program.get(inner)) if isinstance(each, Mapping)]
            names = [str(each.get("name")) for each in artifacts]
            if self._choice is not None:
                known += names
                artifacts = [each for each in artifacts if each.get("name") == self._choice]
                if not artifacts:
                    continue
            languages = {str(tag): None for each in artifacts for tag in _list(each.get("languages"))}
            return Program(languages=tuple(languages), streams=program.get(streaming) is True, choices=tuple(names))
        raise ProviderError(
            self._stage,
            f"{self._name} has no {inner[:-1]} {self._choice!r}; it has {_some(known, self._choice or '')}",
            critical=True,
        )


def _some(names: Sequence[str], wanted: str) -> str:
    """A few of many names, those first that may be meant."""
    like = [each for each in names if wanted.lower() in each.lower()] + get_close_matches(wanted, names)
    told = list(dict.fromkeys([*like, *sorted(names)]))
    more = f" and {len(told) - 5} more" if len(told) > 5 else ""
    return ", ".join(map(short, told[:5])) + more if told else "none"


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _tag(locale: str) -> str:
    return locale.lower().replace("_", "-")
