"""Items of the history <-> items of this protocol."""

from __future__ import annotations

import json

import attrs

from flare_actors.conversation.items import (
    RESERVED_ID,
    AgentSaid,
    HistoryItem,
    Instructed,
    ToolCalled,
    ToolReturned,
    UserSaid,
    result_id,
)
from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime.responses import function_item, message_item
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["item_object", "new_item"]


def new_item(item: wire.Item) -> HistoryItem:
    """What a client puts into the history: the words, in one piece; or a call that was made elsewhere, or its result.

    Raises:
        ClientError: something is missing, or there are no words in it.
    """
    if item.type is wire.ItemKind.FUNCTION_CALL:
        return _called(item)
    if item.type is wire.ItemKind.FUNCTION_CALL_OUTPUT:
        call, output = _need(item.call_id, "call_id"), _need(item.output, "output")
        return ToolReturned(call=call, text=output, id=item.id or result_id(call))
    if item.role is None or item.content is None:
        missing = "role" if item.role is None else "content"
        raise ClientError("missing_field", f"item.{missing} is required and missing", field=f"item.{missing}")
    if any(part.image_url is not None for part in item.content):
        raise ClientError("invalid_field", "item.content: pictures are not taken", field="item.content")
    text = " ".join(words for part in item.content if (words := part.text or part.transcript))
    if not text.strip():
        raise ClientError(
            "invalid_field",
            "item.content: expected text, or audio with its transcript; audio itself goes into the input buffer",
            field="item.content",
        )
    name = item.id or ""
    match item.role:
        case wire.Role.USER:
            return UserSaid(id=name, text=text)
        case wire.Role.ASSISTANT:
            return AgentSaid(id=name, text=text)
        case wire.Role.SYSTEM:
            return Instructed(id=name, text=text)


def _need(value: str | None, name: str) -> str:
    if value is None:
        raise ClientError("missing_field", f"item.{name} is required and missing", field=f"item.{name}")
    return value


def _called(item: wire.Item) -> ToolCalled:
    call, name = _need(item.call_id, "call_id"), _need(item.name, "name")
    arguments = _need(item.arguments, "arguments")
    try:
        whole = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise ClientError(
            "invalid_field", "item.arguments: expected the JSON text of an object", field="item.arguments"
        )
    made = ToolCalled(call=call, name=name, text=arguments)
    return attrs.evolve(made, id=item.id) if item.id else made


def item_object(item: HistoryItem) -> Json:
    """As clients read it."""
    match item:
        case UserSaid():
            spoken = item.id.startswith("utterance_") and RESERVED_ID.fullmatch(item.id)
            content: Json = (
                {"type": "input_audio", "transcript": item.text}
                if spoken
                else {"type": "input_text", "text": item.text}
            )
            return message_item(item.id, "user", [content])
        case AgentSaid():
            content = (
                {"type": "output_audio", "transcript": item.text}
                if item.audio_s or item.interrupted
                else {"type": "output_text", "text": item.text}
            )
            status = "incomplete" if item.interrupted else "completed"
            return message_item(item.id, "assistant", [content], status=status)
        case ToolCalled():
            return function_item(item.id, "function_call", item.call, name=item.name, arguments=item.text)
        case ToolReturned():
            return function_item(item.id, "function_call_output", item.call, output=item.text)
        case Instructed():
            return message_item(item.id, "system", [{"type": "input_text", "text": item.text}])
