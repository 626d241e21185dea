"""What the listener heard: voice activity, transcripts, and its failures."""

from __future__ import annotations

from flare_actors.conversation.commands import CloseListener, CommitUtterance, StopStt
from flare_actors.conversation.events import (
    ListenerFailed,
    ListenerOpened,
    RecognizerFailed,
    RecognizerReady,
    SpeechConfirmed,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinished,
    TranscriptUpdated,
    TurnEndEstimated,
)
from flare_actors.conversation.history import is_echo
from flare_actors.conversation.interruption import (
    contest,
    give_way,
    goes_by_length,
    may_take_floor,
    nods,
    only_listens,
    weigh,
)
from flare_actors.conversation.items import utterance_id
from flare_actors.conversation.model import AwaitedTranscript, Hearing, Marks
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import (
    HearingReady,
    NothingHeard,
    TranscriptReceived,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.on_client import greet
from flare_actors.conversation.speculation import MOST, speculate
from flare_actors.conversation.states import BargeIn, Endpointing, Floor, Input, Reason, State, TurnDetection, TurnKind
from flare_actors.conversation.table import ACTIVE, ON_SPEECH, PLAYING, OnSpeech
from flare_actors.conversation.turn_end import Ending, judge, note_pause
from flare_actors.conversation.values import evolve

_MAX_BACK_OFF_S = 30.0
"""With patience for many failures in a row (``limits.same_failures``), the doubling ends here."""
_MAX_AWAITED = 8
"""Utterances whose transcripts may be outstanding at once; a recogniser that far behind has lost the conversation."""


def on_listener_opened(d: Draft, e: ListenerOpened) -> None:
    if d.c.state not in ACTIVE:
        d.drop()
        return
    d.set(listener_open=True, estimates=e.estimates)
    d.wait(initialize=None)
    if d.c.state is State.INITIALIZING and d.c.attached:
        greet(d)


def on_listener_failed(d: Draft, e: ListenerFailed) -> None:
    if not d.c.listener_open and d.c.deadlines.initialize is None:
        d.drop()  # It was closed, or given up, already.
        return
    lose_listener(d, critical=e.critical)


def lose_listener(d: Draft, *, critical: bool = False) -> None:
    """The ear broke, or did not open in time: close it, and open it again out of ERROR."""
    d.emit(CloseListener(reason=Reason.ERROR_RECOVERY))
    d.set(listener_open=False, hearing=Hearing.STOPPED)
    d.wait(initialize=None)
    if d.count_failure("vad", critical=critical):
        return
    d.complain("vad_failed", "hearing failed; it is started again in a moment")
    d.fail(d.c.settings.error_retry_s)


def on_speech_started(d: Draft, e: SpeechStarted) -> None:
    heard = d.c.listener_open and d.c.attached and d.c.settings.input is Input.AUDIO
    if not heard or e.utterance <= d.c.utterance:
        d.drop()  # Of an ear that is closed, of audio whose sender has gone, or of who only types by now.
        return
    spoken_at = d.c.spoken_at
    if e.pause_s is not None and e.pause_s <= d.c.settings.endpoint_max_s and _owes_answer(d):
        d.set(pauses=note_pause(d.c.pauses, e.pause_s))  # The utterance before was cut in one.
    d.set(
        floor=Floor.SPEAKING,
        utterance=e.utterance,
        confirmed=False,
        worded=False,
        unheard=False,
        paused=False,
        pause=0,
        partial="",
        turn_end=None,
        endpoint=None,
        overheard=d.c.state in PLAYING or (spoken_at is not None and e.at - spoken_at <= d.c.settings.echo_tail_s),
    )
    d.wait(idle=None, utterance=e.at + d.c.settings.max_utterance_s + d.c.settings.timeouts.backstop_s)
    d.tell(UserSpeechStarted(utterance=e.utterance))
    contest(d)


def _owes_answer(d: Draft) -> bool:
    """The user has said something, and has not heard a word of the answer to it yet."""
    turn = d.c.turn
    unheard = turn is not None and turn.kind is TurnKind.RESPONSE and not turn.playing
    return unheard or d.c.answer_due or bool(d.c.awaited)


def on_speech_confirmed(d: Draft, e: SpeechConfirmed) -> None:
    if d.c.floor is not Floor.SPEAKING or e.utterance != d.c.utterance:
        d.drop()
        return
    if may_take_floor(d) and goes_by_length(d, overdue=e.overdue):
        give_way(d)


def on_speech_paused(d: Draft, e: SpeechPaused) -> None:
    if d.c.floor is not Floor.SPEAKING or e.utterance != d.c.utterance:
        d.drop()
        return
    d.set(paused=True, pause=d.c.pause + 1, speculations_left=MOST)
    _consider(d)


def _consider(d: Draft) -> None:
    """The user pauses: how long is waited, and is the answer begun meanwhile? Not while the user visibly hesitates."""
    hesitates = judge(d, nods=nods(d)) is Ending.HESITATING
    if not (hesitates and d.c.settings.endpointing is Endpointing.ADAPTIVE):
        speculate(d)


def on_turn_end_estimated(d: Draft, e: TurnEndEstimated) -> None:
    if d.c.floor is not Floor.SPEAKING or e.utterance != d.c.utterance or not d.c.paused:
        d.drop()
        return
    d.set(turn_end=e.probability)
    _consider(d)


def on_speech_resumed(d: Draft, e: SpeechResumed) -> None:
    if d.c.floor is not Floor.SPEAKING or e.utterance != d.c.utterance:
        d.drop()
        return
    d.set(paused=False, partial="", turn_end=None)
    if e.pause_s is not None:
        d.set(pauses=note_pause(d.c.pauses, e.pause_s))


def on_speech_stopped(d: Draft, e: SpeechStopped) -> None:
    if d.c.floor is not Floor.SPEAKING or e.utterance != d.c.utterance:
        d.drop()
        return
    d.tell(UserSpeechStopped(utterance=e.utterance, speech_s=e.speech_s))
    manual = d.c.settings.turn_detection is TurnDetection.MANUAL
    committed = d.c.committing and manual
    d.set(committing=False, confirmed=d.c.confirmed or committed)
    d.wait(commit=None)
    _end_utterance(
        d,
        speech_ended=e.at - e.silence_s,
        lost=e.too_short or not e.taken,
        answer=committed or not manual,
        committed=committed,
    )


def give_up_on_utterance(d: Draft) -> None:
    """The ear has told of no end for far too long, as when audio stops coming while the user speaks: it ends here."""
    d.emit(CommitUtterance())
    d.tell(UserSpeechStopped(utterance=d.c.utterance, speech_s=0.0))
    _end_utterance(d, speech_ended=d.at, lost=False, answer=True, committed=False)


def _end_utterance(d: Draft, *, speech_ended: float, lost: bool, answer: bool, committed: bool) -> None:
    d.set(floor=Floor.SILENT)
    d.wait(utterance=None)
    if lost or d.c.unheard or not _is_awaited(d):
        _heard_nothing(d, d.c.utterance)
        return
    awaited = AwaitedTranscript(
        utterance=d.c.utterance,
        speech_ended=speech_ended,
        endpoint=d.at,
        overheard=d.c.overheard,
        answer=answer,
        committed=committed,
        nod=nods(d) and not committed,
    )
    d.set(awaited=(*d.c.awaited, awaited)[-_MAX_AWAITED:])
    if d.c.deadlines.transcript is None:
        _await_transcript(d)


def _await_transcript(d: Draft) -> None:
    """The recogniser takes one utterance after the other: each has its time from the end of the one before."""
    timeouts = d.c.settings.timeouts
    due = d.at + timeouts.connect_s + timeouts.stt_final_s + 1.0
    d.wait(transcript=due if d.c.awaited else None)


def _is_awaited(d: Draft) -> bool:
    """Can the words of the utterance that just ended count? Not if they were talk over an agent that is not to be disturbed."""
    if d.c.state is State.ERROR:
        return False
    over = ON_SPEECH[d.c.state] is OnSpeech.BARGE_IN
    return d.c.confirmed or not over or d.c.settings.barge_in is not BargeIn.OFF


def _heard_nothing(d: Draft, utterance: int) -> None:
    """Go on as if the user had been silent; in LISTENING the client is told and the recogniser started again."""
    if d.c.state is not State.LISTENING:
        return
    d.tell(NothingHeard(utterance=utterance))
    d.listen(afresh=False)


def on_recognizer_ready(d: Draft, e: RecognizerReady) -> None:
    if d.c.hearing is Hearing.STOPPED:
        d.drop()
        return
    d.set(hearing=Hearing.READY, partials=e.partials)
    if d.c.state is State.LISTENING:
        d.tell(HearingReady())


def on_recognizer_failed(d: Draft, e: RecognizerFailed) -> None:
    if d.c.hearing in {Hearing.STOPPED, Hearing.FAILED}:
        d.drop()
        return
    lose_recognizer(d, critical=e.critical)


def give_up_on_transcript(d: Draft) -> None:
    """The recogniser itself is stuck (its own timeouts did not work): close it, so that it is opened anew."""
    d.emit(StopStt(reason=Reason.ERROR_RECOVERY))
    lose_recognizer(d)


def lose_recognizer(d: Draft, *, critical: bool = False) -> None:
    """The recogniser is down: ERROR if it is needed now, a restart in the background while the agent speaks."""
    d.set(hearing=Hearing.FAILED, unheard=True, awaited=())
    d.wait(transcript=None)
    if d.count_failure("stt", critical=critical):
        return
    d.complain("stt_failed", "speech recognition failed; it is started again in a moment")
    back_off = min(_MAX_BACK_OFF_S, d.c.settings.stt_retry_s * 2 ** min(20, d.c.failures.stt - 1))
    if d.c.state in {State.LISTENING, State.ERROR}:
        d.fail(back_off, deaf=False)
    else:
        d.wait(stt_retry=d.at + back_off)


def on_transcript_updated(d: Draft, e: TranscriptUpdated) -> None:
    current = d.c.floor is Floor.SPEAKING and e.utterance == d.c.utterance
    if not current and all(e.utterance != a.utterance for a in d.c.awaited):
        d.drop()
        return
    text = e.text[: d.c.settings.limits.text_chars]
    d.tell(TranscriptReceived(utterance=e.utterance, text=text, final=False))
    if current:
        d.set(partial=text if e.complete else "")
        weigh(d, text)
        _consider(d)


def on_transcript_finished(d: Draft, e: TranscriptFinished) -> None:
    awaited = next((a for a in d.c.awaited if a.utterance == e.utterance), None)
    if awaited is None:
        d.drop()
        return
    d.set(
        # Utterances are understood in order: of earlier ones nothing will come any more.
        awaited=tuple(a for a in d.c.awaited if a.utterance > e.utterance),
        failures=evolve(d.c.failures, stt=0),
    )
    _await_transcript(d)
    text = e.text.strip()[: d.c.settings.limits.text_chars]
    guarded = awaited.overheard and d.c.settings.barge_in.guards
    own = [d.c.last_spoken] if d.c.turn is None else [d.c.last_spoken, d.c.turn.text]
    if guarded and any(is_echo(text, said) for said in own):
        text = ""
    if not text:
        _heard_nothing(d, e.utterance)
        return
    d.tell(TranscriptReceived(utterance=e.utterance, text=text, final=True))
    # How long the button is held is the user's own time.
    spoken_until = None if awaited.committed else awaited.speech_ended
    marks = Marks(speech_ended=spoken_until, endpoint=awaited.endpoint, asked=e.at)
    listens = not awaited.committed and only_listens(d, text, overheard=awaited.overheard)
    if listens:
        assert d.c.turn is not None
        d.record_user(text, utterance_id(e.utterance))
        d.set(prompts=0, turn=evolve(d.c.turn, nodded=marks if awaited.answer else d.c.turn.nodded))
        return
    interrupts = d.c.turn is not None and may_take_floor(d)
    if interrupts:
        d.take_back(Reason.BARGE_IN)
    d.record_user(text, utterance_id(e.utterance))
    d.owe(marks, committed=awaited.answer)
    if interrupts:
        d.listen(Reason.BARGE_IN)
    elif d.c.answer_due or d.c.state is not State.LISTENING:
        d.use_floor()
    else:
        d.listen()
