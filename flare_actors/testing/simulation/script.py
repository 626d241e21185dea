"""What happens in one simulated session, as a value: made from a seed, saved as JSON, shrunk to what matters.

A script names moves of a client and faults of the engines. It is data, so that a session that failed can be played again
without the random numbers that made it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import cattrs

from flare_actors.conversation.changes import Value
from flare_actors.errors import ConfigError
from flare_actors.testing.faults import Act, At, Fault

__all__ = ["CHANGES", "FAULT_KINDS", "MOVES", "Move", "Script", "load_script", "make_script", "save_script"]

STAGES: Final = ("stt", "llm", "tts", "vad")
FAULT_KINDS: Final = ("hang", "raise", "crash", "crash_group", "stop", "give", "slow", "stubborn")

MOVES: Final = (
    "speak",
    "text",
    "barge",
    "hesitate",
    "noise",
    "stall",
    "cough",
    "commit",
    "interrupt",
    "say",
    "nonsense",
    "settings",
    "respond",
    "clear",
    "item",
    "mute",
    "reconnect",
    "restart",
    "wait",
)
"""What a client can do (see ``player.Player``)."""
_OFTEN: Final = {"speak": 10, "text": 7, "barge": 6, "hesitate": 3, "noise": 3, "stall": 2} | dict.fromkeys(
    ("cough", "commit", "interrupt", "say", "nonsense", "settings"), 2
)
_WEIGHTS: Final = tuple(_OFTEN.get(kind, 1) for kind in MOVES)
CHANGES: Final[tuple[tuple[str, Value], ...]] = (
    ("turn_detection", "manual"),
    ("turn_detection", "automatic"),
    ("turn_detection", "automatic"),
    ("input", "text"),
    ("input", "audio"),
    ("output", "text"),
    ("output", "audio"),
    ("mute", "speaking"),
    ("mute", "tools"),
    ("mute", "never"),
    ("auto_answer", False),
    ("auto_answer", True),
    ("barge_in", "off"),
    ("barge_in", "full"),
    ("false_interruption_s", 0.0),
    ("false_interruption_s", 1.0),
    ("endpointing", "fixed"),
    ("endpointing", "adaptive"),
    ("stt_mode", "batch"),
    ("locale", "tr-TR"),
    ("endpoint_s", -1.0),
)
"""What a client changes amid a session; the last one is refused."""


@attrs.frozen(kw_only=True)
class Move:
    """One thing that the client (or the embedder, or the network) does."""

    kind: str
    """One of the words that ``player.Player`` knows."""
    amount: float = 0.0
    """Seconds, of speech or of absence."""
    after: float = 0.0
    """Seconds to wait before it."""


@attrs.frozen(kw_only=True)
class Script:
    """One simulated session."""

    seed: int
    number: int
    """Which of the seed's sessions."""
    settings: Mapping[str, Any]
    """Choices of ``Settings`` that differ from the simulation's own."""
    client: str
    """``honest`` (reports what it played), ``silent`` (never does), ``liar`` (says anything)."""
    faults: Mapping[str, tuple[Fault | None, ...]]
    """By stage: one a stream, in order."""
    moves: tuple[Move, ...]
    pauses: bool = True
    """The client can stand still amid what it plays."""
    drains: bool = False
    """The server goes down at the end."""


_JSON: Final = cattrs.Converter(forbid_extra_keys=True)
_JSON.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)  # Fault.item


def make_script(seed: int, number: int, *, seconds: float, faults: tuple[str, ...]) -> Script:
    """The ``number``-th session of a seed: moves for about ``seconds`` of virtual time.

    Args:
        seed: any whole number.
        number: from 0.
        seconds: of virtual time.
        faults: which of ``FAULT_KINDS`` may strike.
    """
    dice = random.Random(f"flare_actors {seed} {number}")  # noqa: S311 - a script is no secret
    streams = max(4, round(seconds / 3))
    moves = []
    spent = 0.0
    while spent < seconds:
        (kind,) = dice.choices(MOVES, _WEIGHTS)
        amount = {
            "speak": dice.choice((0.4, 0.7, 1.2)),
            "stall": dice.choice((0.4, 0.8)),
            "barge": dice.choice((0.4, 0.8)),
            "noise": 0.2,
            "cough": dice.choice((0.1, 0.2)),
            "reconnect": dice.choice((0.0, 0.5, 5.0, 40.0)) if dice.random() < 0.3 else 0.1,
            "wait": dice.choice((1.0, 10.0, 100.0)),
        }.get(kind, round(dice.random(), 3))
        after = dice.choice((0.0, 0.0, 0.05, 0.3, 1.0))
        moves.append(Move(kind=kind, amount=amount, after=after))
        spent += after + (amount if kind in {"reconnect", "wait"} else 3.0)
    return Script(
        seed=seed,
        number=number,
        settings=_settings(dice),
        client=dice.choice(("honest", "silent", "silent", "liar")),
        faults={stage: tuple(_fault(dice, stage, faults) for _ in range(streams)) for stage in STAGES},
        moves=tuple(moves),
        pauses=dice.random() < 0.75,
        drains=dice.random() < 0.1,
    )


def _settings(dice: random.Random) -> dict[str, Any]:
    """Mostly what most sessions have; every mode is tried."""
    return {
        "welcome": dice.choice((None, "Hi.")),
        "apology": dice.choice((None, None, "Sorry.")),
        "soft_endpoint_s": dice.choice((0.2, 0.2, None)),
        "output": dice.choice(("audio", "audio", "audio", "text")),
        "input": dice.choice((*("audio",) * 9, "text")),
        "turn_detection": dice.choice((*("automatic",) * 5, "manual")),
        "auto_answer": dice.random() < 0.9,
        "mute": dice.choice((*("never",) * 6, "welcome", "speaking", "tools")),
        "barge_in": dice.choice(("full", "guarded", "guarded", "off")),
        "false_interruption_s": dice.choice((1.0, 1.0, 0.3, 0.0)),
        "endpointing": dice.choice(("adaptive", "adaptive", "fixed")),
        "stt_mode": dice.choice(("streaming", "streaming", "batch")),
        "idle_prompts": dice.choice(([], [], ["Are you there?", "Still there?"])),
        "idle_answer": dice.random() < 0.1,
    }


def _fault(dice: random.Random, stage: str, kinds: tuple[str, ...]) -> Fault | None:
    if not kinds or dice.random() > (0.03 if stage == "vad" else 0.2):
        return None
    if stage == "vad":
        usable = [kind for kind in kinds if kind in {"raise", "crash"}]
        if not usable:
            return None
        return Fault(at=dice.choice((At.CONNECT, At.MIDDLE)), act=Act(dice.choice(usable)), after=dice.randint(1, 200))
    act = Act(dice.choice(kinds))
    if act in {Act.STOP, Act.GIVE}:
        at = dice.choice((At.FIRST, At.MIDDLE))
    elif act in {Act.RAISE, Act.CRASH, Act.CRASH_GROUP}:
        at = dice.choice((At.CALL, At.CONNECT, At.FIRST, At.MIDDLE, At.END, At.CLOSE))
        if at is At.CALL and act is Act.CRASH_GROUP:
            act = Act.CRASH
    else:
        at = dice.choice((At.CONNECT, At.FIRST, At.MIDDLE, At.END, At.CLOSE))
    return Fault(at=at, act=act, after=dice.randint(1, 4), seconds=dice.choice((0.1, 1.0, 5.0)))


def save_script(script: Script, file: Path, *, violation: str = "", trace: list[str] | None = None) -> None:
    """Write a script as JSON, with what went wrong and what happened, for people."""
    data = {"script": _JSON.unstructure(script), "violation": violation, "trace": trace or []}
    file.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_script(file: Path) -> Script:
    """Read what ``save_script`` wrote.

    Raises:
        ConfigError: there is no such file, or it holds no script.
    """
    try:
        return _JSON.structure(json.loads(file.read_text(encoding="utf-8"))["script"], Script)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, cattrs.BaseValidationError):
        raise ConfigError(f"{file}: holds no simulated session; give a file that `simulate` wrote") from None
