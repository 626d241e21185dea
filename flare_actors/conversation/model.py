"""The conversation as a value: everything that a decision may depend on, frozen.

Waiting is data here: each thing waited for is a deadline, and a conversation that waits for nothing has none.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from operator import attrgetter

import attrs

from flare_actors.conversation.calls import ToolChoice, ToolSpec, ToolUse
from flare_actors.conversation.commands import SetEndpoint, StartReply
from flare_actors.conversation.history import AgentSaid, HistoryItem, SpokenPhrase
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import Floor, Output, Reason, State, TurnKind, Wait

__all__ = [
    "AwaitedTranscript",
    "Conversation",
    "Deadlines",
    "Failures",
    "Hearing",
    "Marks",
    "Saying",
    "Settling",
    "Speculation",
    "Turn",
    "Waste",
    "Wish",
]


class Hearing(Enum):
    """The recogniser, as far as the core knows."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@attrs.frozen(kw_only=True, slots=False)
class Deadlines:
    """What is waited for, and until when (seconds since the session's start); None: not waited for.

    One field per ``Wait``, of the same name.
    """

    session_idle: float | None = None
    lifetime: float | None = None
    grace: float | None = None
    drain: float | None = None
    initialize: float | None = None
    settle: float | None = None
    utterance: float | None = None
    commit: float | None = None
    interruption: float | None = None
    transcript: float | None = None
    generation: float | None = None
    playback: float | None = None
    stt_retry: float | None = None
    recovery: float | None = None
    idle: float | None = None

    def earliest(self) -> tuple[float, Wait] | None:
        """The next deadline and what it stands for; of equal ones the first in ``Wait``'s order."""
        best: tuple[float, Wait] | None = None
        for wait, at in zip(_WAITS, _in_order(self), strict=True):
            if at is not None and (best is None or at < best[0]):
                best = (at, wait)
        return best


_WAITS = tuple(Wait)
_in_order: Callable[[Deadlines], tuple[float | None, ...]] = attrgetter(*(wait.value for wait in _WAITS))


@attrs.frozen(kw_only=True, slots=False)
class Waste:
    """Replies begun ahead and thrown away unheard."""

    replies: int = 0
    work_s: float = 0.0
    """Seconds that model and synthesizer were at them: each from its start until it was finished, or withdrawn."""

    def more(self, work_s: float) -> Waste:
        """One more."""
        return Waste(replies=self.replies + 1, work_s=self.work_s + work_s)


@attrs.frozen(kw_only=True, slots=False)
class Marks:
    """When the stages of a turn were reached, in seconds since the session's start; None: not (yet)."""

    speech_ended: float | None = None
    endpoint: float | None = None
    asked: float | None = None
    """The transcript, the typed text, or the decision to speak."""
    begun: float | None = None
    """The reply was begun ahead; None: it was begun when it was asked for."""
    first_token: float | None = None
    first_phrase: float | None = None
    first_audio: float | None = None


@attrs.frozen(kw_only=True, slots=False)
class Wish:
    """An answer that was asked for, not only brought about by the user's words."""

    instructions: str | None = attrs.field(default=None, repr=False)
    replace: bool = False
    output: Output | None = None
    max_tokens: int | None = None
    tools: tuple[ToolSpec, ...] | None = None
    tool_choice: ToolChoice | None = None
    items: tuple[HistoryItem, ...] | None = None
    aside: bool = False
    idle: bool = False
    """Nobody has asked: the user has been silent for long."""
    request_id: str | None = None
    ticket: int | None = None


@attrs.frozen(kw_only=True, slots=False)
class Saying:
    """Something that the embedder wants said."""

    text: str = attrs.field(repr=False)
    interruptible: bool = True
    ticket: int | None = None


@attrs.frozen(kw_only=True, slots=False)
class Turn:
    """The live turn."""

    number: int
    kind: TurnKind
    output: Output = Output.AUDIO
    """What the client takes of it."""
    wish: Wish | None = None
    """How it was asked for."""

    @property
    def aside(self) -> bool:
        """Nothing of it enters the history."""
        return self.wish is not None and self.wish.aside

    saying: Saying | None = None
    """What of the embedder's it says."""

    @property
    def interruptible(self) -> bool:
        """The user's words may stop it."""
        return self.saying is None or self.saying.interruptible

    @property
    def ticket(self) -> int | None:
        """The ticket of whoever asked for it."""
        asked = self.saying or self.wish
        return None if asked is None else asked.ticket

    waiting: bool = False
    """Its request is not built yet: it waits for the word on what was heard of the turn before."""
    phrases: tuple[SpokenPhrase, ...] = ()
    calls: tuple[ToolUse, ...] = ()
    """The tools that were called for it, in the order in which they began."""
    generated_s: float | None = None
    """Seconds of audio generated in all; None while more may come."""
    playing: bool = False
    """Its first audio has left for the client."""
    paused_at: float | None = None
    """Its output stands still since then: the user speaks, and that may be an interruption. None: it does not."""
    resumed_at: float | None = None
    """When it last went on."""
    nodded: Marks | None = None
    """The user has said "mhm" to it, which is answered if nothing more than a few words of it were to come."""
    played_s: float = 0.0
    """By the client's latest report."""
    reported_at: float | None = None
    """When that report came."""
    paced_s: float = 0.0
    """By the pacing clock, all audio up to here has been played; 0 while some is still to be played."""
    tokens: tuple[tuple[int, int], ...] = ()
    """Read and written by the model, in each request of which nobody was told when it came: it was generated ahead."""
    limited: bool = False
    """The model had more to say than it may."""
    llm_failed: bool = False
    tts_failed: bool = False
    marks: Marks = Marks()

    @property
    def text(self) -> str:
        """All that was written so far."""
        return "".join(phrase.text for phrase in self.phrases)

    @property
    def carries_out_tools(self) -> bool:
        """The answer waits for the results of tools."""
        return any(use.output is None for use in self.calls)

    def generation_due(self, at: float, timeouts: Timeouts) -> float:
        """Until when something must come of it, if the last thing came at ``at``: not before its tools' own time is up."""
        tools = [use.due for use in self.calls if use.output is None]
        return max([at, *tools]) + timeouts.generation_s


@attrs.frozen(kw_only=True, slots=False)
class Speculation:
    """A reply that is generated ahead and held: the user may have finished."""

    utterance: int
    """What it answers the words of."""
    turn: Turn
    """What it has made so far."""
    started: float
    finished: float | None = None
    """When all of it was made."""
    request: StartReply
    """What was asked; the answer is wanted if the very same is to be asked at the hard endpoint."""


@attrs.frozen(kw_only=True, slots=False)
class Settling:
    """A cancelled turn of which is not known for sure how much was heard."""

    number: int
    reason: Reason
    phrases: tuple[SpokenPhrase, ...]
    ended_at: float
    delivered: bool = False
    """Its text went to the client instead of its sound, so that all that was written counts as heard."""
    played_s: float = 0.0
    """By the client's latest report before the end, or any later one."""
    reported_at: float | None = None
    clock_s: float | None = None
    """Played by the pacing clock, which a client can only be behind; None: not told yet."""
    settled: bool = False
    """It is known how much was played; a client's report may still amend it."""


@attrs.frozen(kw_only=True, slots=False)
class AwaitedTranscript:
    """An utterance that has ended and whose final transcript is due."""

    utterance: int
    speech_ended: float
    endpoint: float
    overheard: bool
    """It began while the agent was heard, so it may be the agent's echo."""
    answer: bool
    """Its words are to be answered; False: not before a commit."""
    committed: bool
    """Push-to-talk: the user has said that this is all of it, so nobody has waited for a silence."""
    nod: bool
    """By the words so far it is a listener's "mhm": nothing stands still until it is understood for good."""


@attrs.frozen(kw_only=True, slots=False)
class Failures:
    """How often each stage failed in a row."""

    vad: int = 0
    stt: int = 0
    llm: int = 0
    tts: int = 0
    unknown: int = 0


@attrs.frozen(kw_only=True, slots=False)
class Conversation:
    """One session's conversation: two regions (the agent's state, the user's floor) and what they stand on."""

    settings: Settings = Settings()
    state: State = State.IDLE
    attached: bool = False
    """A client's link is open."""
    reports_playback: bool = False
    """The client tells what it has played, so its word on the end is waited for."""
    draining: bool = False
    """The server is going down: end with the turn."""
    ended: Reason | None = None

    floor: Floor = Floor.SILENT
    utterance: int = 0
    """The latest utterance that the ear has told of."""
    confirmed: bool = False
    """The utterance in progress counts as an interruption, by its words or its length."""
    worded: bool = False
    """Words of it are known, and are none that interrupt."""
    overheard: bool = False
    """The utterance in progress began while the agent was heard."""
    unheard: bool = False
    """The recogniser was lost during the utterance in progress, so no transcript of it will come."""
    paused: bool = False
    """The utterance in progress has reached its soft endpoint."""
    partial: str = attrs.field(default="", repr=False)
    """The transcript so far of the utterance in progress; empty while something is known to be missing in it."""
    pause: int = 0
    """... for the so-manieth time."""
    turn_end: float | None = None
    """A turn-end model's probability that the user has finished, for the present pause."""
    estimates: bool = False
    """The ear has such a model, so that its word on every pause is to come."""
    endpoint: SetEndpoint | None = None
    """What the ear was told to wait for in the utterance in progress; None: nothing but the settings."""
    pauses: tuple[float, ...] = ()
    """The speaker's latest pauses after which the speaker went on, in seconds."""
    awaited: tuple[AwaitedTranscript, ...] = ()
    """In the order in which they ended, which is the order in which they are understood."""
    listener_open: bool = False
    hearing: Hearing = Hearing.STOPPED
    partials: bool = False
    """The recogniser tells words while they are spoken."""
    committing: bool = False
    """A commit is on its way to the ear."""
    muted: bool = False
    """By the client."""
    deaf: bool = False
    """The user's audio is dropped, for whatever reason."""

    turns: int = 0
    """Turn numbers given out."""
    turn: Turn | None = None
    speculation: Speculation | None = None
    speculations_left: int = 0
    """How many replies may still be started ahead in the present pause."""
    speculated: int = 0
    """Replies started ahead, in all."""
    released: int = 0
    """... of which so many became turns."""
    wasted: Waste = Waste()
    """... and the others: in all."""
    waste: Waste = Waste()
    """... and since the client was last told of a turn's latency."""
    settling: tuple[Settling, ...] = ()
    last_spoken: str = attrs.field(default="", repr=False)
    """The text of the turn that was heard last, to tell its echo."""
    spoken_at: float | None = None
    """When the agent was last heard: its echo may come back a moment later."""
    answer_due: bool = False
    """The user said something that no reply has been started for."""
    unanswered: bool = False
    """The user said something that is to be answered when somebody asks for it."""
    wish: Wish | None = None
    """How the answer that is due was asked for."""
    asked: Marks = Marks()
    """The marks of what the user said last, for the reply to it."""

    client_tools: tuple[ToolSpec, ...] = ()
    """What the client can carry out."""
    tool_choice: ToolChoice = "auto"
    detached: tuple[ToolUse, ...] = ()
    """Tools that go on in the background."""
    reports: tuple[ToolUse, ...] = ()
    """Of these, the ones that were done while a turn was live: they enter the history after it."""
    report_due: bool = False
    """A detached tool is done of which the agent is to speak by itself."""

    history: tuple[HistoryItem, ...] = ()
    items: int = 0
    """Names given to items that are neither utterances nor turns."""
    says: tuple[Saying, ...] = attrs.field(default=(), repr=False)
    """Waiting for the floor."""
    apology_due: bool = False
    """An answer could not be given, and the user has not been told aloud."""
    quiet_since: float = 0.0
    """When it became the user's turn and the user began to say nothing; sounds without words do not count."""
    prompts: int = 0
    """Idle prompts that were spoken since the user said something."""

    failures: Failures = Failures()
    stale: int = 0
    """Late facts dropped."""
    deadlines: Deadlines = attrs.field()

    @deadlines.default
    def _age(self) -> Deadlines:
        return Deadlines(lifetime=self.settings.session_max_s)

    @property
    def may_prompt(self) -> bool:
        """When the user has been silent for ``idle_prompt_s``, the agent speaks first."""
        if self.settings.idle_answer:
            return self.prompts == 0 and any(isinstance(item, AgentSaid) for item in self.history)
        return self.prompts < len(self.settings.idle_prompts)
