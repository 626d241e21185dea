"""Errors as this protocol tells them: type, code, message, param, and the event_id of the culprit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flare_actors.conversation.notices import ErrorRaised
from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["CODES", "ITEM_CODES", "client_error", "notice_error"]

CODES: Final[Mapping[str, str]] = {
    "missing_field": "missing_required_parameter",
    "unknown_field": "unknown_parameter",
    "invalid_field": "invalid_value",
    "not_json": "invalid_json",
    "empty_text": "invalid_value",
    "text_too_long": "string_above_max_length",
    "audio_too_short": "invalid_value",
    "item_not_truncatable": "invalid_value",
    "already_answering": "conversation_already_has_active_response",
    "nothing_committed": "input_audio_buffer_commit_empty",
    "invalid_setting": "invalid_value",
}
"""This server's own codes, and what clients of this protocol know them as; the others keep their names."""

ITEM_CODES: Final[Mapping[str, str]] = {
    "conversation.item.create": "item_create_invalid_previous_item_id",
    "conversation.item.delete": "item_delete_invalid_item_id",
    "conversation.item.retrieve": "item_retrieve_invalid_item_id",
    "conversation.item.truncate": "item_truncate_invalid_item_id",
}
_PARAMS: Final[Mapping[str, str]] = {"after": "previous_item_id", "end_s": "audio_end_ms", "id": "item.id"}
_CLIENT: Final = frozenset({"text_too_long", "empty_text", "not_started"})


def _error(kind: str, code: str, message: str, param: str | None, event_id: str | None) -> Json:
    return {"type": kind, "code": code, "message": message, "param": param, "event_id": event_id}


def client_error(error: ClientError, event_id: str | None) -> Json:
    """The client sent what it must not send."""
    code = CODES.get(error.code, error.code)
    return _error("invalid_request_error", code, error.message, error.field, event_id)


def notice_error(notice: ErrorRaised, event_id: str | None, request: str | None) -> Json:
    """What the session says is wrong.

    Args:
        notice: the session's words.
        event_id: the culprit's, if it had one.
        request: the culprit's type, if a client's event caused it.
    """
    code = notice.code
    if code == "item_not_found" and request is not None:
        code = ITEM_CODES.get(request, code)
    code = CODES.get(code, code)
    param = None if notice.field is None else _PARAMS.get(notice.field, notice.field)
    kind = "invalid_request_error" if request is not None or notice.code in _CLIENT else "server_error"
    return _error(kind, code, notice.message, param, event_id)
