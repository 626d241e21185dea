"""Which facts come too late: said of the conversation as it stood, not of how ``step`` goes about it."""

from __future__ import annotations

from flare_actors.conversation import events as ev
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.states import Floor

__all__ = ["is_late"]


def is_late(c: Conversation, event: ev.Event) -> bool:
    """Is that a fact of a turn, or of an utterance, that is over (or never was)?"""
    match event:
        case ev.PhraseReady(turn=turn):
            return not (_is_open(c, turn) or _is_read_on(c, turn))
        case ev.ToolFinished(turn=turn, call=call):
            return not (_is_open(c, turn) or any(use.call == call for use in c.detached))
        case (
            ev.PhraseSpoken(turn=turn)
            | ev.WordsSpoken(turn=turn)
            | ev.AudioStarted(turn=turn)
            | ev.ToolStarted(turn=turn)
            | ev.GenerationFinished(turn=turn)
            | ev.UsageReported(turn=turn)
            | ev.LanguageModelFailed(turn=turn)
            | ev.SynthesizerFailed(turn=turn)
            | ev.PlaybackFinished(turn=turn)
        ):
            return not _is_open(c, turn)
        case ev.PlaybackStopped(turn=turn):
            return not any(settling.number == turn and not settling.settled for settling in c.settling)
        case ev.SpeechStarted(utterance=utterance):
            return utterance <= c.utterance
        case (
            ev.SpeechConfirmed(utterance=utterance)
            | ev.SpeechPaused(utterance=utterance)
            | ev.SpeechResumed(utterance=utterance)
            | ev.TurnEndEstimated(utterance=utterance)
            | ev.SpeechStopped(utterance=utterance)
        ):
            return not _is_spoken(c, utterance)
        case ev.TranscriptUpdated(utterance=utterance):
            return not (_is_spoken(c, utterance) or _is_awaited(c, utterance))
        case ev.TranscriptFinished(utterance=utterance):
            return not _is_awaited(c, utterance)
        case _:
            return False


def _is_open(c: Conversation, turn: int) -> bool:
    """It is generated now, or ahead."""
    live = c.turn is not None and c.turn.number == turn and not c.turn.waiting
    return live or (c.speculation is not None and c.speculation.turn.number == turn)


def _is_read_on(c: Conversation, turn: int) -> bool:
    """It was cancelled, and its client reads what was written before that."""
    return any(each.number == turn and each.delivered and not each.settled for each in c.settling)


def _is_spoken(c: Conversation, utterance: int) -> bool:
    return c.floor is Floor.SPEAKING and c.utterance == utterance


def _is_awaited(c: Conversation, utterance: int) -> bool:
    return any(awaited.utterance == utterance for awaited in c.awaited)
