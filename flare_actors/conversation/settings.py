"""Everything about a conversation that can be chosen, with units, defaults and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from flare_actors.conversation.states import BargeIn, Endpointing, Input, Mute, Output, SttMode, TurnDetection

__all__ = ["Limits", "Settings", "Timeouts"]

# attrs' own validators are invariant in the field's type; these serve int and float fields alike.
_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], object]
_positive: _Validator = attrs.validators.gt(0)
_not_negative: _Validator = attrs.validators.ge(0)
_optional_positive: _Validator = attrs.validators.optional(_positive)


def _positive_up_to(most: float) -> _Validator:
    return attrs.validators.and_(_positive, attrs.validators.le(most))


def _between(low: float, high: float) -> _Validator:
    """Between ``low`` and ``high``, both excluded."""
    return attrs.validators.and_(attrs.validators.gt(low), attrs.validators.lt(high))


def _from_to(low: float, high: float) -> _Validator:
    """Between ``low`` and ``high``, both included."""
    return attrs.validators.and_(attrs.validators.ge(low), attrs.validators.le(high))


_prompts: _Validator = attrs.validators.and_(
    attrs.validators.max_len(16), attrs.validators.deep_iterable(attrs.validators.min_len(1))
)
_JUDGED_S = 0.2
"""Silence after which a pause is judged where no answer is begun ahead (then it is at ``soft_endpoint_s``)."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long a stage may take before it counts as failed, in seconds.

    The actors measure connect, first result and gap; the core holds a longer backstop for the case that an actor itself
    is stuck. Defaults: an order of magnitude above what the embedded engines and common services need (docs/providers.md).
    """

    connect_s: float = attrs.field(default=5.0, validator=_positive)
    """Until a provider's stream is open."""
    stt_final_s: float = attrs.field(default=8.0, validator=_positive)
    """From the endpoint to the final transcript."""
    llm_first_s: float = attrs.field(default=10.0, validator=_positive)
    """From the request to the first token."""
    llm_gap_s: float = attrs.field(default=6.0, validator=_positive)
    """Between two tokens."""
    tts_first_s: float = attrs.field(default=6.0, validator=_positive)
    """From a phrase handed over to its first audio."""
    tts_gap_s: float = attrs.field(default=6.0, validator=_positive)
    """Between two chunks of a phrase's audio."""
    initialize_s: float = attrs.field(default=10.0, validator=_positive)
    """From the start of a conversation until the ear is open, in addition to ``connect_s``, which the ear keeps itself."""
    settle_s: float = attrs.field(default=1.0, validator=_positive)
    """From a flush to the speaker's word on what was played."""
    playback_report_s: float = attrs.field(default=2.0, validator=_positive)
    """How long after the pacing clock's end a client that reports playback may still take to report the end."""
    tool_s: float = attrs.field(default=30.0, validator=_positive)
    """How long a tool may take, the client's included, where it has no time of its own."""
    backstop_s: float = attrs.field(default=30.0, validator=_positive)
    """How much longer than the stages' own timeouts the core waits for any fact of a live turn."""

    @property
    def opening_s(self) -> float:
        """From the start of a conversation until the ear counts as failed."""
        return self.connect_s + self.initialize_s

    @property
    def generation_s(self) -> float:
        """Without any fact of a live turn, until it counts as failed: every stage's own timeout comes first."""
        return (
            self.connect_s + max(self.llm_first_s, self.llm_gap_s, self.tts_first_s, self.tts_gap_s) + self.backstop_s
        )


@attrs.frozen(kw_only=True)
class Limits:
    """What bounds a conversation's size and its patience."""

    history_items: int = attrs.field(default=200, validator=attrs.validators.ge(2))
    """History items kept, at least a question and an answer; the oldest are forgotten first."""
    text_chars: int = attrs.field(default=8_000, validator=_positive)
    """Characters of one user text, one `say`, one transcript; more is refused (transcripts: cut)."""
    answer_chars: int = attrs.field(default=16_000, validator=_positive)
    """Characters of one answer; a model that goes on is stopped there."""
    tools: int = attrs.field(default=128, validator=_positive)
    """Tools that a client may offer; more are refused. (No model's API takes more.)"""
    tool_steps: int = attrs.field(default=8, validator=_positive)
    """How often in one answer the model may call tools, look at the results, and go on; then it must answer."""
    tool_calls: int = attrs.field(default=16, validator=_positive)
    """Calls at a time; the model is told that more are too many."""
    tool_chars: int = attrs.field(default=16_000, validator=_positive)
    """Characters of one tool's result; more is cut."""
    detached_tools: int = attrs.field(default=8, validator=_positive)
    """Detached tools that may run at a time; the model is told that one more is too many."""
    say_queue: int = attrs.field(default=8, validator=_positive)
    """`say` requests that wait for the floor; one more is refused."""
    same_failures: int = attrs.field(default=3, validator=_positive)
    """The same stage failing this often in a row is critical and ends the session."""


@attrs.frozen(kw_only=True)
class Settings:
    """One session's choices. Immutable; a session keeps its own copy.

    Every field can be set in the agent's TOML file under ``[conversation]`` (``[conversation.timeouts]``,
    ``[conversation.limits]``).
    """

    locale: str = attrs.field(default="en-US", validator=attrs.validators.min_len(2))
    """BCP 47 tag of what is spoken, both ways."""
    stt_mode: SttMode = SttMode.STREAMING
    output: Output = Output.AUDIO
    input: Input = Input.AUDIO
    turn_detection: TurnDetection = TurnDetection.AUTOMATIC
    auto_answer: bool = True
    """Answer the user's words without being asked to; off: the client asks for each answer itself."""
    mute: Mute = Mute.NEVER
    instructions: str | None = attrs.field(default=None, repr=False)
    """The system message, in place of the agent's own; None: the agent's."""
    answer_tokens: int | None = attrs.field(default=None, validator=_optional_positive)
    """The longest answer in the model's tokens, where the model's own limit is not shorter; None: only that one."""
    welcome: str | None = None
    """Spoken when a conversation starts; None: the agent waits for the user."""
    apology: str | None = None
    """Spoken when the language model failed; None: the client is told, nothing is said."""

    endpoint_s: float = attrs.field(default=0.48, validator=_positive_up_to(10))
    """Silence after speech that ends an utterance (`silence_threshold_ms` on the wire)."""
    endpointing: Endpointing = Endpointing.ADAPTIVE
    """``fixed``: every utterance ends after ``endpoint_s``. ``adaptive``: sooner when it looks finished, later when the user
    hesitates or is known to pause longer; ``endpoint_s`` where nothing is known."""
    endpoint_min_s: float = attrs.field(default=0.3, validator=_positive_up_to(10))
    """The shortest adaptive wait; one above ``endpoint_s`` counts as ``endpoint_s``."""
    endpoint_max_s: float = attrs.field(default=1.2, validator=_positive_up_to(10))
    """The longest adaptive wait; one below ``endpoint_s`` counts as ``endpoint_s``."""
    soft_endpoint_s: float | None = attrs.field(default=0.06, validator=_optional_positive)
    """Silence after which the answer to the words so far is begun, held, and thrown away if the user goes on; it saves the
    time that model and synthesizer need, and costs their work when it was in vain. None: nothing is begun ahead."""
    min_speech_s: float = attrs.field(default=0.25, validator=_not_negative)
    """Utterances with less voiced time than this never reach the recogniser and count as empty."""
    max_utterance_s: float = attrs.field(default=30.0, validator=_positive)
    """An utterance this long is ended as if the user had paused."""
    preroll_s: float = attrs.field(default=0.3, validator=_not_negative)
    """Audio kept from before the speech start, so that no first sound is lost."""
    vad_threshold: float = attrs.field(default=0.5, validator=_between(0, 1))
    """Speech probability from which a chunk is voiced; it stays voiced down to 0.15 below (Silero's own hysteresis)."""

    barge_in: BargeIn = BargeIn.GUARDED
    interruption_min_s: float = attrs.field(default=0.3, validator=_not_negative)
    """Voiced time that confirms an interruption where the recogniser tells no words before the end of an utterance."""
    interruption_max_wait_s: float = attrs.field(default=0.8, validator=_not_negative)
    """Where it does, the first word confirms (if it is no "mhm"); so much voiced time does without one. Less than
    ``interruption_min_s`` counts as that."""
    false_interruption_s: float = attrs.field(default=1.0, validator=_not_negative)
    """The agent is silent as soon as the user begins to speak; without an interruption confirmed for so long it goes on
    where it stopped. 0: it is not silent before an interruption is confirmed."""
    echo_guard_db: float = attrs.field(default=15.0, validator=_positive)
    """With ``guarded`` barge-in: while the agent is heard, input quieter than its recent output by more than this is echo."""
    echo_tail_s: float = attrs.field(default=0.5, validator=_not_negative)
    """How long after it was played output can still come back as echo."""

    reconnect_grace_s: float = attrs.field(default=30.0, validator=_not_negative)
    """How long a session waits for its client to come back."""
    stt_retry_s: float = attrs.field(default=2.0, validator=_positive)
    """Back-off before a failed recogniser is started again; doubles with each failure in a row."""
    error_retry_s: float = attrs.field(default=1.0, validator=_positive)
    """Back-off after an unknown failure."""
    idle_prompts: tuple[str, ...] = attrs.field(default=(), converter=tuple, validator=_prompts)
    """Spoken one after the other while the user stays silent: the first after ``idle_prompt_s``, and from its first again once
    the user has said something. At most 16."""
    idle_prompt_s: float = attrs.field(default=30.0, validator=_positive)
    """The user's silence before the first of ``idle_prompts``."""
    idle_prompt_growth: float = attrs.field(default=1.5, validator=_from_to(1, 10))
    """The silence before each further one is this many times as long as the one before."""
    idle_answer: bool = False
    """In place of ``idle_prompts``, and only behind an answer: the model is asked to go on by itself, once until the user says
    something."""
    idle_end_s: float | None = attrs.field(default=300.0, validator=_optional_positive)
    """The user silent for this long in a conversation, after the last prompt if there are any: the conversation ends; None:
    never."""
    session_max_s: float | None = attrs.field(default=None, validator=_optional_positive)
    """The session ends when it is this old, whatever is going on; None: never."""
    session_idle_s: float | None = attrs.field(default=600.0, validator=_optional_positive)
    """No conversation for this long: the session ends; None: never."""

    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()

    @property
    def pause_s(self) -> float | None:
        """Silence after which the ear tells of a pause: what is begun or judged then needs to know. None: nothing is."""
        if self.soft_endpoint_s is not None or self.endpointing is Endpointing.FIXED:
            return self.soft_endpoint_s
        return _JUDGED_S
