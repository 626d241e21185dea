"""The writer of one turn: model output -> text for the client, phrases for the synthesizer.

The model is read at full speed, bounded by the answer's length; only audio backpressures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flare_actors.conversation.events import LanguageModelFailed, UsageReported
from flare_actors.conversation.states import Output
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect
from flare_actors.ports import Message, ModelOutput, TextDelta, ToolCall, ToolCallDelta, Usage

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply

__all__ = ["write_answer", "write_text"]


async def write_text(reply: Reply, text: str) -> None:
    """Hand on a text that is known already, phrase by phrase."""
    await reply.add_text(text)
    reply.finish_text()


async def write_answer(reply: Reply) -> None:
    """Ask the model and hand on what it writes, until it ends, fails, or has written enough.

    A failure is told to the orchestrator; what was written before stays. Cancellation closes the model's stream.
    """
    settings = reply.settings
    timeouts = settings.timeouts
    instructions = reply.agent.instructions
    messages = [Message(role="system", content=instructions)] if instructions else []
    messages += [Message(role=message.role, content=message.content) for message in reply.command.messages]
    try:
        with Patience("llm") as patience:
            patience.until(timeouts.connect_s, "connect")
            model, locale = reply.agent.language_model, reply.command.locale
            async with Guarded[ModelOutput](
                "llm",
                lambda: model.generate(messages, locale=locale),
                gives=(TextDelta, ToolCallDelta, ToolCall, Usage),
            ) as outputs:
                patience.until(timeouts.llm_first_s, "first token")
                first = True
                async for output in outputs:
                    if reply.closed:
                        return  # The provider swallowed its cancellation: its output is refused.
                    if isinstance(output, Usage):
                        _tell_usage(reply, output)
                    if not isinstance(output, TextDelta):
                        continue
                    expect("llm", isinstance(output.text, str), "a piece of text that is no str")
                    if first:
                        first = False
                        reply.mark_first_token()
                        patience.until(timeouts.llm_gap_s, "next token")
                    else:
                        patience.extend()
                    if not await reply.add_text(output.text):
                        break
    except ProviderError as error:
        reply.fault(error)
        if reply.command.output is Output.TEXT:
            reply.finish_text()  # It was delivered as it was written, so it counts; a voice stops at the last whole phrase.
        reply.tell(LanguageModelFailed(turn=reply.turn, message=error.message, critical=error.critical))
    reply.finish_text()


def _tell_usage(reply: Reply, usage: Usage) -> None:
    counts = (usage.input_tokens, usage.output_tokens)
    expect("llm", all(type(count) is int and count >= 0 for count in counts), "a usage that is no count of tokens")
    reply.tell(UsageReported(turn=reply.turn, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))
