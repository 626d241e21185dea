"""The writer of one turn: model output -> text for the client, phrases for the synthesizer.

The model is read at full speed, bounded by the answer's length; only audio backpressures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from flare_actors.actors.tools import carry_out, offered
from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.events import LanguageModelFailed, UsageReported
from flare_actors.conversation.states import Output
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect
from flare_actors.ports import (
    Message,
    ModelOutput,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolSpec,
    Usage,
    takes_tools,
)
from flare_actors.tools import Tool

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply

__all__ = ["write_answer", "write_text"]


async def write_text(reply: Reply, text: str) -> None:
    """Hand on a text that is known already, phrase by phrase."""
    await reply.add_text(text)
    reply.finish_text()


def _instructions(agents: str, command: StartReply) -> str:
    """The agent's own, with those for this answer after them or in their place."""
    if command.instructions is None:
        return agents
    return command.instructions if command.replace else "\n\n".join(filter(None, (agents, command.instructions)))


async def write_answer(reply: Reply) -> None:
    """Ask the model and hand on what it writes, until it ends, fails, or has written enough.

    While it calls tools, they are carried out and it is asked again, a bounded number of times; then it must answer. A failure
    is told to the orchestrator; what was written before stays. Cancellation closes the model's stream, and ends the tools.
    """
    command = reply.command
    instructions = _instructions(reply.agent.instructions, command)
    messages = [Message(role="system", content=instructions)] if instructions else []
    messages += [
        Message(role=each.role, content=each.content, calls=each.calls, call=each.call, failed=each.failed)
        for each in command.messages
    ]
    tools = offered(reply.agent.tools, command.tools)
    steps = reply.settings.limits.tool_steps if tools else 0
    choice: ToolChoice = command.tool_choice
    try:
        for step in range(steps + 1):
            request = _Request(reply, messages, tools, "none" if step == steps else choice)
            text, calls = await request.write()
            if not calls or step == steps:
                break
            reply.end_step()
            named, results = await carry_out(reply, calls, tools, step=step)
            if reply.closed:
                return  # A tool swallowed its cancellation: nobody asks for its sake.
            messages = [*messages, Message(role="assistant", content=text, calls=tuple(named)), *results]
            choice = "auto"  # What was required was done; it must be able to answer.
    except ProviderError as error:
        reply.fault(error)
        if command.output is Output.TEXT:
            reply.finish_text()  # It was delivered as it was written, so it counts; a voice stops at the last whole phrase.
        reply.tell(LanguageModelFailed(turn=reply.turn, message=error.message, critical=error.critical))
    reply.finish_text()


class _Request:
    """One request to the model, of which an answer with tools needs several."""

    def __init__(
        self,
        reply: Reply,
        messages: Sequence[Message],
        tools: Mapping[str, Tool | ToolSpec],
        choice: ToolChoice,
    ) -> None:
        self._reply = reply
        self._messages = messages
        self._tools = [each.spec if isinstance(each, Tool) else each for each in tools.values()]
        self._choice: ToolChoice = choice

    async def write(self) -> tuple[str, list[ToolCall]]:
        """Hand on the text as it comes; gives all of it, and the calls.

        Raises:
            ProviderError: the model failed.
        """
        reply, timeouts = self._reply, self._reply.settings.timeouts
        text: list[str] = []
        calls: list[ToolCall] = []
        with Patience("llm") as patience:
            patience.until(timeouts.connect_s, "connect")
            async with Guarded[ModelOutput](
                "llm", self._ask, gives=(TextDelta, ToolCallDelta, ToolCall, Usage)
            ) as outputs:
                patience.until(timeouts.llm_first_s, "first token")
                first = True
                async for output in outputs:
                    if reply.closed:
                        return "", []  # The provider swallowed its cancellation: its output is refused.
                    if isinstance(output, Usage):
                        _tell_usage(reply, output)
                        continue
                    if first:
                        first = False
                        reply.mark_first_token()
                        patience.until(timeouts.llm_gap_s, "next token")
                    else:
                        patience.extend()
                    match output:
                        case TextDelta():
                            expect("llm", isinstance(output.text, str), "a piece of text that is no str")
                            text.append(output.text)
                            if not await reply.add_text(output.text):
                                return "".join(text), []
                        case ToolCall() if self._choice != "none" and self._tools:
                            expect("llm", _is_call(output), "a tool call whose fields are no str")
                            calls.append(output)
                        case _:
                            pass
        return "".join(text), calls

    def _ask(self) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        model, locale = self._reply.agent.language_model, self._reply.command.locale
        if not self._tools:
            return model.generate(self._messages, locale=locale)
        if not takes_tools(model):
            raise ProviderError(
                "llm",
                f"{type(model).__name__} takes no tools; give its generate() the arguments tools and tool_choice "
                "(ports.LanguageModel), or offer none",
                critical=True,
            )
        return model.generate(self._messages, locale=locale, tools=self._tools, tool_choice=self._choice)


def _is_call(call: ToolCall) -> bool:
    return all(isinstance(each, str) for each in (call.call, call.name, call.arguments))


def _tell_usage(reply: Reply, usage: Usage) -> None:
    counts = (usage.input_tokens, usage.output_tokens)
    expect("llm", all(type(count) is int and count >= 0 for count in counts), "a usage that is no count of tokens")
    reply.tell(UsageReported(turn=reply.turn, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))
