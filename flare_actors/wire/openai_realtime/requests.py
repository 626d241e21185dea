"""What a client's choices and wishes come to as requests to a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import attrs

from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import AnswerRest, ToolSpec
from flare_actors.conversation.changes import changes
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Endpointing, TurnDetection
from flare_actors.errors import ClientError
from flare_actors.ports import ClientMessage
from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime import session_config as config
from flare_actors.wire.openai_realtime.items import new_item
from flare_actors.wire.openai_realtime.session_config import Chosen, Detection, Eagerness, Json, ToolMode

__all__ = ["Wanted", "metadata", "response_request", "rest_of_answer", "tools_offered", "wanted"]

_EAGERNESS_S: Final = {Eagerness.LOW: 2.4, Eagerness.MEDIUM: 1.2, Eagerness.HIGH: 0.6}
"""The longest wait for an unfinished sentence to go on; ``auto`` is the agent's own."""


@attrs.frozen(kw_only=True)
class Wanted:
    """What a session is to be like."""

    values: Mapping[str, object]
    """Settings by name."""
    settings: Settings
    """All of them."""

    def requests(self, request_id: str) -> tuple[ClientMessage, ...]:
        """What the session is asked for it."""
        return (ev.SettingsChanged(changes=changes(self.values), request_id=request_id),)


def wanted(chosen: Chosen, agent: Settings) -> Wanted:
    """What the client has chosen, as settings; the agent's where it has chosen nothing.

    Raises:
        ClientError: the settings do not take that.
    """
    session = chosen.session
    detection = session.audio.input.turn_detection
    transcription = session.audio.input.transcription
    values: dict[str, object] = {
        "output": config.modality(session.output_modalities),
        "instructions": session.instructions or agent.instructions,
        "locale": _locale(transcription.language if transcription is not None else None, agent.locale),
        "turn_detection": TurnDetection.MANUAL if detection is None else TurnDetection.AUTOMATIC,
        "auto_answer": detection is not None and detection.create_response,
        "barge_in": BargeIn.LATER if agent.barge_in is not BargeIn.OFF else BargeIn.OFF,
        "answer_tokens": config.max_tokens(session.max_output_tokens),
        "idle_answer": False,
        "idle_prompt_s": agent.idle_prompt_s,
    }
    if detection is not None and detection.interrupt_response:
        values["barge_in"] = agent.barge_in if agent.barge_in.interrupts else BargeIn.FULL
    if detection is not None and detection.type is Detection.SEMANTIC_VAD:
        values["endpointing"] = Endpointing.ADAPTIVE
        values["endpoint_max_s"] = _EAGERNESS_S.get(detection.eagerness, agent.endpoint_max_s)
    elif detection is not None:
        silence_ms, padding_ms = detection.silence_duration_ms, detection.prefix_padding_ms
        values["endpointing"] = Endpointing.FIXED
        values["endpoint_s"] = agent.endpoint_s if silence_ms is None else silence_ms / 1000
        values["preroll_s"] = agent.preroll_s if padding_ms is None else padding_ms / 1000
        if detection.idle_timeout_ms is not None and detection.create_response:
            values["idle_answer"], values["idle_prompt_s"] = True, detection.idle_timeout_ms / 1000
        values["vad_threshold"] = agent.vad_threshold if detection.threshold is None else detection.threshold
    try:
        settings = attrs.evolve(agent, **values)  # type: ignore[arg-type] # the names and types of fields, from above
    except ValueError as error:
        raise ClientError("invalid_field", f"session: {error.args[0]}", field="session") from None
    return Wanted(values=values, settings=settings)


def tools_offered(tools: list[config.Tool], choice: object, request_id: str | None = None) -> ev.ToolsOffered:
    """The client's tools. To have a certain one called, that one alone is offered, and required.

    Raises:
        ClientError: a tool's parameters are no schema of an object; or the choice is none.
    """
    chosen = config.tool_choice(choice, tools)
    if not isinstance(chosen, ToolMode):
        tools, chosen = [tool for tool in tools if tool.name == chosen], ToolMode.REQUIRED
    try:
        specs = tuple(
            ToolSpec(
                name=tool.name,
                description=tool.description,
                parameters=json.dumps({"type": "object", "properties": {}, **tool.parameters}),
            )
            for tool in tools
        )
    except ValueError as error:
        raise ClientError("invalid_field", f"session.tools: {error}", field="tools") from None
    return ev.ToolsOffered(tools=specs, tool_choice=chosen.value if specs else "auto", request_id=request_id)


def _locale(language: str | None, agents: str) -> str:
    """The agent's own tag says more than a bare language."""
    if language is None or agents.lower().split("-")[0] == language.lower():
        return agents
    return language


def _own_tools(params: wire.ResponseParams, session: config.Session) -> ev.ToolsOffered | None:
    """The tools of one response, where it has any, or a choice, of its own."""
    if params.tools is None and params.tool_choice is None:
        return None
    tools = session.tools if params.tools is None else params.tools
    choice = session.tool_choice if params.tool_choice is None else params.tool_choice
    if params.tool_choice is None and isinstance(choice, dict):
        choice = "auto"  # The session's one function may not be among these.
    config.check_tools(tools, choice, where="response")
    return tools_offered(tools, choice)


def _own_limit(params: wire.ResponseParams) -> int | None:
    given = params.max_output_tokens
    return None if given is None else config.max_tokens(given) or 0


def rest_of_answer(params: wire.ResponseParams, session: config.Session) -> AnswerRest | None:
    """What is different in the rest of an answer, from the results of its functions on; None: nothing.

    Raises:
        ClientError: there is no such rest.
    """
    offer, limit = _own_tools(params, session), _own_limit(params)
    if offer is None and limit is None and not params.instructions:
        return None
    return AnswerRest(
        instructions=params.instructions or None,
        replace=bool(params.instructions),
        max_tokens=limit,
        tools=None if offer is None else offer.tools,
        tool_choice=None if offer is None else offer.tool_choice,
    )


def response_request(params: wire.ResponseParams, session: config.Session, request_id: str) -> ev.ResponseRequested:
    """What the session is asked for a response.

    Raises:
        ClientError: there is no such response.
    """
    aside = params.conversation == "none"
    if params.conversation not in {None, "auto", "none"}:
        raise ClientError(
            "invalid_field", "response.conversation: expected 'auto' or 'none'", field="response.conversation"
        )
    if params.input is not None and not aside:
        raise ClientError(
            "invalid_field",
            "response.input: goes with conversation 'none'; put items into the conversation with conversation.item.create",
            field="response.input",
        )
    offer = _own_tools(params, session)
    return ev.ResponseRequested(
        instructions=params.instructions or None,
        replace=bool(params.instructions),
        output=None
        if params.output_modalities is None
        else config.modality(params.output_modalities, where="response"),
        max_tokens=_own_limit(params),
        tools=None if offer is None else offer.tools,
        tool_choice=None if offer is None else offer.tool_choice,
        items=None if params.input is None else tuple(map(new_item, params.input)),
        aside=aside,
        request_id=request_id,
    )


def metadata(given: Json | None) -> Json | None:
    """What is to be echoed in a response.

    Raises:
        ClientError: that is more than fits.
    """
    if given is None:
        return None
    if len(given) > 16 or not all(isinstance(value, str) and len(value) <= 512 for value in given.values()):
        raise ClientError(
            "invalid_field", "response.metadata: expected up to 16 strings of up to 512 characters", field="metadata"
        )
    return given
