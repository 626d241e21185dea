"""The ears of ``talk``: takes what a session sends, notes when it came, and models a loudspeaker that plays it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import attrs

from flare_actors.audio import BYTES_PER_SAMPLE, bytes_to_seconds
from flare_actors.conversation.notices import (
    ErrorRaised,
    NothingHeard,
    Notice,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    ResponseTextDelta,
    ResponseTextDone,
    SessionEnded,
    StateChanged,
    TranscriptReceived,
    TurnEnded,
    TurnMetrics,
    TurnStarted,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.states import Reason, State, TurnKind
from flare_actors.ports import AudioOut, ServerMessage
from flare_actors.talk.measure import WINDOW_S, first_audible
from flare_actors.talk.report import Latency, TurnReport

__all__ = ["Listener"]

_OVER = (State.LISTENING, State.IDLE, State.ENDED)
_NO_SILENCE_S: Final = 2.5 * WINDOW_S
"""No endpoint comes so soon behind speech: then the silence that the session heard is, by its level, none."""


@attrs.define(kw_only=True)
class _Turn:
    turn: int
    kind: TurnKind
    transcripts: list[str] = attrs.Factory(list)
    speech_ended: float | None = None
    """By the recording's level."""
    speech_stopped: float | None = None
    """By the session's word."""
    understood: float | None = None
    text: str = ""
    heard: str | None = None
    stopped: Reason | None = None
    metrics: TurnMetrics | None = None
    pcm: bytearray = attrs.Factory(bytearray)
    started: float | None = None
    """When the loudspeaker began to play it."""
    playhead: float = 0.0
    """When it will have played all that it has."""
    starts: list[tuple[float, int]] = attrs.Factory(list)
    """When the loudspeaker plays (or played) the bytes from this index on."""
    audible: float | None = None
    paused_at: float | None = None
    """The loudspeaker stands still since then."""


@final
class Listener:
    """One client's view of a session.

    Args:
        sample_rate: Hz of the audio that comes.
        now: the clock to note times by, in seconds.
        speech_ended: called when the session says that the user has finished; gives the time at which, by the
            recording's level, the user had. (Later is too late: more of the recording may be on its way by then.)
        watch: called with every notice.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        now: Callable[[], float],
        speech_ended: Callable[[], float | None],
        watch: Callable[[Notice], None],
    ) -> None:
        self._sample_rate = sample_rate
        self._now = now
        self._speech_ended = speech_ended
        self._watch = watch
        self._turns: dict[int, _Turn] = {}
        self._unanswered: list[str] = []
        self._stopped_at: float | None = None
        self._ended_at: float | None = None
        self._understood_at: float | None = None
        self.transcripts: list[str] = []
        self.states: list[State] = []
        self.state: State | None = None
        self.user_speaking = False
        self.answering = False
        """From the end of an utterance until it was answered, or there was nothing to answer."""
        self.failure: str | None = None
        """The last error that the session told."""
        self.ended: Reason | None = None

    def take(self, message: ServerMessage) -> None:
        """Note a message."""
        if isinstance(message, AudioOut):
            self._play(message)
            return
        self._note(message)
        self._watch(message)

    def turns(self) -> tuple[TurnReport, ...]:
        """Give the answers so far; what the agent said of its own accord is none."""
        return tuple(self._report(turn) for turn in self._turns.values() if turn.kind is TurnKind.RESPONSE)

    def audio(self) -> bytes:
        """Give what was heard of the answers."""
        return b"".join(turn.pcm for turn in self._turns.values() if turn.kind is TurnKind.RESPONSE)

    def _note(self, notice: Notice) -> None:  # noqa: C901, PLR0912 # one flat case per notice reads best
        match notice:
            case StateChanged():
                if not self.states:
                    self.states.append(notice.old)
                self.states.append(notice.new)
                self.state = notice.new
                if notice.new in _OVER:
                    self.answering = False
            case UserSpeechStarted():
                self.user_speaking = True
            case UserSpeechStopped():
                self.user_speaking = False
                self.answering = True
                self._stopped_at, self._ended_at = self._now(), self._speech_ended()
            case NothingHeard():
                self.answering = False
            case TranscriptReceived(final=True):
                self._understood_at = self._now()
                if notice.text.strip():
                    self.transcripts.append(notice.text.strip())
                    self._unanswered.append(notice.text.strip())
            case TurnStarted():
                turn = self._turns[notice.turn] = _Turn(turn=notice.turn, kind=notice.kind)
                if notice.kind is TurnKind.RESPONSE:
                    turn.transcripts, self._unanswered = self._unanswered, []
                    turn.speech_ended, self._ended_at = self._ended_at, None
                    turn.speech_stopped, self._stopped_at = self._stopped_at, None
                    turn.understood, self._understood_at = self._understood_at, None
            case ResponseTextDelta():
                self._turn(notice.turn).text += notice.text
            case ResponseTextDone():
                self._turn(notice.turn).text = notice.text
            case TurnMetrics():
                self._turn(notice.turn).metrics = notice
            case PlaybackCleared():
                self._clear(self._turn(notice.turn))
            case PlaybackPaused():
                self._turn(notice.turn).paused_at = self._now()
            case PlaybackResumed():
                self._go_on(self._turn(notice.turn))
            case TurnEnded():
                turn = self._turn(notice.turn)
                turn.heard, turn.stopped = notice.heard, notice.reason
            case ErrorRaised():
                self.failure = notice.message
            case SessionEnded():
                self.ended = notice.reason
            case _:
                pass

    def _turn(self, number: int) -> _Turn:
        return self._turns.setdefault(number, _Turn(turn=number, kind=TurnKind.RESPONSE))

    def _play(self, audio: AudioOut) -> None:
        turn = self._turn(audio.turn)
        now = self._now()
        if turn.started is None:
            turn.started = turn.playhead = now
        turn.playhead = max(turn.playhead, now)
        turn.starts.append((turn.playhead, len(turn.pcm)))
        if turn.audible is None and (index := first_audible(audio.pcm)) is not None:
            turn.audible = turn.playhead + index / self._sample_rate
        turn.pcm += audio.pcm
        turn.playhead += bytes_to_seconds(len(audio.pcm), self._sample_rate)

    def _played(self, turn: _Turn, now: float) -> int:
        """Bytes that the loudspeaker has played by then."""
        played = 0
        for start, index in turn.starts:
            if start <= now:
                played = index + int((now - start) * self._sample_rate) * BYTES_PER_SAMPLE
        return min(played, len(turn.pcm))

    def _go_on(self, turn: _Turn) -> None:
        """What the loudspeaker had not played when it was told to stand still comes as much later as it did so."""
        paused_at, turn.paused_at = turn.paused_at, None
        if paused_at is None or turn.started is None:
            return
        now = self._now()
        lost = now - paused_at
        rest = [(start + lost, index) for start, index in turn.starts if start > paused_at]
        begun = [(start, index) for start, index in turn.starts if start <= paused_at]
        turn.starts = [*begun, (now, self._played(turn, paused_at)), *rest]
        turn.playhead = max(turn.playhead, paused_at) + lost
        if turn.audible is not None and turn.audible > paused_at:
            turn.audible += lost

    def _clear(self, turn: _Turn) -> None:
        """Drop what the loudspeaker has not played yet."""
        del turn.pcm[self._played(turn, self._now() if turn.paused_at is None else turn.paused_at) :]

    def _report(self, turn: _Turn) -> TurnReport:
        return TurnReport(
            turn=turn.turn,
            transcript=" ".join(turn.transcripts),
            answer=(turn.text if turn.heard is None else turn.heard).strip(),
            answer_seconds=bytes_to_seconds(len(turn.pcm), self._sample_rate),
            stopped=turn.stopped,
            latency=_latency(turn),
        )


def _latency(turn: _Turn) -> Latency:
    marks = (turn.speech_ended, turn.speech_stopped, turn.understood, turn.audible)
    if None in marks:
        return Latency()
    ended, stopped, understood, audible = (mark or 0.0 for mark in marks)
    # An empty transcript may have come in between; the shares stay shares.
    understood = max(stopped, understood)
    left = max(0.0, audible - understood)
    measurable = stopped - ended >= _NO_SILENCE_S
    metrics = turn.metrics
    token = min(left, (metrics and metrics.first_token_s) or 0.0)
    phrase = min(left - token, (metrics and metrics.first_phrase_s) or 0.0)
    return Latency(
        endpoint_wait=stopped - ended if measurable else None,
        stt=understood - stopped,
        first_token=token,
        first_phrase=phrase,
        first_audio=left - token - phrase,
        total=audible - ended if measurable else None,
    )
