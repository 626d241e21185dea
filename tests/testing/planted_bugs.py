"""Bugs to be planted, one at a time, in the session's own code: each must be found by the simulator.

Each is what a tired engineer could write. A name, a sentence, and what it replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from flare_actors import guard
from flare_actors.actors import llm, reply, speaker
from flare_actors.actors.channels import Inbox, Outbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.orchestrator import Orchestrator
from flare_actors.actors.recognizer import RecognizerActor
from flare_actors.actors.replies import Replies
from flare_actors.actors.tools import DetachedTools
from flare_actors.conversation import draft, interruption, moves, on_client, on_hearing, on_reply, speculation
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import CancelReply, Command, FlushPlayback
from flare_actors.conversation.notices import TurnEnded
from flare_actors.conversation.states import Reason, State
from flare_actors.conversation.step import _HANDLERS
from flare_actors.conversation.table import ON_SPEECH, OnSpeech

Plant = Callable[[pytest.MonkeyPatch], None]


def skipped_flush(patch: pytest.MonkeyPatch) -> None:
    """A barge-in stops nothing: the speaker tells how much was played, and plays on."""

    def flush(self: speaker.Speaker, turn: int) -> None:
        self._inbox.put(ev.PlaybackStopped(turn=turn, played_s=self._played_s()))

    patch.setattr(speaker.Speaker, "flush", flush)


def stale_frames(patch: pytest.MonkeyPatch) -> None:
    """The outbox keeps the audio of a flushed turn."""
    patch.setattr(Outbox, "flush", lambda self, turn: self.resume(turn))


def lost_resume(patch: pytest.MonkeyPatch) -> None:
    """Who stood still because of a cough stands still for ever."""
    patch.setattr(speaker.Speaker, "resume", lambda self, turn: None)


def audio_while_paused(patch: pytest.MonkeyPatch) -> None:
    """A paused turn sends what is synthesised meanwhile."""
    patch.setattr(speaker.Speaker, "pause", lambda self, turn: None)


def unbounded_pause(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the end of a pause."""
    wait = draft.BareDraft.wait

    def forgetful(self: draft.BareDraft, **deadlines: float | None) -> None:
        deadlines.pop("interruption", None)
        wait(self, **deadlines)

    patch.setattr(draft.BareDraft, "wait", forgetful)


def lost_cancel(patch: pytest.MonkeyPatch) -> None:
    """A cancelled reply is flushed, and goes on generating."""
    patch.setattr(Replies, "cancel", lambda self, turn, reason: None)


def leaked_task(patch: pytest.MonkeyPatch) -> None:
    """Each reply starts a task that nobody owns."""
    run = reply.Reply.run

    async def leaky(self: reply.Reply) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep, 1e6)
        await run(self)

    patch.setattr(reply.Reply, "run", leaky)


def unarmed_deadline(patch: pytest.MonkeyPatch) -> None:
    """The backstop of a turn is never set."""
    wait = draft.BareDraft.wait

    def forgetful(self: draft.BareDraft, **deadlines: float | None) -> None:
        deadlines.pop("generation", None)
        wait(self, **deadlines)

    patch.setattr(draft.BareDraft, "wait", forgetful)


def _drop(patch: pytest.MonkeyPatch, kind: type[ev.Event], *, every: int = 1) -> None:  # type: ignore[valid-type] # a union's members
    put, count = Inbox.put, [0]

    def lossy(self: Inbox, event: Any) -> None:
        if isinstance(event, kind):
            count[0] += 1
            if count[0] % every == 0:
                return
        put(self, event)

    patch.setattr(Inbox, "put", lossy)


def lost_end_of_generation(patch: pytest.MonkeyPatch) -> None:
    """Now and then nobody hears that a reply was all generated."""
    _drop(patch, ev.GenerationFinished, every=5)


def lost_end_of_playback(patch: pytest.MonkeyPatch) -> None:
    """Now and then the pacing clock's word is lost."""
    _drop(patch, ev.PlaybackFinished, every=5)


def swallowed_disconnect(patch: pytest.MonkeyPatch) -> None:
    """The session is not told that its client has gone."""
    _drop(patch, ev.ClientDetached)


def lost_transcript(patch: pytest.MonkeyPatch) -> None:
    """Now and then a final transcript never arrives."""
    _drop(patch, ev.TranscriptFinished, every=7)


def double_end(patch: pytest.MonkeyPatch) -> None:
    """The client is told twice that a turn has ended."""
    put = Outbox.put

    def stutter(self: Outbox, message: Any) -> None:
        put(self, message)
        if isinstance(message, TurnEnded):
            put(self, message)

    patch.setattr(Outbox, "put", stutter)


def unheard_history(patch: pytest.MonkeyPatch) -> None:
    """All that was written enters the history, heard or not."""
    patch.setattr(draft, "heard_text", lambda phrases, played_s: "".join(p.text for p in phrases).strip())


def no_stage_timeout(patch: pytest.MonkeyPatch) -> None:
    """A provider that hangs is waited for without end."""
    patch.setattr(guard.Patience, "until", lambda self, seconds, what: None)
    patch.setattr(guard.Patience, "extend", lambda self: None)


def two_replies(patch: pytest.MonkeyPatch) -> None:
    """The turn before is flushed and not cancelled when the next one starts."""
    emit = draft.BareDraft.emit

    def gentle(self: draft.BareDraft, *commands: Command) -> None:
        emit(self, *(command for command in commands if not isinstance(command, CancelReply)))

    patch.setattr(draft.BareDraft, "emit", gentle)


def cancel_without_flush(patch: pytest.MonkeyPatch) -> None:
    """What was generated of a cancelled turn is played to its end."""
    emit = draft.BareDraft.emit

    def loud(self: draft.BareDraft, *commands: Command) -> None:
        emit(self, *(command for command in commands if not isinstance(command, FlushPlayback)))

    patch.setattr(draft.BareDraft, "emit", loud)


def stale_accepted(patch: pytest.MonkeyPatch) -> None:
    """Facts of a turn that is over change the one that lives."""

    def live(d: draft.BareDraft, turn: int) -> Any:
        del turn
        return d.c.turn

    patch.setattr(on_reply, "live", live)


def kept_speculation(patch: pytest.MonkeyPatch) -> None:
    """A reply begun ahead is not withdrawn when the user goes on."""
    patch.setattr(speculation, "withdraw", lambda d, reason: None)


def held_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A released reply is not let out."""
    patch.setattr(speaker.Speaker, "release", lambda self, turn: None)


def audio_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """The pacing clock says that a turn was played while most of it waits to be sent."""
    put_ = speaker.Speaker.finish

    def hasty(self: speaker.Speaker, turn: int) -> float:
        seconds = put_(self, turn)
        if seconds:
            self._inbox.put(ev.PlaybackFinished(turn=turn, played_s=seconds))
        return seconds

    patch.setattr(speaker.Speaker, "finish", hasty)


def deaf_recognizer(patch: pytest.MonkeyPatch) -> None:
    """Every fifth utterance is taken and never given to the recogniser."""
    begin, count = RecognizerActor.begin, [0]

    def lazy(self: RecognizerActor, feed: Any) -> bool:
        count[0] += 1
        return True if count[0] % 5 == 0 and self._wanted is not None else begin(self, feed)

    patch.setattr(RecognizerActor, "begin", lazy)


def untold_end(patch: pytest.MonkeyPatch) -> None:
    """A turn that is interrupted ends without a word."""
    tell = draft.BareDraft.tell

    def silent(self: draft.BareDraft, notice: Any) -> None:
        if not (isinstance(notice, TurnEnded) and notice.reason is not None):
            tell(self, notice)

    patch.setattr(draft.BareDraft, "tell", silent)


def unbounded_history(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever forgotten."""
    patch.setattr(draft, "remember", lambda history, item, limit: (*history, item))
    patch.setattr(draft, "write_down", lambda history, item, limit: (*history, item))


def tool_without_an_owner(patch: pytest.MonkeyPatch) -> None:
    """A tool in the background belongs to nobody, and outlives its session."""

    def start(self: DetachedTools, turn: int, call: str, work: object) -> None:
        self.running += 1
        trio.lowlevel.spawn_system_task(self._run, turn, call, work)

    patch.setattr(DetachedTools, "start", start)


def late_tool(patch: pytest.MonkeyPatch) -> None:
    """What a tool gave is told although its turn was cancelled while it ran."""

    async def carry_out(reply: reply.Reply, calls: object, tools: object, *, step: int) -> object:
        with trio.CancelScope(shield=True):
            outcome = await tools_of_turns(reply, calls, tools, step=step)
        reply._inbox.put(ev.ToolFinished(turn=reply.turn, call="t0001c001", output="late"))
        return outcome

    tools_of_turns = llm.carry_out
    patch.setattr(llm, "carry_out", carry_out)


def interrupted_all_the_same(patch: pytest.MonkeyPatch) -> None:
    """What may not be interrupted gives way to whoever speaks."""

    def always(d: draft.BareDraft) -> bool:
        return ON_SPEECH[d.c.state] is not OnSpeech.IGNORE

    patch.setattr(interruption, "may_take_floor", always)
    patch.setattr(on_hearing, "may_take_floor", always)


def skipped_state(patch: pytest.MonkeyPatch) -> None:
    """An answer is heard that was never prepared, and nobody holds it against the table."""
    go = draft.BareDraft.go

    def hasty(self: draft.BareDraft, new: State, reason: Reason | None = None) -> None:
        if new is not State.PREPARING_RESPONSE:
            go(self, new, reason)

    patch.setattr(draft.BareDraft, "go", hasty)
    patch.setattr(draft, "check_transition", lambda old, new: None)


def ended_and_waiting(patch: pytest.MonkeyPatch) -> None:
    """A session that has ended goes on waiting for what it waited for."""
    wait = draft.BareDraft.wait

    def keeping(self: draft.BareDraft, **deadlines: float | None) -> None:
        if self.c.state is not State.ENDED:
            wait(self, **deadlines)

    patch.setattr(draft.BareDraft, "wait", keeping)


def unjournalled_change(patch: pytest.MonkeyPatch) -> None:
    """The orchestrator changes the conversation by itself, of which no event tells."""
    step = Orchestrator._step

    def meddling(self: Orchestrator, event: ev.Event) -> None:
        step(self, event)
        self.conversation = attrs.evolve(self.conversation, prompts=self.conversation.prompts + 1)

    patch.setattr(Orchestrator, "_step", meddling)


def ignored_commit(patch: pytest.MonkeyPatch) -> None:
    """The button is let go, and the ear waits for a silence that nobody sends."""
    patch.setattr(Ear, "commit", lambda self: None)


def heard_while_muted(patch: pytest.MonkeyPatch) -> None:
    """Mute is drawn on the page, and audio is taken as before."""
    patch.setattr(Ear, "mute", lambda self, muted: None)


def polite_stop(patch: pytest.MonkeyPatch) -> None:
    """The stop button leaves alone what the user's words may not interrupt, of which the sound has stopped already."""
    stop = on_client.on_interrupt

    def polite(d: moves.Draft, e: ev.InterruptRequested) -> None:
        if d.c.turn is None or d.c.turn.interruptible:
            stop(d, e)

    patch.setitem(_HANDLERS, ev.InterruptRequested, polite)  # type: ignore[arg-type] # what step looks handlers up in


PLANTS: tuple[Plant, ...] = (
    skipped_flush,
    stale_frames,
    lost_resume,
    audio_while_paused,
    unbounded_pause,
    lost_cancel,
    leaked_task,
    unarmed_deadline,
    lost_end_of_generation,
    lost_end_of_playback,
    swallowed_disconnect,
    lost_transcript,
    double_end,
    unheard_history,
    no_stage_timeout,
    two_replies,
    cancel_without_flush,
    stale_accepted,
    kept_speculation,
    held_for_ever,
    audio_after_the_end,
    deaf_recognizer,
    untold_end,
    unbounded_history,
    tool_without_an_owner,
    late_tool,
    interrupted_all_the_same,
    skipped_state,
    ended_and_waiting,
    unjournalled_change,
    ignored_commit,
    heard_while_muted,
    polite_stop,
)
