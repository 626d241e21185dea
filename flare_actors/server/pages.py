"""What a server shows to a browser besides the conversation: the page's files, its health, the protocol's schema."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Final

import attrs

from flare_actors.server.http import Request, Response, json_response, text_response
from flare_actors.wire.schema import SCHEMA_PATH, json_schema

__all__ = ["HEALTH_PATH", "Health", "answer", "web_root"]

HEALTH_PATH: Final = "/healthz"

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
# A plain file name: it cannot start with a dot, so there is no way up and nothing hidden; no escapes, no backslashes.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_FRESH: Final = ("Cache-Control", "no-cache")


@attrs.frozen(kw_only=True)
class Health:
    """How a server does; the body of `/healthz`."""

    status: str
    """``ok`` or ``draining``."""
    sessions: int
    connections: int
    auth_required: bool
    """A browser is not told why its WebSocket was refused; the page looks here."""
    facts: Mapping[str, object] = attrs.field(factory=dict)
    """What the embedder adds."""

    def as_json(self) -> dict[str, object]:
        """One flat object."""
        own = attrs.asdict(self, filter=lambda field, _: field.name != "facts")
        return {**self.facts, **own}


def web_root() -> Traversable:
    """The folder of the page's files."""
    return importlib.resources.files("flare_actors") / "web"


def answer(request: Request, *, health: Health, root: Traversable) -> Response:
    """Answer a request that is no WebSocket handshake."""
    if request.method not in {"GET", "HEAD"}:
        return text_response(405, "this server answers GET and HEAD", [("Allow", "GET, HEAD")])
    if request.path == HEALTH_PATH:
        return json_response(200 if health.status == "ok" else 503, health.as_json(), [("Cache-Control", "no-store")])
    if request.path == SCHEMA_PATH:
        return json_response(200, json_schema(), [_FRESH])
    return _file(request.path, root)


def _file(path: str, root: Traversable) -> Response:
    names = ["index.html"] if path == "/" else path.removeprefix("/").split("/")
    kind = _TYPES.get(names[-1].rpartition(".")[2])
    found = root
    for name in names:
        if not _NAME.fullmatch(name):
            break
        found /= name
    else:
        if kind is not None and found.is_file():
            return Response(status=200, headers=[("Content-Type", kind), _FRESH], body=found.read_bytes())
    return text_response(404, "there is no such page here")
