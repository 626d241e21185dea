"""Hypothesis strategies for what can be chosen: settings that change decisions, and changes of them amid a session.

(Settings with any value that is let in are ``values.any_settings``.)
"""

from __future__ import annotations

import functools

from hypothesis import strategies as st

from flare_actors.conversation.changes import Change, Value
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import BargeIn, Endpointing, Input, Mute, Output, SttMode, TurnDetection

__all__ = ["changes", "settings"]


@functools.cache
def settings() -> st.SearchStrategy[Settings]:
    """Any choice of what changes decisions; times are such that each of them can matter within a script."""
    return st.builds(
        Settings,
        locale=st.sampled_from(["en-US", "tr-TR"]),
        stt_mode=st.sampled_from(SttMode),
        input=st.sampled_from([*[Input.AUDIO] * 7, Input.TEXT]),
        turn_detection=st.sampled_from([*[TurnDetection.AUTOMATIC] * 3, TurnDetection.MANUAL]),
        auto_answer=st.sampled_from([True, True, True, False]),
        mute=st.sampled_from([*[Mute.NEVER] * 4, *Mute]),
        session_max_s=st.sampled_from([None, None, None, 60.0]),
        instructions=st.sampled_from([None, None, "Be brief."]),
        answer_tokens=st.sampled_from([None, None, 20]),
        soft_endpoint_s=st.sampled_from([0.2, 0.2, None]),
        endpointing=st.sampled_from(Endpointing),
        endpoint_min_s=st.sampled_from([0.3, 0.3, 2.0]),
        endpoint_max_s=st.sampled_from([1.2, 1.2, 0.1]),
        max_utterance_s=st.sampled_from([30.0, 5.0]),
        echo_tail_s=st.sampled_from([0.5, 0.0, 5.0]),
        output=st.sampled_from([Output.AUDIO, Output.AUDIO, Output.TEXT]),
        welcome=st.sampled_from([None, "Hello. How are you?"]),
        apology=st.sampled_from([None, "I am sorry."]),
        barge_in=st.sampled_from(BargeIn),
        false_interruption_s=st.sampled_from([1.0, 1.0, 0.2, 0.0]),
        reconnect_grace_s=st.sampled_from([30.0, 5.0, 0.0]),
        idle_prompts=st.sampled_from([(), ("Are you there?",), ("Hello?", "Still there?")]),
        idle_answer=st.booleans(),
        idle_prompt_s=st.sampled_from([1.0, 30.0]),
        idle_prompt_growth=st.sampled_from([1.5, 1.0, 10.0]),
        stt_retry_s=st.sampled_from([2.0, 20.0]),
        idle_end_s=st.sampled_from([300.0, None, 2.0]),
        session_idle_s=st.sampled_from([600.0, None, 2.0]),
        timeouts=st.builds(Timeouts, playback_report_s=st.sampled_from([0.5, 2.0])),
        limits=st.builds(
            Limits,
            history_items=st.sampled_from([2, 3, 200]),
            say_queue=st.sampled_from([1, 8]),
            same_failures=st.sampled_from([3, 3, 1]),
            text_chars=st.sampled_from([12, 8_000]),
            tools=st.sampled_from([1, 128]),
            tool_chars=st.sampled_from([3, 16_000]),
            detached_tools=st.sampled_from([1, 8]),
        ),
    )


@functools.cache
def changes() -> st.SearchStrategy[Change]:
    """A change of some setting, mostly one that it takes."""
    to_the_point: list[tuple[str, Value]] = [
        ("input", "text"),
        ("input", "audio"),
        ("output", "text"),
        ("output", "audio"),
        ("turn_detection", "manual"),
        ("turn_detection", "automatic"),
        ("auto_answer", False),
        ("auto_answer", True),
        ("mute", "always"),
        ("mute", "speaking"),
        ("mute", "tools"),
        ("mute", "never"),
        ("barge_in", "off"),
        ("barge_in", "full"),
        ("false_interruption_s", 0.0),
        ("false_interruption_s", 5.0),
        ("soft_endpoint_s", None),
        ("soft_endpoint_s", 0.2),
        ("endpointing", "fixed"),
        ("endpointing", "adaptive"),
        ("instructions", "Be kind."),
        ("answer_tokens", 7),
        ("apology", None),
        ("idle_prompts", ("Still there?",)),
        ("idle_prompt_s", 2.0),
        ("idle_answer", True),
        ("locale", "tr-TR"),
        ("stt_mode", "batch"),
        ("endpoint_s", 0.3),
        ("idle_end_s", None),
        ("session_idle_s", 5.0),
        ("session_max_s", 300.0),
        ("welcome", "Hi."),
        ("endpoint_s", -1.0),
        ("endpoint_s", "long"),
        ("barge_in", "perhaps"),
        ("limits", 3),
        ("colour", "red"),
    ]
    return st.sampled_from(to_the_point).map(lambda pair: Change(name=pair[0], value=pair[1]))
