"""The tools of a session: carried out here, told to the orchestrator, answered to the model.

A call belongs to the reply that it was made in, and is cancelled with it. Detached ones run in the session's nursery, which
is where ``DetachedTools`` keeps count of them. Whatever a tool does, the model gets an answer for every call: a result, or
what went wrong. What a tool raises is its own fault and goes to the observers; its text goes to nobody.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from flare_actors.actors.channels import Inbox
from flare_actors.conversation.calls import IN_BACKGROUND, ToolCall, ToolSpec
from flare_actors.conversation.events import ToolFinished, ToolStarted
from flare_actors.errors import ProviderError, ToolError
from flare_actors.guard import port_guard
from flare_actors.ports import Message
from flare_actors.tools import Tool

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply

__all__ = ["DetachedTools", "carry_out", "offered"]

_CUT: Final = " ... (the rest was cut)"


@attrs.frozen
class Outcome:
    """What came of a call, for the model."""

    output: str = attrs.field(repr=False)
    failed: bool = False


class DetachedTools:
    """Tools that go on when their turn is over, and end with their session at the latest.

    Args:
        inbox: told of their results.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.nursery: trio.Nursery | None = None
        """The session's: they belong to it and to nobody else, so it is handed over when the session runs."""
        self.running = 0
        """How many have not ended."""

    def start(self, turn: int, call: str, work: Callable[[], Awaitable[Outcome]]) -> None:
        """Begin, and go on whatever becomes of the turn."""
        assert self.nursery is not None
        self.running += 1
        self.nursery.start_soon(self._run, turn, call, work, name=f"tool {call}")

    async def _run(self, turn: int, call: str, work: Callable[[], Awaitable[Outcome]]) -> None:
        try:
            outcome = await work()
        finally:
            self.running -= 1
        self._inbox.put(ToolFinished(turn=turn, call=call, output=outcome.output, failed=outcome.failed))


def offered(tools: Sequence[Tool | ToolSpec], client: Sequence[ToolSpec]) -> dict[str, Tool | ToolSpec]:
    """What the model may call in an answer, by name. A client cannot take the place of one of the agent's functions."""
    mine = {each.spec.name if isinstance(each, Tool) else each.name: each for each in tools}
    theirs = {each.name: each for each in client if not isinstance(mine.get(each.name), Tool)}
    return mine | theirs


async def carry_out(
    reply: Reply, calls: Sequence[ToolCall], tools: dict[str, Tool | ToolSpec], *, step: int
) -> tuple[list[ToolCall], list[Message]]:
    """Carry out the calls of one answer of the model, all at a time; gives the calls as they count, and their results.

    Cancellation: cancels them all; nothing more is told of them.
    """
    most = reply.settings.limits.tool_calls
    batch = sum(isinstance(tools.get(each.name), ToolSpec) for each in calls[:most])
    run = _Step(reply, tools, step, batch)
    named = [
        ToolCall(call=reply.next_call_id(), name=each.name, arguments=_object_or_empty(each.arguments))
        for each in calls
    ]
    outcomes = [Outcome("")] * len(calls)

    async def one(place: int) -> None:
        outcomes[place] = await run.outcome(named[place], calls[place].arguments, too_many=place >= most)

    async with trio.open_nursery() as fillers:
        async with trio.open_nursery() as nursery:
            for place, call in enumerate(named):
                nursery.start_soon(one, place, name=f"tool {call.call}")
                tool = tools.get(call.name)
                if isinstance(tool, Tool) and tool.filler is not None and place < most:
                    fillers.start_soon(reply.fill, tool.filler, tool.filler_after_s)
        fillers.cancel_scope.cancel(reason="the tools are done")
    results = [
        Message(role="tool", call=call.call, content=outcome.output, failed=outcome.failed)
        for call, outcome in zip(named, outcomes, strict=True)
    ]
    return named, results


def _object_or_empty(arguments: str) -> str:
    """Servers that are shown the call again parse its arguments; broken ones are told of in the result."""
    try:
        whole = isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        whole = False
    return arguments if whole else "{}"


class _Step:
    """What the calls of one answer of the model have in common."""

    def __init__(self, reply: Reply, tools: dict[str, Tool | ToolSpec], step: int, batch: int) -> None:
        self._reply = reply
        self._batch = batch
        self._tools = tools
        self._step = step

    async def outcome(self, call: ToolCall, written: str, *, too_many: bool) -> Outcome:
        """Carry out one call."""
        reply = self._reply
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(self._tools)
            return Outcome(f"there is no tool of that name; there is: {known}", failed=True)
        if too_many:
            return Outcome("too many calls at a time; this one was not made", failed=True)
        if isinstance(tool, ToolSpec):
            await reply.wait_released()
            return await self._ask_client(call)
        try:
            arguments = tool.read(written)
        except ToolError as error:
            return Outcome(str(error), failed=True)
        if not tool.safe:
            await reply.wait_released()
        timeout_s = reply.settings.timeouts.tool_s if tool.timeout_s is None else tool.timeout_s
        work = _Work(reply, tool, arguments, timeout_s)
        if tool.detached:
            if reply.detached.running >= reply.settings.limits.detached_tools:
                return Outcome("too many tools go on in the background; try again later", failed=True)
            self._tell_start(call, timeout_s, tool)
            reply.detached.start(reply.turn, call.call, work)
            return Outcome(IN_BACKGROUND)
        self._tell_start(call, timeout_s, tool)
        outcome = await work()
        reply.tell(ToolFinished(turn=reply.turn, call=call.call, output=outcome.output, failed=outcome.failed))
        return outcome

    async def _ask_client(self, call: ToolCall) -> Outcome:
        reply = self._reply
        timeout_s = reply.settings.timeouts.tool_s
        wanted = reply.expect_result(call.call)
        self._tell_start(call, timeout_s, None)
        with trio.move_on_after(timeout_s):
            await wanted.wait()
        result = reply.take_result(call.call)
        if result is None:
            outcome = _too_late(timeout_s)
        else:
            outcome = _cut(Outcome(result.output, result.failed), reply.settings.limits.tool_chars)
        reply.tell(ToolFinished(turn=reply.turn, call=call.call, output=outcome.output, failed=outcome.failed))
        return outcome

    def _tell_start(self, call: ToolCall, timeout_s: float, tool: Tool | None) -> None:
        self._reply.tell(
            ToolStarted(
                turn=self._reply.turn,
                call=call.call,
                name=call.name,
                arguments=call.arguments,
                step=self._step,
                timeout_s=timeout_s,
                client=tool is None,
                batch=max(1, self._batch),
                detached=tool is not None and tool.detached,
                announced=tool is not None and tool.announced,
                survives=tool is None or tool.survives,
            )
        )


class _Work:
    """One function at work, within its time; what it raises becomes an outcome."""

    def __init__(self, reply: Reply, tool: Tool, arguments: dict[str, object], timeout_s: float) -> None:
        self._turn = reply.turn
        self._fault = reply.fault
        self._tool = tool
        self._arguments = arguments
        self._timeout_s = timeout_s
        self._most = reply.settings.limits.tool_chars

    async def __call__(self) -> Outcome:
        try:
            with trio.move_on_after(self._timeout_s), port_guard("tool"):
                return _cut(Outcome(await self._tool.run(self._arguments)), self._most)
        except ProviderError as error:
            cause = error.__cause__
            if isinstance(cause, ToolError):
                return _cut(Outcome(str(cause) or "it failed", failed=True), self._most)
            kind = "its provider failed" if cause is None else type(cause).__name__
            told = ProviderError("tool", f"the tool {self._tool.spec.name} raised {kind}")
            told.__cause__ = cause or error
            self._fault(told)
            return Outcome(f"the tool failed ({kind})", failed=True)
        return _too_late(self._timeout_s)


def _too_late(timeout_s: float) -> Outcome:
    return Outcome(f"no result within {timeout_s:g} seconds", failed=True)


def _cut(outcome: Outcome, most: int) -> Outcome:
    if len(outcome.output) <= most:
        return outcome
    return attrs.evolve(outcome, output=outcome.output[: max(0, most - len(_CUT))] + _CUT[:most])
