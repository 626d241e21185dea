"""What a very small model is shown: an example conversation, and no more of the real one than it can hold. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from string import ascii_letters
from typing import Final

import attrs

from flare_actors.ports import Message, ToolSpec

__all__ = ["EXAMPLES", "MIN_BUDGET", "fit", "tokens_at_most", "tokens_of_tools"]

# A model of this size copies the shape of what it sees: short, spoken, no lists. A question about itself, one about the
# world, and a remark, because with questions alone it treats every remark as one. Three turns are enough, and cost about a
# hundred tokens that stay in the KV cache.
EXAMPLES: Final = (
    Message(role="user", content="Hello, who are you?"),
    Message(
        role="assistant",
        content="Hi! I'm a small voice assistant that runs on this computer. What would you like to talk about?",
    ),
    Message(role="user", content="Why is the sky blue?"),
    Message(
        role="assistant",
        content="Because air scatters blue light much more than red light, so blue reaches your eyes from everywhere.",
    ),
    Message(role="user", content="I had a long day at work."),
    Message(
        role="assistant",
        content="That sounds tiring. I hope you can put your feet up and rest this evening.",
    ),
)

# English has about four letters to a token. Digits, signs and the bytes of other scripts may cost one each.
LETTER_TOKENS: Final = 0.4
MESSAGE_TOKENS: Final = 6  # the chat template's own
# The oldest turns are dropped several at a time: were it one by one, every request would begin differently and the KV
# cache would never match.
BLOCK: Final = 8


MIN_BUDGET: Final = 64  # a short question still fits beside instructions of a third of it


def tokens_at_most(messages: Sequence[Message]) -> int:
    """A cautious estimate of the tokens that messages cost."""
    calls = sum(MESSAGE_TOKENS + ceil(_tokens(call.name + call.arguments)) for each in messages for call in each.calls)
    return calls + sum(MESSAGE_TOKENS + ceil(_tokens(each.content)) for each in messages)


def tokens_of_tools(tools: Sequence[ToolSpec]) -> int:
    """A cautious estimate of the tokens that it costs to offer tools."""
    return sum(MESSAGE_TOKENS + ceil(_tokens(each.name + each.description + each.parameters)) for each in tools)


def fit(messages: Sequence[Message], *, budget: int, examples: Sequence[Message] = EXAMPLES) -> list[Message]:
    """The instructions, the examples, and as much of the conversation's end as the budget holds.

    Args:
        messages: as for ``LanguageModel.generate``.
        budget: tokens, at least 64.
        examples: shown between instructions and conversation; left out if they would take more than half of the budget.
    """
    instructions = [_cut_end(each, budget // 3) for each in messages[:1] if each.role == "system"]
    turns = [each for each in messages if each.role != "system"]
    head = instructions + list(examples)
    if tokens_at_most(head) > budget // 2:
        head = instructions
    left = budget - tokens_at_most(head)
    kept = 0
    spent = 0
    for each in reversed(turns):  # newest first, so that a long history costs no more than a short one
        spent += tokens_at_most([each])
        if spent > left:
            break
        kept += 1
    start = min(ceil((len(turns) - kept) / BLOCK) * BLOCK, len(turns) - 1)
    while start < len(turns) - 1 and turns[start].role == "tool":
        start += 1  # The call that it answers is not shown.
    while start > 0 and turns[start].role == "tool":
        start -= 1  # Nothing but results is left: the call comes with them.
    rest = turns[start:]
    if len(rest) == 1:
        rest = [_cut_begin(rest[0], left)]
    elif tokens_at_most(rest) > left and rest[-1].role == "tool":
        rest = [_cut_end(each, left // len(rest)) if each.role == "tool" else each for each in rest]
    return head + rest


def _cut_end(message: Message, budget: int) -> Message:
    return attrs.evolve(message, content=message.content[: _chars_within(message.content, budget)])


def _cut_begin(message: Message, budget: int) -> Message:
    kept = _chars_within(message.content[::-1], budget)
    return attrs.evolve(message, content=message.content[len(message.content) - kept :])


def _chars_within(text: str, budget: int) -> int:
    left = budget - MESSAGE_TOKENS - 1.0
    for count, char in enumerate(text):
        left -= _tokens(char)
        if left < 0:
            return count
    return len(text)


def _tokens(text: str) -> float:
    others = text.translate(_NO_LETTERS)
    return (len(text) - len(others)) * LETTER_TOKENS + len(others.encode(errors="replace"))


_NO_LETTERS: Final = dict.fromkeys(map(ord, f"{ascii_letters} "))
