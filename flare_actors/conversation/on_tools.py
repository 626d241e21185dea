"""What became of the tools that the model asked for: the reply's, the client's, and those in the background.

A call belongs to its turn and is gone with it, unless it is detached: then it belongs to the session, and its result enters
the history whenever it comes, between two turns. The reply carries calls out and asks the model again; what is decided here
is what is remembered, who is told, and how long may be waited for.
"""

from __future__ import annotations

from flare_actors.conversation.calls import IN_BACKGROUND, ToolUse
from flare_actors.conversation.commands import ReturnToolResult
from flare_actors.conversation.events import ToolFinished, ToolResultReceived, ToolsOffered, ToolStarted
from flare_actors.conversation.history import correct_result
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import ToolCallRequested
from flare_actors.conversation.on_client import takes_instructions, takes_tools
from flare_actors.conversation.on_reply import is_held, live, progress
from flare_actors.conversation.values import evolve


def on_tools_offered(d: Draft, e: ToolsOffered) -> None:
    if takes_tools(d, e.tools):
        d.set(client_tools=e.tools, tool_choice=e.tool_choice)


def on_tool_started(d: Draft, e: ToolStarted) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    known = any(use.call == e.call for use in (*turn.calls, *d.c.detached))
    if known or turn.generated_s is not None or (is_held(d, e.turn) and (e.client or e.detached)):
        d.drop()  # A held reply's tools do nothing that could not be undone by forgetting them.
        return
    use = ToolUse(
        call=e.call,
        name=e.name,
        arguments=e.arguments,
        step=e.step,
        due=e.at + e.timeout_s,
        client=e.client,
        detached=e.detached,
        announced=e.announced,
        survives=e.survives or e.detached,
        output=IN_BACKGROUND if e.detached else None,
    )
    if e.detached:
        d.set(detached=(*d.c.detached, use)[-d.c.settings.limits.detached_tools :])
    progress(d, evolve(turn, calls=(*turn.calls, use)))
    if e.client:
        d.tell(
            ToolCallRequested(
                turn=e.turn,
                call=e.call,
                name=e.name,
                arguments=e.arguments,
                timeout_s=e.timeout_s,
                batch=e.batch,
            )
        )


def on_tool_finished(d: Draft, e: ToolFinished) -> None:
    detached = next((use for use in d.c.detached if use.call == e.call), None)
    if detached is not None:
        _report(d, evolve(detached, output=e.output, failed=e.failed))
        return
    turn = live(d, e.turn)
    if turn is None:
        return
    if not any(use.call == e.call and use.output is None for use in turn.calls):
        d.drop()
        return
    calls = tuple(evolve(use, output=e.output, failed=e.failed) if use.call == e.call else use for use in turn.calls)
    progress(d, evolve(turn, calls=calls))


def _report(d: Draft, done: ToolUse) -> None:
    """A tool in the background is done: it enters the history now, or after the live turn; the agent may speak of it."""
    d.set(
        detached=tuple(use for use in d.c.detached if use.call != done.call),
        reports=(*d.c.reports, done),
        report_due=d.c.report_due or done.announced,
    )
    if d.c.turn is None:
        d.record_reports()
    d.use_floor()


def on_tool_result(d: Draft, e: ToolResultReceived) -> None:
    turn = d.c.turn
    calls = () if turn is None else turn.calls
    most = d.c.settings.limits.tool_chars
    if not any(use.call == e.call and use.client and use.output is None for use in calls):
        corrected = correct_result(d.c.history, e.call, e.output[:most], failed=e.failed)
        if corrected is None:
            d.drop()  # Its time was up in the live turn, or it was answered already.
        else:
            d.set(history=corrected)
        return
    assert turn is not None
    rest = e.rest
    if rest is not None and not (takes_instructions(d, rest.instructions) and takes_tools(d, rest.tools)):
        rest = None
    d.emit(ReturnToolResult(turn=turn.number, call=e.call, output=e.output[:most], failed=e.failed, rest=rest))
