"""What the parts of one connection share: what the client has chosen, which answers it is owed, and the events to it."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Final

import attrs

from flare_actors.wire.openai_realtime.session_config import Chosen, Json, Session

__all__ = ["Asked", "Connection"]

_MOST_ASKED: Final = 256
"""Requests of which an error may still come."""


@attrs.frozen(kw_only=True)
class Asked:
    """A client's event that an answer is expected to."""

    name: str
    """Its type."""
    event_id: str | None
    item_id: str | None = None
    """The item that it is about; it was one that the client knows."""
    metadata: Json | None = None
    """To be echoed in the response."""
    max_output_tokens: str | int | None = None
    """Of the response, if it has its own."""


class Connection:
    """One connection.

    Args:
        token: makes the names of this connection its own.
        chosen: what the client has chosen, so far.
    """

    def __init__(self, *, token: str, chosen: Chosen) -> None:
        self.token = token
        self.chosen = chosen
        self._events = 0
        self._out: list[str] = []
        self._asked: OrderedDict[str, Asked] = OrderedDict()
        self._requests = 0

    @property
    def session(self) -> Session:
        """The client's choices."""
        return self.chosen.session

    def own(self, name: str) -> str:
        """What the client calls something that the conversation itself has named: other connections have other names.

        Clients that connect again put in what they know of before, under the names that they know it by.
        """
        return f"{name}_{self.token}"

    def bare(self, name: str) -> str:
        """The conversation's name for what the client calls so; any other name is told back."""
        return name.removesuffix(f"_{self.token}")

    # --- Events to the client ---------------------------------------------------------------------------------------------

    def emit(self, kind: str, **fields: object) -> None:
        """One more event, under a name of its own."""
        self._events += 1
        event = {"type": kind, "event_id": f"event_{self.token}{self._events}", **fields}
        # ASCII, so that half a surrogate pair in an engine's text cannot break the frame.
        self._out.append(json.dumps(event, separators=(",", ":"), allow_nan=False))

    def taken(self) -> tuple[str, ...]:
        """The events since the last time."""
        out, self._out = tuple(self._out), []
        return out

    # --- Requests to the session ------------------------------------------------------------------------------------------

    def ask(
        self,
        name: str,
        event_id: str | None,
        item_id: str | None = None,
        *,
        metadata: Json | None = None,
        max_output_tokens: str | int | None = None,
    ) -> str:
        """A name for a request to the session, by which its answer finds the client's event."""
        self._requests += 1
        request_id = f"{name}-{self._requests}"
        self._asked[request_id] = Asked(
            name=name, event_id=event_id, item_id=item_id, metadata=metadata, max_output_tokens=max_output_tokens
        )
        if len(self._asked) > _MOST_ASKED:
            self._asked.popitem(last=False)
        return request_id

    def asked(self, request_id: str | None) -> Asked | None:
        """The client's event that this answers; it is answered then."""
        return None if request_id is None else self._asked.pop(request_id, None)
