"""The history as a language model is shown it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, assert_never

from flare_actors.conversation.calls import ToolCall
from flare_actors.conversation.commands import ChatMessage
from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.values import evolve

__all__ = ["build_messages"]

_NO_WORDS: Final = "..."
"""The user's turn in a request that is none of the user's: most models' templates want one at the end."""

_Speaker: TypeAlias = Literal["system", "user", "assistant"]


def build_messages(history: Iterable[HistoryItem], *, go_on: bool = False) -> tuple[ChatMessage, ...]:
    """The history as a model wants it: neighbours of one role merged, nothing empty, the user's words or a result last.

    Calls come with their results or not at all. What was heard of an answer that is asked for again is left out: the model
    starts that answer anew. With ``go_on`` the model is asked of the agent's own accord, though the user has said nothing
    new: then an empty word stands for the user's.
    """
    items = tuple(history)
    results: dict[str, ToolReturned] | None = None
    messages: list[ChatMessage] = []
    said: list[str] = []
    role: _Speaker
    speaker: _Speaker = "user"
    together = False

    for item in items:
        match item:
            case UserSaid():
                role = "user"
            case AgentSaid():
                role = "assistant"
            case Instructed():
                role = "system"
            case ToolReturned():
                together = False
                continue
            case ToolCalled():
                if results is None:
                    results = _results(items)
                if (result := results.pop(item.call, None)) is not None:
                    _close_message(messages, speaker, said)
                    _show_call(messages, item, result, together=together)
                    together = True
                continue
            case _:
                assert_never(item)
        text = item.text.strip()
        if not text:
            continue
        if role != speaker:
            _close_message(messages, speaker, said)
            speaker = role
        said.append(text)
    _close_message(messages, speaker, said)
    return _ended_by_user(messages, go_on=go_on)


def _close_message(messages: list[ChatMessage], speaker: _Speaker, said: list[str]) -> None:
    if said:
        messages.append(ChatMessage(role=speaker, content=" ".join(said)))
        said.clear()


def _results(items: tuple[HistoryItem, ...]) -> dict[str, ToolReturned]:
    """By call; of several the first counts."""
    return {item.call: item for item in reversed(items) if isinstance(item, ToolReturned)}


def _ended_by_user(messages: list[ChatMessage], *, go_on: bool) -> tuple[ChatMessage, ...]:
    if go_on and (not messages or messages[-1].role == "assistant"):
        messages.append(ChatMessage(role="user", content=_NO_WORDS))
    if messages and messages[-1].role == "assistant":
        messages.pop()
    return tuple(messages)


def _show_call(messages: list[ChatMessage], called: ToolCalled, result: ToolReturned, *, together: bool) -> None:
    """A call and its result, wherever that stands in the history.

    ``together`` with the call before it: they were made at a time, and are one message.
    """
    call = ToolCall(call=called.call, name=called.name, arguments=called.text)
    told = ChatMessage(role="tool", content=result.text, call=result.call, failed=result.failed)
    place = len(messages) - 1
    while together and messages[place].role == "tool":
        place -= 1
    if messages and messages[place].role == "assistant":
        messages[place] = evolve(messages[place], calls=(*messages[place].calls, call))
        messages.append(told)
    else:
        messages += [ChatMessage(role="assistant", calls=(call,)), told]
