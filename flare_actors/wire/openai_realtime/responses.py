"""One response on the wire: its items, their parts and the streams of those, opened and closed in the order of ``order``."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeAlias

import attrs

from flare_actors.conversation.states import Output
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["Emit", "ResponseWriter", "Usage", "function_item", "message_item"]

Emit: TypeAlias = Callable[..., None]
"""Takes an event's type and its fields."""


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens, as the model's provider counted them; none where it has told of none."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens, output_tokens=self.output_tokens + other.output_tokens
        )

    def as_json(self) -> Json:
        """As clients read it: models here read and write text; what is spoken is made of it."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
            "input_token_details": {"text_tokens": self.input_tokens, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": self.output_tokens, "audio_tokens": 0},
        }


def message_item(item_id: str, role: str, content: list[Json], *, status: str = "completed") -> Json:
    """A message as an item."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def function_item(item_id: str, kind: str, call_id: str, *, status: str = "completed", **fields: str) -> Json:
    """A call of a function, or its result, as an item."""
    return {"id": item_id, "object": "realtime.item", "type": kind, "status": status, "call_id": call_id, **fields}


@attrs.define(kw_only=True)
class ResponseWriter:
    """Writes one response."""

    emit: Emit
    id: str
    turn: int
    output: Output
    conversation_id: str | None
    """None: out of band."""
    previous: Callable[[str], str | None]
    """Enters an item into the conversation's order; gives the one before it."""
    name: Callable[[], str]
    """Names a new message."""
    keep: Callable[[Json], None]
    """Takes an item of the conversation as the client was told of it; again when it is whole."""
    metadata: Json | None = None
    audio_format: Json
    max_output_tokens: str | int = "inf"
    usage: Usage = Usage()
    _items: list[Json] = attrs.field(factory=list, init=False)
    _message: Json | None = attrs.field(default=None, init=False)
    """The message that is being written."""
    _text: list[str] = attrs.field(factory=list, init=False)

    def created(self) -> None:
        """Begin."""
        self.emit("response.created", response=self.as_json("in_progress"))

    def as_json(self, status: str, details: Json | None = None) -> Json:
        """The response object."""
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": self._items,
            "conversation_id": self.conversation_id,
            "output_modalities": [self.output.value],
            "max_output_tokens": self.max_output_tokens,
            "audio": {"output": {"format": self.audio_format}},
            "usage": None if status == "in_progress" else self.usage.as_json(),
            "metadata": self.metadata,
        }

    # --- The message ------------------------------------------------------------------------------------------------------

    def text(self, delta: str) -> None:
        """The answer grows."""
        self._open_message()
        self._text.append(delta)
        kind = "response.output_text.delta" if self._silent else "response.output_audio_transcript.delta"
        self.emit(kind, **self._place(), content_index=0, delta=delta)

    def audio(self, data: bytes) -> None:
        """More of its sound, in the session's format."""
        self._open_message()
        delta = base64.b64encode(data).decode("ascii")
        self.emit("response.output_audio.delta", **self._place(), content_index=0, delta=delta)

    @property
    def _silent(self) -> bool:
        return self.output is Output.TEXT

    def _place(self) -> Json:
        assert self._message is not None
        return {"response_id": self.id, "item_id": self._message["id"], "output_index": len(self._items)}

    def _open_message(self) -> None:
        if self._message is not None:
            return
        self._message = message_item(self.name(), "assistant", [], status="in_progress")
        self._add(self._message)
        part: Json = {"type": "text", "text": ""} if self._silent else {"type": "audio", "transcript": ""}
        self.emit("response.content_part.added", **self._place(), content_index=0, part=part)

    def _add(self, item: Json) -> None:
        self.emit("response.output_item.added", response_id=self.id, output_index=len(self._items), item=item)
        if self.conversation_id is not None:
            previous = self.previous(str(item["id"]))
            self.keep(item)
            self.emit("conversation.item.added", previous_item_id=previous, item=item)

    def _done(self, item: Json) -> None:
        if self.conversation_id is not None:
            self.keep(item)
            self.emit("conversation.item.done", previous_item_id=self.previous(str(item["id"])), item=item)
        self.emit("response.output_item.done", response_id=self.id, output_index=len(self._items), item=item)
        self._items = [*self._items, item]

    def close_message(self, *, whole: bool = True) -> None:
        """Nothing more comes of the message, if there is one."""
        message = self._message
        if message is None:
            return
        text = "".join(self._text)
        place = self._place()
        if self._silent:
            self.emit("response.output_text.done", **place, content_index=0, text=text)
            part: Json = {"type": "text", "text": text}
            content: Json = {"type": "output_text", "text": text}
        else:
            self.emit("response.output_audio.done", **place, content_index=0)
            self.emit("response.output_audio_transcript.done", **place, content_index=0, transcript=text)
            part = {"type": "audio", "transcript": text}
            content = {"type": "output_audio", "transcript": text}
        self.emit("response.content_part.done", **place, content_index=0, part=part)
        status = "completed" if whole else "incomplete"
        self._done(message_item(str(message["id"]), "assistant", [content], status=status))
        self._message, self._text = None, []

    # --- Tools ------------------------------------------------------------------------------------------------------------

    def function_call(self, item_id: str, call_id: str, name: str, arguments: str) -> None:
        """The model calls a function of the client's."""
        self.close_message()
        item = function_item(item_id, "function_call", call_id, status="in_progress", name=name, arguments="")
        self._add(item)
        place: Json = {
            "response_id": self.id,
            "item_id": item_id,
            "output_index": len(self._items),
            "call_id": call_id,
        }
        self.emit("response.function_call_arguments.delta", **place, delta=arguments)
        self.emit("response.function_call_arguments.done", **place, name=name, arguments=arguments)
        self._done({**item, "status": "completed", "arguments": arguments})

    # --- The end ----------------------------------------------------------------------------------------------------------

    def finish(self, status: str, *, reason: str | None = None, error: Json | None = None) -> None:
        """Close everything that is open, and the response."""
        self.close_message(whole=status == "completed")
        details: Json = {"type": status}
        if reason is not None:
            details["reason"] = reason
        if error is not None:
            details["error"] = error
        self.emit("response.done", response=self.as_json(status, details if status != "completed" else None))
