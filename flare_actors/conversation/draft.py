"""A conversation in the making: the smallest moves, and the account of what was heard.

A ``Draft`` lives within one call of ``step``; outside of it there are only values. What is here decides nothing about
whose turn it is: that is ``moves``, which stands on it.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from flare_actors.conversation.commands import Command, Notify, StartStt
from flare_actors.conversation.history import (
    AgentSaid,
    UserSaid,
    amend,
    heard_text,
    remember,
    report,
    without_unheard,
    write_calls,
    write_down,
)
from flare_actors.conversation.model import Conversation, Hearing, Marks, Settling, Turn
from flare_actors.conversation.notices import ErrorRaised, Notice, StateChanged, TurnEnded
from flare_actors.conversation.states import Floor, Input, Output, Reason, State, TurnDetection, TurnKind
from flare_actors.conversation.table import check_transition
from flare_actors.conversation.values import change_own, check_fields, evolve

__all__ = ["SAME_S", "BareDraft"]

_FIELDS: Final = len(attrs.fields(Conversation))

SAME_S = 0.001
"""Times of one turn's audio that differ by less are the same: clients and clocks count samples at different rates."""


class BareDraft:
    """One step in the making, without the moves that take or give the floor."""

    __slots__ = ("_before", "at", "c", "commands", "request_id")

    def __init__(self, conversation: Conversation, at: float, request_id: str | None = None) -> None:
        self._before = conversation
        self.c = conversation
        """As it stands. The first change makes it a copy, which is this draft's own until the step is over."""
        self.at = at
        self.request_id = request_id
        self.commands: list[Command] = []

    def set(self, **changes: Any) -> None:  # noqa: ANN401 - fields of every type; mypy checks none, the tests all
        """Change fields of the conversation."""
        if self.c is self._before:
            self.c = evolve(self.c, **changes)
            return
        fields = self.c.__dict__  # What ``change_own`` does; this is called twenty times in a step.
        fields.update(changes)
        if len(fields) != _FIELDS:
            check_fields(self.c)

    def wait(self, **deadlines: float | None) -> None:
        """Set (seconds since the session's start) or clear (None) deadlines."""
        if self.c.deadlines is self._before.deadlines:
            self.set(deadlines=evolve(self.c.deadlines, **deadlines))
        else:
            change_own(self.c.deadlines, **deadlines)

    def emit(self, *commands: Command) -> None:
        """Have these done."""
        self.commands.extend(commands)

    def tell(self, notice: Notice) -> None:
        """Have the client told."""
        self.commands.append(Notify(notice=notice))

    def complain(
        self,
        code: str,
        message: str,
        *,
        recoverable: bool = True,
        turn: int | None = None,
        field: str | None = None,
    ) -> None:
        """Tell the client what is wrong; changes nothing."""
        self.tell(
            ErrorRaised(
                code=code,
                message=message,
                recoverable=recoverable,
                turn=turn,
                field=field,
                request_id=self.request_id,
            )
        )

    def drop(self) -> None:
        """A late fact: count it, change nothing else."""
        self.set(stale=self.c.stale + 1)

    def go(self, new: State, reason: Reason | None = None) -> None:
        """Change the state, as the table allows."""
        old = self.c.state
        check_transition(old, new)
        self.set(state=new)
        if old is State.LISTENING:
            self.wait(idle=None)
        if old is State.ERROR:
            self.wait(recovery=None)
        number = self.c.turn.number if self.c.turn is not None else None
        self.tell(StateChanged(old=old, new=new, at=self.at, turn=number, reason=reason))

    # --- Hearing ---------------------------------------------------------------------------------------------------------

    def start_stt(self, *, retry: bool = False) -> None:
        """Ask for a recogniser, with all of the session's settings, every time; where the user types only, for none."""
        settings = self.c.settings
        if settings.input is Input.TEXT:
            return  # Nothing will be heard.
        if self.c.hearing is not Hearing.READY:
            self.set(hearing=Hearing.STARTING)
        self.wait(stt_retry=None)
        self.emit(StartStt(locale=settings.locale, mode=settings.stt_mode, endpoint_s=settings.endpoint_s, retry=retry))

    def forget_hearing(self) -> None:
        """No utterance is in progress and none is awaited."""
        self.set(
            floor=Floor.SILENT,
            confirmed=False,
            worded=False,
            overheard=False,
            unheard=False,
            paused=False,
            partial="",
            awaited=(),
            committing=False,
        )
        self.wait(utterance=None, transcript=None, commit=None)

    def owe(self, marks: Marks, *, committed: bool = True) -> None:
        """The user has said something: it is answered, or waits until somebody asks for the answer."""
        settings = self.c.settings
        due = settings.auto_answer and (committed or settings.turn_detection is TurnDetection.AUTOMATIC)
        self.set(prompts=0, asked=marks, answer_due=self.c.answer_due or due, unanswered=not due)

    # --- Silence ---------------------------------------------------------------------------------------------------------

    def watch_idle(self) -> None:
        """Wait for the user's silence to become too long, if nothing is under way; in LISTENING only."""
        settings = self.c.settings
        if self.c.floor is Floor.SPEAKING or self.c.awaited or not self.c.attached:
            return  # Who has begun to speak, or has gone, is not waited for already.
        if self.c.may_prompt:
            wait_s = settings.idle_prompt_s * settings.idle_prompt_growth**self.c.prompts
            self.wait(idle=max(self.at, self.c.quiet_since + wait_s))
        else:
            end_s = settings.idle_end_s
            self.wait(idle=None if end_s is None else max(self.at, self.c.quiet_since + end_s))

    def watch_session(self) -> None:
        """Start to count the time without a conversation anew."""
        idle = self.c.settings.session_idle_s
        self.wait(session_idle=None if idle is None else self.at + idle)

    # --- What was heard --------------------------------------------------------------------------------------------------

    def settle(self, settling: Settling, played_s: float) -> None:
        """Write down what was heard of a cancelled turn; the client is told once, a later report only amends."""
        written = "".join(phrase.text for phrase in settling.phrases)
        heard = written.strip() if settling.delivered else heard_text(settling.phrases, played_s)
        self.set(
            settling=tuple(
                evolve(s, settled=True, played_s=played_s) if s.number == settling.number else s
                for s in self.c.settling
            ),
            history=amend(
                self.c.history, AgentSaid(turn=settling.number, text=heard, interrupted=True, audio_s=played_s)
            ),
        )
        if not settling.settled:
            if played_s > 0:
                self.set(last_spoken=written)
            self.tell(TurnEnded(turn=settling.number, reason=settling.reason, heard=heard))

    def settle_all(self) -> None:
        """Do without the speaker's word: what the client has reported so far must do."""
        for settling in self.c.settling:
            self.settle(settling, settling.played_s)

    def credit(self, turn: Turn) -> None:
        """What the user got of a turn proves that its stages work again."""
        failures = self.c.failures
        if turn.playing and not turn.tts_failed:
            failures = evolve(failures, tts=0)
        got = turn.playing or (turn.output is Output.TEXT and turn.phrases)
        if got and turn.kind is TurnKind.RESPONSE and not turn.llm_failed:
            failures = evolve(failures, llm=0)
        self.set(failures=failures)

    # --- History ---------------------------------------------------------------------------------------------------------

    def record_user(self, text: str, item_id: str | None = None) -> None:
        """The user's words come after what the agent is saying meanwhile, of which the end is not known yet."""
        self.hold_place()
        item = UserSaid(id=item_id or self.new_item_id(), text=text)
        self.set(history=remember(self.c.history, item, self.c.settings.limits.history_items))

    def hold_place(self) -> None:
        """What the agent is saying has its place among the items from now on."""
        turn = self.c.turn
        if turn is not None and not turn.aside:
            self.record_agent(AgentSaid(turn=turn.number, text=""))

    def new_item_id(self) -> str:
        """A name for an item that is neither an utterance nor a turn."""
        self.set(items=self.c.items + 1)
        return f"item_{self.c.items}"

    def record_agent(self, item: AgentSaid) -> None:
        """Write down what the agent said, at the place that is held for it, else at the end."""
        self.set(history=write_down(self.c.history, item, self.c.settings.limits.history_items))

    def record_calls(self, turn: Turn, *, interrupted: bool) -> None:
        """Write down which tools were called for a turn, before its words."""
        if turn.calls:
            limit = self.c.settings.limits.history_items
            self.set(history=write_calls(self.c.history, turn.number, turn.calls, limit, interrupted=interrupted))

    def record_reports(self) -> None:
        """Write down the results of detached tools that came during a turn, after it."""
        for use in self.c.reports:
            self.set(history=report(self.c.history, self.c.turns, use, self.c.settings.limits.history_items))
        self.set(reports=())

    def forget_unheard(self) -> None:
        """Give up the places of turns of which nothing was heard, and nothing will be known any more."""
        self.set(history=without_unheard(self.c.history, {settling.number for settling in self.c.settling}))
