"""What a talk has brought: transcript, answers and the latency of each turn, as values and as JSON."""

from __future__ import annotations

from typing import Any

import attrs

from flare_actors.conversation.states import Reason, State

__all__ = ["STAGES", "Latency", "TalkReport", "TurnReport"]


@attrs.frozen(kw_only=True)
class Latency:
    """End of speech to first audible sample of one turn, in seconds; None where nothing was heard of it.

    Each stage's own share; together they are the total.
    """

    endpoint_wait: float | None = None
    """From the end of speech (by level, in the recording) to the session's word that the user has finished. None, and no
    total either, where that cannot be measured: by its level the recording was still speech then."""
    stt: float | None = None
    """To the final transcript."""
    first_token: float | None = None
    """To the model's first token, as the session says (it cannot be seen from outside)."""
    first_phrase: float | None = None
    """To the first speakable phrase, likewise."""
    first_audio: float | None = None
    """To the first sample above -50 dBFS that the client plays."""
    total: float | None = None


STAGES = ("endpoint_wait", "stt", "first_token", "first_phrase", "first_audio")


@attrs.frozen(kw_only=True)
class TurnReport:
    """One answer and what it answers."""

    turn: int
    transcript: str
    answer: str
    """What was heard of it, as the session says."""
    answer_seconds: float
    """Seconds of its audio that the client played."""
    stopped: Reason | None
    """Why it was not said to its end; None: it was."""
    latency: Latency


@attrs.frozen(kw_only=True)
class TalkReport:
    """All of it."""

    turns: tuple[TurnReport, ...]
    transcript: str
    """All utterances, joined."""
    states: tuple[State, ...]
    """The agent's states, in the order in which they came."""
    audio: bytes = attrs.field(repr=False)
    """What the client heard of the answers, one after another: PCM16 mono."""
    sample_rate: int
    """Hz of ``audio``."""

    @property
    def answer(self) -> str:
        """All answers, joined."""
        return " ".join(turn.answer for turn in self.turns if turn.answer)

    @property
    def answer_seconds(self) -> float:
        """Seconds of audio in all answers."""
        return sum(turn.answer_seconds for turn in self.turns)

    @property
    def latency(self) -> Latency:
        """The first turn's."""
        return self.turns[0].latency if self.turns else Latency()

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``; seconds are rounded to the tenth of a millisecond."""
        return {
            "transcript": self.transcript,
            "answer": self.answer,
            "answer_seconds": round(self.answer_seconds, 3),
            "turns": [
                {
                    "turn": turn.turn,
                    "transcript": turn.transcript,
                    "answer": turn.answer,
                    "answer_seconds": round(turn.answer_seconds, 3),
                    "stopped": turn.stopped.value if turn.stopped else None,
                    "latency": _rounded(turn.latency),
                }
                for turn in self.turns
            ],
            "states": [state.value for state in self.states],
            "latency": _rounded(self.latency),
        }


def _rounded(latency: Latency) -> dict[str, float | None]:
    return {name: None if seconds is None else round(seconds, 4) for name, seconds in attrs.asdict(latency).items()}
