"""``step``: one event in, a new conversation and what is to be done out. Pure and total.

    conversation, commands = step(conversation, event)

It never raises on what clients and vendors do; only on our own misuse (time running backwards is tolerated, an event of
an unknown class is not). ``fold`` rebuilds a conversation from its events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flare_actors.conversation import events as ev
from flare_actors.conversation import on_client, on_hearing, on_items, on_reply, on_settings, on_tools
from flare_actors.conversation.commands import Command
from flare_actors.conversation.draft import SAME_S
from flare_actors.conversation.interruption import decide, resume_if_unopposed
from flare_actors.conversation.model import Conversation, Marks, Wish
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.requests import Request
from flare_actors.conversation.speculation import withdraw_if_unwanted
from flare_actors.conversation.states import Reason, State, TurnKind, Wait

__all__ = ["fold", "step"]


def step(conversation: Conversation, event: ev.Event) -> tuple[Conversation, tuple[Command, ...]]:
    """Decide what ``event`` means for ``conversation``.

    Raises:
        TypeError: ``event`` is of no class that the core knows.
    """
    handler = _HANDLERS.get(type(event))
    if handler is None:
        raise TypeError(f"not an event of a conversation: {type(event).__name__}")
    draft = Draft(conversation, event.at, event.request_id if isinstance(event, Request) else None)
    if conversation.state is State.ENDED:
        draft.drop()  # ENDED is final.
    else:
        handler(draft, event)
        withdraw_if_unwanted(draft)
        resume_if_unopposed(draft)
        if draft.c.state is not State.ENDED:
            on_settings.mute_as_set(draft)
    return draft.c, tuple(draft.commands)


def fold(conversation: Conversation, events: Iterable[ev.Event]) -> Conversation:
    """The conversation after ``events``."""
    for event in events:
        conversation, _ = step(conversation, event)
    return conversation


def _on_deadline(d: Draft, e: ev.DeadlinePassed) -> None:
    """A deadline that was moved or cleared in the meantime has not passed."""
    due: float | None = getattr(d.c.deadlines, e.wait.value)
    if due is None or due > e.at:
        d.drop()
        return
    d.wait(**{e.wait.value: None})
    _DEADLINES[e.wait](d)


def _grace_over(d: Draft) -> None:
    if d.c.state is not State.IDLE:
        d.end_conversation(Reason.CLIENT_DISCONNECTED)
    d.end(Reason.CLIENT_DISCONNECTED)


def _settle_anyway(d: Draft) -> None:
    """The speaker did not tell what was played: what is known so far must do."""
    d.settle_all()
    on_reply.start_if_waiting(d)


def _playback_over(d: Draft) -> None:
    """Nobody told the end in time: the turn is over, and nothing of it may be heard later.

    Without a word of the client's the pacing clock counts. A client that was behind when it fell silent, and a link that
    did not take the audio, have not played all of it: then the turn is cut there, and settles.
    """
    turn = d.c.turn
    assert turn is not None
    assert turn.generated_s is not None
    if turn.paused_at is not None:
        d.wait(playback=d.at + d.c.settings.timeouts.playback_report_s)  # It stands still, and nobody is late.
        return
    if turn.reported_at is None and turn.paced_s >= turn.generated_s - SAME_S:
        d.finish_turn()
        return
    d.interrupt(Reason.ERROR_RECOVERY)
    d.listen(Reason.ERROR_RECOVERY)


def _user_idle(d: Draft) -> None:
    if not d.c.may_prompt:
        d.end_conversation(Reason.IDLE)
        return
    d.set(prompts=d.c.prompts + 1)
    if d.c.settings.idle_answer:
        d.set(wish=Wish(idle=True), asked=Marks(asked=d.at))
        d.reply(TurnKind.RESPONSE)
    else:
        d.reply(TurnKind.IDLE_PROMPT, d.c.settings.idle_prompts[d.c.prompts - 1])


_DEADLINES: Final[Mapping[Wait, Callable[[Draft], None]]] = {
    Wait.SESSION_IDLE: lambda d: d.end(Reason.IDLE),
    Wait.LIFETIME: lambda d: d.end(Reason.TIME_LIMIT),
    Wait.GRACE: _grace_over,
    Wait.DRAIN: lambda d: d.end(Reason.SHUTDOWN),
    Wait.INITIALIZE: on_hearing.lose_listener,
    Wait.SETTLE: _settle_anyway,
    Wait.UTTERANCE: on_hearing.give_up_on_utterance,
    Wait.COMMIT: on_client.give_up_on_commit,
    Wait.INTERRUPTION: decide,
    Wait.TRANSCRIPT: on_hearing.give_up_on_transcript,
    Wait.GENERATION: on_reply.give_up_on_turn,
    Wait.PLAYBACK: _playback_over,
    Wait.STT_RETRY: lambda d: d.start_stt(retry=True),
    Wait.RECOVERY: lambda d: d.recover(),
    Wait.IDLE: _user_idle,
}

_HANDLERS: Final[Mapping[type[Any], Callable[[Draft, Any], None]]] = {
    ev.ConversationStartRequested: on_client.on_conversation_start,
    ev.ConversationEndRequested: on_client.on_conversation_end,
    ev.SessionEndRequested: on_client.on_session_end,
    ev.TextReceived: on_client.on_text,
    ev.InterruptRequested: on_client.on_interrupt,
    ev.CommitRequested: on_client.on_commit,
    ev.InputClearRequested: on_client.on_input_clear,
    ev.ResponseRequested: on_client.on_response_requested,
    ev.SettingsChanged: on_settings.on_settings_changed,
    ev.MuteRequested: on_client.on_mute,
    ev.SayRequested: on_client.on_say,
    ev.PlaybackProgressed: on_client.on_playback_progress,
    ev.PlaybackCompleted: on_client.on_playback_completed,
    ev.ItemInsertRequested: on_items.on_insert,
    ev.ItemDeleteRequested: on_items.on_delete,
    ev.ItemTruncateRequested: on_items.on_truncate,
    ev.ItemReadRequested: on_items.on_read,
    ev.ClientAttached: on_client.on_attached,
    ev.ClientDetached: on_client.on_detached,
    ev.TransportFailed: on_client.on_transport_failed,
    ev.ShutdownRequested: on_client.on_shutdown,
    ev.SessionOverloaded: on_client.on_overloaded,
    ev.FailureRaised: on_client.on_failure,
    ev.DeadlinePassed: _on_deadline,
    ev.ListenerOpened: on_hearing.on_listener_opened,
    ev.ListenerFailed: on_hearing.on_listener_failed,
    ev.SpeechStarted: on_hearing.on_speech_started,
    ev.SpeechConfirmed: on_hearing.on_speech_confirmed,
    ev.SpeechPaused: on_hearing.on_speech_paused,
    ev.SpeechResumed: on_hearing.on_speech_resumed,
    ev.TurnEndEstimated: on_hearing.on_turn_end_estimated,
    ev.SpeechStopped: on_hearing.on_speech_stopped,
    ev.NothingCommitted: on_client.on_nothing_committed,
    ev.RecognizerReady: on_hearing.on_recognizer_ready,
    ev.RecognizerFailed: on_hearing.on_recognizer_failed,
    ev.TranscriptUpdated: on_hearing.on_transcript_updated,
    ev.TranscriptFinished: on_hearing.on_transcript_finished,
    ev.PhraseReady: on_reply.on_phrase_ready,
    ev.PhraseSpoken: on_reply.on_phrase_spoken,
    ev.WordsSpoken: on_reply.on_words_spoken,
    ev.AudioStarted: on_reply.on_audio_started,
    ev.GenerationFinished: on_reply.on_generation_finished,
    ev.UsageReported: on_reply.on_usage_reported,
    ev.LanguageModelFailed: on_reply.on_llm_failed,
    ev.SynthesizerFailed: on_reply.on_tts_failed,
    ev.ToolsOffered: on_tools.on_tools_offered,
    ev.ToolResultReceived: on_tools.on_tool_result,
    ev.ToolStarted: on_tools.on_tool_started,
    ev.ToolFinished: on_tools.on_tool_finished,
    ev.PlaybackFinished: on_reply.on_playback_finished,
    ev.PlaybackStopped: on_reply.on_playback_stopped,
}
