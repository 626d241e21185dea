"""What the reply scope of the live turn did, and what the speaker played of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flare_actors.conversation.draft import SAME_S
from flare_actors.conversation.events import (
    AudioStarted,
    GenerationFinished,
    LanguageModelFailed,
    PhraseReady,
    PhraseSpoken,
    PlaybackFinished,
    PlaybackStopped,
    SynthesizerFailed,
    UsageReported,
    WordsSpoken,
)
from flare_actors.conversation.history import SpokenPhrase
from flare_actors.conversation.model import Turn, Waste
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import TurnUsage
from flare_actors.conversation.on_client import finish_if_played
from flare_actors.conversation.speculation import withdraw
from flare_actors.conversation.states import Reason, State, TurnKind
from flare_actors.conversation.table import PLAYING_STATE
from flare_actors.conversation.timeline import waterfall
from flare_actors.conversation.values import evolve
from flare_actors.errors import Stage

_REPORT_GAP_S: Final = 0.5
"""How old a client's last report may be, so that it is taken to have played on since: clients report about four times a
second, and one that has fallen silent is not credited with more."""


def live(d: Draft, turn: int) -> Turn | None:
    """The live turn, or the held one, if it is this one and was started; anything else is late and is counted.

    Every fact of generation passes here.
    """
    if is_held(d, turn):
        assert d.c.speculation is not None
        return d.c.speculation.turn
    if d.c.turn is None or d.c.turn.number != turn or d.c.turn.waiting:
        d.drop()
        return None
    return d.c.turn


def is_held(d: Draft, turn: int) -> bool:
    """Is this the turn that is generated ahead?"""
    return d.c.speculation is not None and d.c.speculation.turn.number == turn


def progress(d: Draft, turn: Turn) -> None:
    """Something came of the turn: keep it, and let the live one's backstop count anew while more is to come."""
    held = d.c.speculation
    if held is not None:  # There is no live turn beside it.
        d.set(speculation=evolve(held, turn=turn, finished=d.at if turn.generated_s is not None else None))
        return
    d.set(turn=turn)
    if turn.generated_s is None:
        d.wait(generation=turn.generation_due(d.at, d.c.settings.timeouts))


def on_phrase_ready(d: Draft, e: PhraseReady) -> None:
    settling = next((s for s in d.c.settling if s.number == e.turn), None)
    if settling is not None and settling.delivered and not settling.settled:
        # The beginning of a phrase that the client was shown before the turn was cancelled.
        shown = evolve(settling, phrases=(*settling.phrases, SpokenPhrase(text=e.text)))
        d.set(settling=tuple(shown if s.number == e.turn else s for s in d.c.settling))
        return
    turn = live(d, e.turn)
    if turn is None:
        return
    marks = turn.marks
    if not turn.phrases:
        marks = evolve(marks, first_token=e.first_token_at, first_phrase=e.at)
    progress(d, evolve(turn, phrases=(*turn.phrases, SpokenPhrase(text=e.text)), marks=marks))
    if d.c.state is State.PROCESSING_SPEECH:
        d.go(State.PREPARING_RESPONSE)


def on_phrase_spoken(d: Draft, e: PhraseSpoken) -> None:
    _know_more(d, e, lambda phrase: evolve(phrase, start_s=e.start_s, end_s=e.end_s))


def on_words_spoken(d: Draft, e: WordsSpoken) -> None:
    _know_more(d, e, lambda phrase: phrase.timed(e.words))


def _know_more(d: Draft, e: PhraseSpoken | WordsSpoken, of: Callable[[SpokenPhrase], SpokenPhrase]) -> None:
    """... of when a phrase of the turn is spoken."""
    turn = live(d, e.turn)
    if turn is None:
        return
    if not 0 <= e.index < len(turn.phrases):
        d.drop()
        return
    phrases = list(turn.phrases)
    phrases[e.index] = of(phrases[e.index])
    progress(d, evolve(turn, phrases=tuple(phrases)))


def on_audio_started(d: Draft, e: AudioStarted) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if turn.playing or is_held(d, e.turn):
        d.drop()
        return
    marks = evolve(turn.marks, first_audio=e.at)
    progress(d, evolve(turn, playing=True, marks=marks))
    if d.c.state is State.PROCESSING_SPEECH:
        d.go(State.PREPARING_RESPONSE)
    if d.c.state is not PLAYING_STATE[turn.kind]:
        d.go(PLAYING_STATE[turn.kind])
    d.tell(waterfall(turn.number, marks, d.c.waste))
    d.set(waste=Waste())


def on_generation_finished(d: Draft, e: GenerationFinished) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if is_held(d, e.turn):
        progress(d, evolve(turn, generated_s=e.audio_s, limited=e.limited))
        return
    d.set(turn=evolve(turn, limited=e.limited))
    d.generated(e.audio_s)
    if d.c.turn is not None:
        _finish_when_paced(d)


def on_usage_reported(d: Draft, e: UsageReported) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if is_held(d, e.turn):
        progress(d, evolve(turn, tokens=(*turn.tokens, (e.input_tokens, e.output_tokens))))
        return
    d.tell(TurnUsage(turn=e.turn, input_tokens=e.input_tokens, output_tokens=e.output_tokens))


def on_playback_finished(d: Draft, e: PlaybackFinished) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if is_held(d, e.turn):
        d.drop()
        return
    d.set(turn=evolve(turn, paced_s=max(turn.paced_s, e.played_s)))
    _finish_when_paced(d)


def _finish_when_paced(d: Draft) -> None:
    """What was generated and what was played become known in any order: when both are, the turn ends.

    A client that reports has the last word on what was played, and a little time for it.
    """
    turn = d.c.turn
    assert turn is not None
    if turn.generated_s is None:
        return
    if turn.paced_s >= turn.generated_s - SAME_S:
        if not d.c.reports_playback:
            d.finish_turn()
            return
        d.wait(playback=d.at + d.c.settings.timeouts.playback_report_s)
    finish_if_played(d)


def on_playback_stopped(d: Draft, e: PlaybackStopped) -> None:
    settling = next((s for s in d.c.settling if s.number == e.turn), None)
    if settling is None or settling.settled:
        d.drop()
        return
    settling = evolve(settling, clock_s=e.played_s)
    d.set(settling=tuple(settling if s.number == e.turn else s for s in d.c.settling))
    played = e.played_s
    if settling.reported_at is not None:
        # The client knows better than the clock, but its last word may be a moment old.
        elapsed = min(_REPORT_GAP_S, max(0.0, settling.ended_at - settling.reported_at))
        played = min(played, settling.played_s + elapsed)
    d.settle(settling, played)
    start_if_waiting(d)


def start_if_waiting(d: Draft) -> None:
    """Build the request that waited for the word on what was heard, once all words are in."""
    if d.c.turn is not None and d.c.turn.waiting and all(s.settled for s in d.c.settling):
        d.start_reply()


def on_llm_failed(d: Draft, e: LanguageModelFailed) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if turn.llm_failed:
        d.drop()
        return
    if is_held(d, e.turn):
        withdraw(d, Reason.ERROR_RECOVERY)  # It may not be wanted at all; if it is, it is asked for again.
        return
    d.set(turn=evolve(turn, llm_failed=True))
    if d.count_failure("llm", critical=e.critical):
        return
    d.complain("llm_failed", "the answer could not be (fully) written; please ask again", turn=turn.number)
    if turn.phrases:
        return  # What was written before is spoken to its end; it is never replayed.
    _give_up(d, turn)


def _give_up(d: Draft, turn: Turn) -> None:
    d.interrupt(Reason.ERROR_RECOVERY)
    unanswered = turn.kind is TurnKind.RESPONSE and not turn.phrases
    d.set(apology_due=unanswered and d.c.settings.apology is not None)
    d.listen(Reason.ERROR_RECOVERY)


def on_tts_failed(d: Draft, e: SynthesizerFailed) -> None:
    turn = live(d, e.turn)
    if turn is None:
        return
    if turn.tts_failed:
        d.drop()
        return
    if is_held(d, e.turn):
        withdraw(d, Reason.ERROR_RECOVERY)
        return
    d.set(turn=evolve(turn, tts_failed=True))
    if d.count_failure("tts", critical=e.critical):
        return
    d.complain("tts_failed", "the answer cannot be spoken; its text is sent", turn=turn.number)


def give_up_on_turn(d: Draft) -> None:
    """The reply itself is stuck (its own timeouts did not work): cancel it, tell the client, listen."""
    turn = d.c.turn
    assert turn is not None
    if turn.paused_at is not None:
        d.wait(generation=turn.generation_due(d.at, d.c.settings.timeouts))  # It stands still, and nobody is late.
        return
    stage: Stage = "llm" if d.c.state is State.PROCESSING_SPEECH else "tts"
    if d.count_failure(stage, critical=False):
        return
    d.complain(f"{stage}_failed", "the answer did not come in time; please ask again", turn=turn.number)
    _give_up(d, turn)
