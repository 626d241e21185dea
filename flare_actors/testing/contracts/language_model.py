"""Contract checks for language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flare_actors.ports import LanguageModel, LimitReached, Message, ModelOutput, TextDelta, Usage
from flare_actors.testing.contracts.common import after_close, need, only_fails_properly
from flare_actors.testing.contracts.rules import Make, Rules, open_made
from flare_actors.testing.contracts.streams import Scene, follow_stream_rules

__all__ = ["check_language_model"]

_QUESTION: Final = (
    Message(role="system", content="Answer in one short sentence."),
    Message(role="user", content="Is it late?"),
)


def _judge_answer(items: list[ModelOutput]) -> None:
    for item in items:
        need(
            isinstance(item, TextDelta | Usage | LimitReached),
            f"it gave {type(item).__name__} instead of TextDelta, Usage or LimitReached",
        )
        if isinstance(item, TextDelta):
            need(item.text != "", "it gave a TextDelta of no text; leave it out")
    need(any(isinstance(item, TextDelta) for item in items), "it answered a question with nothing")


async def check_language_model(
    make: Make[LanguageModel],
    *,
    messages: Sequence[Message] = _QUESTION,
    locale: str = "en-US",
    patience_s: float = 60.0,
    release_s: float = 2.0,
    most: int = 40,
) -> None:
    """Hold a language model against its port.

    Args:
        make: makes it, or an async context manager that gives it; used twice.
        messages: something that it answers with a few words.
        locale: one that it speaks.
        patience_s: seconds that one rule may take (each asks for up to ``2 * most`` answers).
        release_s: seconds that a cancelled answer may hold on.
        most: cancellations that are tried per rule, one or more, evenly spread over the answer.

    Raises:
        ContractBroken: rules were broken; it lists them.
        ValueError: ``most`` is less than 1.

    Cancellation: as soon as the engine lets go of the stream that it is asked for.
    """
    rules = Rules("the language model", patience_s, release_s, most)
    async with open_made(make) as model:
        scene = Scene(ask=lambda: model.generate(messages, locale=locale), judge=_judge_answer)
        await follow_stream_rules(rules, scene, "generate")

        async def nothing_to_answer() -> None:
            await only_fails_properly(model.generate([Message(role="user", content="")], locale=locale))

        await rules.follow("an empty question is answered or refused", nothing_to_answer)
    await after_close(rules, make, lambda closed: closed.generate(messages, locale=locale))
    await rules.judge()
