"""HTTP/1.1 as far as a page and a WebSocket handshake need it: request heads in, whole responses out, by h11."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import attrs
import h11

from flare_actors.server.stream import ServerStream

__all__ = [
    "BadRequest",
    "Request",
    "Response",
    "json_response",
    "read_body",
    "read_request",
    "text_response",
    "write_response",
]

Headers = Sequence[tuple[str, str]]

# Only this server's own files; no inline script or style; no frames. 'self' covers the WebSocket.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final[Headers] = (
    ("Content-Security-Policy", _POLICY),
    ("Permissions-Policy", "microphone=(self), camera=(), geolocation=()"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class BadRequest(Exception):
    """What came is no request that can be answered otherwise."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@attrs.frozen(kw_only=True)
class Request:
    """A request's head, and what it takes to answer it or to hand it on."""

    method: str
    path: str
    """Without the query."""
    query: str = attrs.field(repr=False)
    """After the question mark, as it came."""
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)
    """Names in lower case."""
    raw: bytes = attrs.field(repr=False)
    """The head as it came."""
    has_body: bool
    followed: bool
    """More has come already: another request, or frames of a client that does not wait for the handshake's answer."""
    connection: h11.Connection = attrs.field(repr=False)
    """In the state in which a response is due."""

    def all(self, name: str) -> list[str]:
        """Every value of a header; bytes beyond ASCII become characters beyond ASCII."""
        return [value.decode("latin-1") for key, value in self.headers if key == name.encode()]

    def one(self, name: str) -> str | None:
        """The value of a header that occurs exactly once; else None."""
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    def tokens(self, name: str) -> list[str]:
        """The parts of a comma-separated header."""
        return [token.strip() for value in self.all(name) for token in value.split(",") if token.strip()]

    @property
    def wants_websocket(self) -> bool:
        """Is it a WebSocket handshake (possibly a bad one)?"""
        return "websocket" in (token.lower() for token in self.tokens("upgrade"))


@attrs.frozen(kw_only=True)
class Response:
    """A whole response; content length, date and security headers are added."""

    status: int
    headers: Headers = ()
    body: bytes = attrs.field(default=b"", repr=False)


def text_response(status: int, text: str, headers: Headers = ()) -> Response:
    """A line for people."""
    plain = ("Content-Type", "text/plain; charset=utf-8")
    return Response(status=status, headers=[plain, *headers], body=f"{text}\n".encode())


def json_response(status: int, value: object, headers: Headers = ()) -> Response:
    """A JSON document."""
    return Response(
        status=status, headers=[("Content-Type", "application/json"), *headers], body=json.dumps(value).encode()
    )


async def read_request(stream: ServerStream, *, head_bytes: int) -> Request | None:
    """Read one request head; what follows it is given back to the stream. None: the client has nothing more to ask.

    Raises:
        BadRequest: it is malformed or too large.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes)
    raw = b""
    try:
        while (event := connection.next_event()) is h11.NEED_DATA:
            data = await stream.receive_some()
            if not data and not raw.strip():
                return None
            raw += data
            connection.receive_data(data)
        if not isinstance(event, h11.Request):
            raise BadRequest(400, "the connection ended in the middle of a request")
        has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in event.headers)
        if not has_body:
            connection.next_event()  # the end of the message: h11 then knows that the connection can be used again
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        why = f"the request head is larger than {head_bytes} bytes" if status == 431 else "malformed HTTP request"
        raise BadRequest(status, why) from None
    if len(raw) > head_bytes + len(connection.trailing_data[0]):
        raise BadRequest(431, f"the request head is larger than {head_bytes} bytes")
    rest = connection.trailing_data[0]
    if not has_body:
        stream.give_back(rest)
    path, _, query = event.target.decode("ascii").partition("?")
    return Request(
        method=event.method.decode("ascii"),
        path=path,
        query=query,
        headers=tuple((bytes(name), bytes(value)) for name, value in event.headers),
        raw=raw[: len(raw) - len(rest)],
        has_body=has_body,
        followed=bool(rest),
        connection=connection,
    )


async def read_body(stream: ServerStream, request: Request, *, most_bytes: int) -> bytes:
    """Read the body of a request that has one.

    Raises:
        BadRequest: it is malformed, cut off or too large.
    """
    connection, body = request.connection, b""
    if request.one("expect") is not None:
        raise BadRequest(417, "this server does not answer Expect; send the body at once")
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            else:
                raise BadRequest(400, "the connection ended in the middle of a request")
            if len(body) > most_bytes:
                raise BadRequest(413, f"the body is larger than {most_bytes} bytes")
    except h11.RemoteProtocolError:
        raise BadRequest(400, "malformed HTTP request") from None
    stream.give_back(connection.trailing_data[0])
    return body


async def write_response(stream: ServerStream, response: Response, request: Request | None = None) -> bool:
    """Answer; without a request, one that could not be read. Returns whether the connection can take another request."""
    connection = request.connection if request else h11.Connection(h11.SERVER)
    keep = request is not None and connection.their_state is h11.DONE  # not with a body that nobody reads
    headers = [
        ("Date", email.utils.formatdate(time.time(), usegmt=True)),
        ("Content-Length", str(len(response.body))),
        *_SECURITY_HEADERS,
        *response.headers,
        *([] if keep else [("Connection", "close")]),
    ]
    data = connection.send(
        h11.Response(status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase.encode())
    )
    if response.body and not (request and request.method == "HEAD"):
        data = (data or b"") + (connection.send(h11.Data(data=response.body)) or b"")
    await stream.send_all((data or b"") + (connection.send(h11.EndOfMessage()) or b""))
    return keep and connection.our_state is h11.DONE
