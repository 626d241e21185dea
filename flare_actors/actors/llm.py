"""The writer of one turn: model output -> text for the client, phrases for the synthesizer.

The model is read at full speed, bounded by the answer's length; only audio backpressures.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final

from flare_actors.actors.tools import carry_out, offered
from flare_actors.conversation.calls import AnswerRest
from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.events import LanguageModelFailed, UsageReported
from flare_actors.conversation.states import Output
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, ask_model, expect
from flare_actors.ports import (
    LimitReached,
    Message,
    ModelOutput,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    Usage,
)
from flare_actors.tools import Tool

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply
    from flare_actors.agent import Agent

__all__ = ["write_answer", "write_text"]

_TOKENS: Final = (TextDelta, ToolCallDelta, ToolCall)
"""What the model itself writes, and so its time is counted by."""


async def write_text(reply: Reply, text: str) -> None:
    """Hand on a text that is known already, phrase by phrase."""
    await reply.add_text(text)
    reply.finish_text()


class _Terms:
    """How the model is asked, in this answer; a client that returns results may have it asked otherwise from there on."""

    def __init__(self, agent: Agent, command: StartReply) -> None:
        self._agent = agent
        self.max_tokens = command.max_tokens
        self.tools = offered(agent.tools, command.tools)
        self.choice: ToolChoice = command.tool_choice
        self._instruct(command)

    def _instruct(self, asked: StartReply | AnswerRest) -> None:
        own = () if asked.instructions is not None and asked.replace else (self._agent.instructions,)
        text = "\n\n".join(filter(None, (*own, asked.instructions)))
        self.instructions = [Message(role="system", content=text)] if text else []

    def go_on(self, rest: AnswerRest | None) -> None:
        """Tools were carried out: what was required was done, and the model must be able to answer."""
        self.choice = "auto"
        if rest is None:
            return
        self.choice = rest.tool_choice or self.choice
        if rest.instructions is not None:
            self._instruct(rest)
        if rest.tools is not None:
            self.tools = offered(self._agent.tools, rest.tools)
        if rest.max_tokens is not None:
            self.max_tokens = rest.max_tokens or None


async def write_answer(reply: Reply) -> None:
    """Ask the model and hand on what it writes, until it ends, fails, or has written enough.

    While it calls tools, they are carried out and it is asked again, a bounded number of times; then it must answer. A failure
    is told to the orchestrator; what was written before stays. Cancellation closes the model's stream, and ends the tools.
    """
    command = reply.command
    terms = _Terms(reply.agent, command)
    messages = [
        Message(role=each.role, content=each.content, calls=each.calls, call=each.call, failed=each.failed)
        for each in command.messages
    ]
    steps = reply.settings.limits.tool_steps if terms.tools else 0
    try:
        for step in range(steps + 1):
            if step == steps:
                terms.choice = "none"
            text, calls = await _Request(reply, messages, terms).write()
            if not calls or step == steps:
                break
            reply.end_step()
            named, results = await carry_out(reply, calls, terms.tools, step=step)
            if reply.closed:
                return  # A tool swallowed its cancellation: nobody asks for its sake.
            messages = [*messages, Message(role="assistant", content=text, calls=tuple(named)), *results]
            terms.go_on(reply.take_rest())
    except ProviderError as error:
        reply.fault(error)
        if command.output is Output.TEXT:
            reply.finish_text()  # It was delivered as it was written, so it counts; a voice stops at the last whole phrase.
        reply.tell(LanguageModelFailed(turn=reply.turn, message=error.message, critical=error.critical))
    reply.finish_text()


class _Request:
    """One request to the model, of which an answer with tools needs several."""

    def __init__(self, reply: Reply, messages: Sequence[Message], terms: _Terms) -> None:
        self._reply = reply
        self._messages = [*terms.instructions, *messages]
        self._tools = [each.spec if isinstance(each, Tool) else each for each in terms.tools.values()]
        self._choice: ToolChoice = terms.choice
        self._max_tokens = terms.max_tokens

    async def write(self) -> tuple[str, list[ToolCall]]:
        """Hand on the text as it comes; gives all of it, and the calls.

        Raises:
            ProviderError: the model failed.
        """
        reply, timeouts = self._reply, self._reply.settings.timeouts
        reply.limited = False
        text: list[str] = []
        calls: list[ToolCall] = []
        with Patience("llm", timeouts.connect_s, "connect") as patience:
            async with Guarded(
                "llm", self._ask, gives=(TextDelta, ToolCallDelta, ToolCall, Usage, LimitReached)
            ) as outputs:
                patience.until(timeouts.llm_first_s, "first token")
                first = True
                async for output in outputs:
                    if reply.closed:
                        return "", []  # The provider swallowed its cancellation: its output is refused.
                    if isinstance(output, _TOKENS):
                        if first:
                            first = False
                            reply.mark_first_token()
                            patience.until(timeouts.llm_gap_s, "next token")
                        else:
                            patience.extend()
                    match output:
                        case TextDelta():
                            if not isinstance(piece := output.text, str):
                                raise ProviderError("llm", "llm provider gave a piece of text that is no str")
                            text.append(piece)
                            if not await reply.add_text(piece):
                                return "".join(text), []
                        case ToolCall() if self._choice != "none" and self._tools:
                            expect("llm", _is_call(output), "a tool call whose fields are no str")
                            calls.append(output)
                        case Usage():
                            _tell_usage(reply, output)
                        case LimitReached():
                            reply.limited = True
                        case _:
                            pass
        return "".join(text), calls

    def _ask(self) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        return ask_model(
            self._reply.agent.language_model,
            self._messages,
            locale=self._reply.command.locale,
            tools=self._tools,
            tool_choice=self._choice,
            max_tokens=self._max_tokens,
        )


def _is_call(call: ToolCall) -> bool:
    return all(isinstance(each, str) for each in (call.call, call.name, call.arguments))


def _tell_usage(reply: Reply, usage: Usage) -> None:
    counts = (usage.input_tokens, usage.output_tokens)
    expect("llm", all(type(count) is int and count >= 0 for count in counts), "a usage that is no count of tokens")
    reply.tell(UsageReported(turn=reply.turn, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))
