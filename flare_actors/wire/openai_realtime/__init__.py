"""OpenAI Realtime (GA) over WebSocket, as a codec onto the same session as every other protocol. Pure.

``session_config`` and ``client_events`` are what clients send, ``requests`` what that comes to. ``codec`` is the rim of a
connection; behind it are the user's ``utterances``, the agent's ``turns`` (``responses`` writes one response), and what the
client knows of items (``known_items``); ``connection`` is what they share. ``items`` and ``errors`` are shapes, ``audio`` the
formats; ``order`` is the order of events as a table; ``docs`` writes the tables of docs/openai-realtime.md.
"""

from __future__ import annotations

from typing import Final

from flare_actors.wire.openai_realtime.codec import RealtimeCodec, check_session
from flare_actors.wire.openai_realtime.order import ORDER, EventOrder, OutOfOrder

__all__ = [
    "KEY_PREFIX",
    "ORDER",
    "PATH",
    "SUBPROTOCOL",
    "EventOrder",
    "OutOfOrder",
    "RealtimeCodec",
    "check_session",
]

PATH: Final = "/v1/realtime"
"""Where a server speaks it."""
SUBPROTOCOL: Final = "realtime"
"""What a client that offers WebSocket subprotocols must offer."""
KEY_PREFIX: Final = "openai-insecure-api-key."
"""A browser's key: the subprotocol of that name and the key."""
