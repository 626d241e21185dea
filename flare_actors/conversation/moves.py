"""The moves that handlers are made of: who gets the floor, and how turns, conversations and sessions begin and end.

Every move leaves the conversation consistent (no live turn in LISTENING, no deadline for what is no longer awaited), so
that handlers stay short.
"""

from __future__ import annotations

from typing import Final

import attrs

from flare_actors.conversation.commands import (
    CancelReply,
    CloseListener,
    CloseSession,
    FlushPlayback,
    OpenListener,
    PausePlayback,
    StartReply,
    StopStt,
)
from flare_actors.conversation.draft import BareDraft
from flare_actors.conversation.history import AgentSaid
from flare_actors.conversation.interruption import LAST_WORDS_S, contest
from flare_actors.conversation.model import Deadlines, Hearing, Marks, Saying, Settling, Turn
from flare_actors.conversation.notices import PlaybackCleared, SessionEnded, TurnEnded, TurnStarted
from flare_actors.conversation.speculation import answer_request, release, withdraw
from flare_actors.conversation.states import Floor, Output, Reason, State, TurnKind
from flare_actors.conversation.table import ACTIVE, PREPARING_STATE
from flare_actors.conversation.values import evolve
from flare_actors.errors import Stage

__all__ = ["Draft"]

_NO_DEADLINES: Final = dict.fromkeys(each.name for each in attrs.fields(Deadlines))

_MAX_SETTLING = 8
"""Cancelled turns of which may still be told how much was heard: more barge-ins than that without one request in between
are a client's play, and the oldest keep what is known of them."""


class Draft(BareDraft):
    """One step in the making, with every move that there is."""

    __slots__ = ()

    # --- Listening -------------------------------------------------------------------------------------------------------

    def listen(self, reason: Reason | None = None, *, afresh: bool = True) -> None:
        """The floor is the user's: LISTENING with STT started, or ERROR while the recogniser is down.

        Then whatever waited for the floor gets it: an answer that is due, the end of a draining session, a `say`.

        Args:
            reason: why what went before has stopped.
            afresh: the user's silence is counted from now; False where it only was not broken.
        """
        if self.c.draining and self.c.floor is Floor.SILENT and not self.c.awaited and not self.c.answer_due:
            self.end(Reason.SHUTDOWN)
            return
        if self.c.hearing is Hearing.FAILED:
            # Still down when the turn ends: no more pretending to listen.
            retry_at = self.c.deadlines.stt_retry
            self.go(State.ERROR, Reason.ERROR_RECOVERY)
            self.wait(stt_retry=None, recovery=retry_at if retry_at is not None else self.at)
            return
        if self.c.state is not State.LISTENING:
            self.go(State.LISTENING, reason)
        if self.c.attached:
            self.start_stt(retry=reason is Reason.ERROR_RECOVERY)
        if afresh:
            self.set(quiet_since=self.at)
        self.watch_idle()
        self.use_floor()

    def use_floor(self) -> None:
        """Give the free floor to what waits for it: first an answer that is due, then what is to be said."""
        if self.c.state is not State.LISTENING or not self.c.attached or self.c.awaited or self.c.committing:
            return
        speaking = self.c.floor is Floor.SPEAKING
        # Of who has spoken since the agent was heard, and could not interrupt it, nobody has told for how long.
        if self.c.answer_due and not (speaking and (self.c.confirmed or self.c.overheard)):
            self.reply(TurnKind.RESPONSE)
        elif speaking:
            pass
        elif self.c.apology_due:
            self.reply(TurnKind.APOLOGY, self.c.settings.apology)
        elif self.c.says:
            saying, *rest = self.c.says
            self.set(says=tuple(rest))
            self.reply(TurnKind.SAY, saying.text, saying)
        elif self.c.report_due:
            self.set(asked=Marks(asked=self.at))
            self.reply(TurnKind.RESPONSE)

    # --- Turns -----------------------------------------------------------------------------------------------------------

    def reply(self, kind: TurnKind, text: str | None = None, saying: Saying | None = None) -> None:
        """Open a new turn: ask the model (``RESPONSE``), or have ``text`` spoken."""
        if kind is TurnKind.RESPONSE and release(self):
            return
        withdraw(self, Reason.BARGE_IN)
        if kind is TurnKind.RESPONSE:
            self.set(report_due=False)
        number = self.c.turns + 1
        answers = kind is TurnKind.RESPONSE
        marks = self.c.asked if answers else Marks(asked=self.at)
        wish = self.c.wish if answers else None
        output = self.c.settings.output if wish is None or wish.output is None else wish.output
        waiting = kind is TurnKind.RESPONSE and any(not s.settled for s in self.c.settling)
        turn = Turn(number=number, kind=kind, output=output, wish=wish, saying=saying, waiting=waiting, marks=marks)
        self.set(turns=number, turn=turn)
        if answers:
            self.set(answer_due=False, unanswered=False, wish=None)
        if kind in {TurnKind.RESPONSE, TurnKind.APOLOGY}:
            self.set(apology_due=False)
        self.tell(
            TurnStarted(
                turn=number,
                kind=kind,
                output=output,
                aside=turn.aside,
                idle=wish is not None and wish.idle,
                request_id=wish.request_id if wish is not None else None,
            )
        )
        self.go(State.PROCESSING_SPEECH if kind is TurnKind.RESPONSE else PREPARING_STATE[kind])
        if waiting:
            self.wait(settle=self.at + self.c.settings.timeouts.settle_s)
        else:
            self.start_reply(text)
        contest(self)

    def start_reply(self, text: str | None = None) -> None:
        """Have the live turn generated. What was heard of earlier turns is final from here on."""
        turn = self.c.turn
        assert turn is not None
        settings = self.c.settings
        if text is None:
            self.set(settling=())
            self.forget_unheard()
            # Spoken or not as it was told to begin: the settings may have changed while it waited.
            request = answer_request(self, turn.number, self.c.history, turn.output, wish=turn.wish)
        else:
            request = StartReply(
                turn=turn.number, kind=turn.kind, locale=settings.locale, output=turn.output, text=text
            )
        self.set(turn=evolve(turn, waiting=False))
        self.wait(settle=None, generation=self.at + settings.timeouts.generation_s)
        self.emit(request)
        if turn.paused_at is not None:
            self.emit(PausePlayback(turn=turn.number))

    def generated(self, audio_s: float) -> None:
        """Nothing more comes of the live turn, which has so many seconds of audio: what is left is to play them."""
        turn = self.c.turn
        assert turn is not None
        self.set(turn=evolve(turn, generated_s=audio_s))
        self.wait(generation=None)
        if audio_s <= 0:
            # Nothing to be played: the text was delivered, and that is the end of the turn.
            if not turn.phrases and not turn.calls and not turn.llm_failed:
                self.complain("empty_answer", "the model had nothing to say; please ask again", turn=turn.number)
            self.finish_turn()
            return
        # The speaker tells when it is played; this is for the case that it does not.
        self.wait(playback=self.at + audio_s + self.c.settings.timeouts.playback_report_s)

    def interrupt(self, reason: Reason) -> None:
        """Cancel the live turn wherever it is; what was heard of it settles. The state is the caller's business."""
        withdraw(self, reason)
        turn = self.c.turn
        if turn is None:
            return
        settling = Settling(
            number=turn.number,
            reason=reason,
            phrases=turn.phrases,
            ended_at=self.at if turn.paused_at is None else turn.paused_at,
            delivered=turn.output is Output.TEXT or turn.tts_failed,
            played_s=turn.played_s,
            reported_at=turn.reported_at,
        )
        if len(self.c.settling) == _MAX_SETTLING:
            oldest = self.c.settling[0]
            self.settle(oldest, oldest.played_s)
        self.set(turn=None, settling=(*self.c.settling, settling)[-_MAX_SETTLING:])
        if turn.playing:
            self.set(last_spoken=turn.text, spoken_at=self.at)
        if reason is not Reason.ERROR_RECOVERY:
            self.credit(turn)
        self.wait(generation=None, playback=None, settle=None, interruption=None)
        # The entry holds the place among the items; how much of the text was heard becomes known in a moment.
        self.forget_unheard()
        if not turn.aside:
            self.record_agent(AgentSaid(turn=turn.number, text="", interrupted=True))
        self.record_calls(turn, interrupted=True)
        self.record_reports()
        if turn.waiting:
            self.settle(settling, 0.0)
            return
        # Audio may have left although its AudioStarted is still on the way here: flush and clear in any case.
        cancel, flush = CancelReply(turn=turn.number, reason=reason), FlushPlayback(turn=turn.number)
        if turn.output is Output.AUDIO:
            self.emit(flush, cancel)  # What is heard stops first.
        else:
            self.emit(cancel, flush)  # What was shown of the text is told before the word that this is all.
        self.tell(PlaybackCleared(turn=turn.number, reason=reason))

    def take_back(self, reason: Reason) -> None:
        """Cancel the live turn; an answer of which nothing was heard is still owed."""
        turn = self.c.turn
        unasked = turn is not None and turn.wish is not None and turn.wish.idle
        if turn is not None and turn.kind is TurnKind.RESPONSE and not turn.playing and not unasked:
            due = self.c.settings.auto_answer or turn.wish is not None
            self.set(answer_due=due, unanswered=not due, wish=turn.wish, asked=Marks(asked=self.at))
        self.interrupt(reason)

    def finish_turn(self) -> None:
        """The turn was said to its end (or delivered as text): it enters the history, and the floor is the user's."""
        turn = self.c.turn
        assert turn is not None
        assert turn.generated_s is not None
        self.credit(turn)
        self.set(turn=None, failures=evolve(self.c.failures, vad=0, unknown=0))
        if turn.playing:
            self.set(last_spoken=turn.text, spoken_at=self.at)
        self.wait(generation=None, playback=None, interruption=None)
        nod = turn.nodded
        if nod is not None:
            said_at = max(at for at in (nod.asked, turn.resumed_at) if at is not None)
            if self.at - said_at <= LAST_WORDS_S:
                self.owe(nod)
        self.record_calls(turn, interrupted=False)
        text = turn.text.strip()
        if text and not turn.aside:
            self.record_agent(AgentSaid(turn=turn.number, text=text, audio_s=turn.generated_s))
        self.record_reports()
        self.tell(TurnEnded(turn=turn.number, reason=None, heard=text, limited=turn.limited))
        self.listen()

    # --- Failures and ends -----------------------------------------------------------------------------------------------

    def count_failure(self, stage: Stage | None, *, critical: bool) -> bool:
        """Count one more failure of a stage in a row; end the session if that was one too many. True: it ended."""
        name = stage or "unknown"
        count: int = getattr(self.c.failures, name) + 1
        self.set(failures=evolve(self.c.failures, **{name: count}))
        if not critical and count < self.c.settings.limits.same_failures:
            return False
        what = {"vad": "hearing", "stt": "speech recognition", "llm": "the language model", "tts": "speech synthesis"}
        subject = what.get(name, "the agent")
        self.complain(
            f"{name}_failed",
            f"{subject} cannot be used" if critical else f"{subject} failed {count} times in a row",
            recoverable=False,
        )
        self.end(Reason.CRITICAL_ERROR)
        return True

    def fail(self, after_s: float, *, deaf: bool = True) -> None:
        """Into ERROR, and out of it again after ``after_s`` seconds; unless ``deaf``, the ear goes on telling of the user."""
        self.interrupt(Reason.ERROR_RECOVERY)
        if deaf:
            self.forget_hearing()
        if self.c.state is not State.ERROR:
            self.go(State.ERROR, Reason.ERROR_RECOVERY)
        # A longer back-off that is under way is not cut short.
        due = self.c.deadlines
        back_offs = (self.at + after_s, due.recovery, due.stt_retry)
        self.wait(recovery=max(at for at in back_offs if at is not None), stt_retry=None)

    def recover(self) -> None:
        """Out of ERROR: open what is closed, start STT again, and listen."""
        if self.c.hearing is Hearing.FAILED:
            self.set(hearing=Hearing.STOPPED)
        if not self.c.listener_open and self.c.deadlines.initialize is None:
            self.emit(OpenListener(settings=self.c.settings))
            self.wait(initialize=self.at + self.c.settings.timeouts.opening_s)
        self.listen(Reason.ERROR_RECOVERY)

    def stop_hearing(self, reason: Reason) -> None:
        """Close ear and recogniser."""
        self.forget_hearing()
        if self.c.state in ACTIVE:
            self.emit(CloseListener(reason=reason))
        self.set(listener_open=False, hearing=Hearing.STOPPED)
        self.wait(stt_retry=None, initialize=None)

    def pause_stt(self, reason: Reason) -> None:
        """Nobody is there to be heard: close the recogniser, keep the ear."""
        self.forget_hearing()
        self.emit(StopStt(reason=reason))
        self.set(hearing=Hearing.STOPPED)
        self.wait(stt_retry=None)

    def owe_nothing(self) -> None:
        """Whatever the agent was going to say is not wanted any more."""
        self.set(
            says=(),
            answer_due=False,
            unanswered=False,
            wish=None,
            apology_due=False,
            report_due=False,
            detached=(),
        )

    def end_conversation(self, reason: Reason) -> None:
        """To IDLE: the turn is cancelled, hearing stopped, a new conversation can start."""
        self.interrupt(reason)
        self.stop_hearing(reason)
        self.owe_nothing()
        self.set(prompts=0)
        self.go(State.IDLE, reason)
        if self.c.draining:
            self.end(Reason.SHUTDOWN)
        else:
            self.watch_session()

    def end(self, reason: Reason) -> None:
        """To ENDED, from any state."""
        if self.c.state is State.ENDED:
            return
        self.interrupt(reason)
        self.stop_hearing(reason)
        self.settle_all()
        self.owe_nothing()
        self.set(settling=(), ended=reason)
        self.go(State.ENDED, reason)
        self.wait(**_NO_DEADLINES)
        self.tell(SessionEnded(reason=reason))
        self.emit(CloseSession(reason=reason))
