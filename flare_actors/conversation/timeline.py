"""From the marks of a turn to its latency waterfall."""

from __future__ import annotations

from flare_actors.conversation.model import Marks, Waste
from flare_actors.conversation.notices import TurnMetrics

__all__ = ["waterfall"]


def waterfall(turn: int, marks: Marks, waste: Waste) -> TurnMetrics:
    """The share of each stage in the time from the end of the user's speech to the first audio, in seconds.

    A stage that took no part (typed text, a welcome) is None and its share belongs to the next one, so that the shares
    add up to the total; of an answer that was begun ahead they are what was left to wait for. Marks that run backwards
    (clocks of different tasks) count as 0.
    """
    shares: list[float | None] = []
    previous: float | None = marks.speech_ended
    stages = (marks.endpoint, marks.asked, marks.first_token, marks.first_phrase, marks.first_audio)
    for mark in stages:
        if mark is None or previous is None:
            shares.append(None)
        else:
            shares.append(max(0.0, mark - previous))
        if mark is not None:
            previous = mark if previous is None else max(previous, mark)
    reached = [mark for mark in (marks.speech_ended, *stages) if mark is not None]
    total = None if marks.first_audio is None else max(reached) - reached[0]
    return TurnMetrics(
        turn=turn,
        endpoint_wait_s=shares[0],
        stt_s=shares[1],
        first_token_s=shares[2],
        first_phrase_s=shares[3],
        first_audio_s=shares[4],
        total_s=total,
        ahead_s=_ahead(marks),
        wasted_replies=waste.replies,
        wasted_s=waste.work_s,
    )


def _ahead(marks: Marks) -> float | None:
    if marks.begun is None or marks.endpoint is None:
        return None
    return max(0.0, marks.endpoint - marks.begun)
