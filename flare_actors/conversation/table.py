"""Every transition is in this file.

Two people share one floor. What the agent does is one region (ten states), what the user does another (silent or
speaking), so there are two tables: ``TRANSITIONS`` says which state may follow which, ``ON_SPEECH`` says what confirmed
speech of the user does to the agent in each state. Every cell is written, the refusals too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from flare_actors.conversation.states import Mute, State, TurnKind

__all__ = [
    "ACTIVE",
    "MUTED",
    "ON_SPEECH",
    "PLAYING",
    "PLAYING_STATE",
    "PREPARING_STATE",
    "TRANSITIONS",
    "IllegalTransition",
    "OnSpeech",
    "check_transition",
]

_S = State

TRANSITIONS: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        _S.IDLE: frozenset({_S.INITIALIZING, _S.ENDED}),
        _S.INITIALIZING: frozenset({_S.PREPARING_WELCOME, _S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.PREPARING_WELCOME: frozenset({_S.PLAYING_WELCOME, _S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.PLAYING_WELCOME: frozenset({_S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.LISTENING: frozenset({_S.PROCESSING_SPEECH, _S.PREPARING_RESPONSE, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.PROCESSING_SPEECH: frozenset({_S.PREPARING_RESPONSE, _S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.PREPARING_RESPONSE: frozenset({_S.PLAYING_RESPONSE, _S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.PLAYING_RESPONSE: frozenset({_S.LISTENING, _S.ERROR, _S.IDLE, _S.ENDED}),
        _S.ERROR: frozenset({_S.LISTENING, _S.IDLE, _S.ENDED}),
        _S.ENDED: frozenset(),
    }
)
"""Where each state may lead. LISTENING leads to PREPARING_RESPONSE without a question for what the agent says on its own
account (`say`, an apology, a prompt)."""


class OnSpeech(Enum):
    """What the user's confirmed speech does to the agent."""

    IGNORE = "ignore"
    """There is no conversation to speak in, or no recogniser to hear it."""
    LISTEN = "listen"
    """The floor is the user's already."""
    WITHDRAW = "withdraw"
    """Nothing was said yet: take the answer back and hear the rest; both stretches become one user entry."""
    BARGE_IN = "barge_in"
    """The agent is being heard: stop, keep what was heard, listen."""


ON_SPEECH: Final[Mapping[State, OnSpeech]] = MappingProxyType(
    {
        _S.IDLE: OnSpeech.IGNORE,
        _S.INITIALIZING: OnSpeech.LISTEN,
        _S.PREPARING_WELCOME: OnSpeech.BARGE_IN,
        _S.PLAYING_WELCOME: OnSpeech.BARGE_IN,
        _S.LISTENING: OnSpeech.LISTEN,
        _S.PROCESSING_SPEECH: OnSpeech.WITHDRAW,
        _S.PREPARING_RESPONSE: OnSpeech.WITHDRAW,
        _S.PLAYING_RESPONSE: OnSpeech.BARGE_IN,
        _S.ERROR: OnSpeech.IGNORE,
        _S.ENDED: OnSpeech.IGNORE,
    }
)

ACTIVE: Final = frozenset(State) - {_S.IDLE, _S.ENDED}
"""The states of a conversation that is going on."""

PLAYING: Final = frozenset({_S.PLAYING_WELCOME, _S.PLAYING_RESPONSE})
"""The states in which the agent is heard."""

PREPARING_STATE: Final[Mapping[TurnKind, State]] = MappingProxyType(
    {kind: _S.PREPARING_WELCOME if kind is TurnKind.WELCOME else _S.PREPARING_RESPONSE for kind in TurnKind}
)
PLAYING_STATE: Final[Mapping[TurnKind, State]] = MappingProxyType(
    {kind: _S.PLAYING_WELCOME if kind is TurnKind.WELCOME else _S.PLAYING_RESPONSE for kind in TurnKind}
)


MUTED: Final[Mapping[Mute, frozenset[State]]] = MappingProxyType(
    {
        Mute.NEVER: frozenset(),
        Mute.WELCOME: frozenset({_S.INITIALIZING, _S.PREPARING_WELCOME, _S.PLAYING_WELCOME}),
        Mute.SPEAKING: PLAYING,
        Mute.TOOLS: frozenset(),  # No state, but what the live turn waits for: ``Turn.carries_out_tools``.
        Mute.ALWAYS: ACTIVE,
    }
)
"""The states in which the user is not heard, for each choice of ``mute``."""


class IllegalTransition(Exception):
    """Our own bug: a handler asked for a transition that the table does not have."""


def check_transition(old: State, new: State) -> None:
    """Hold a transition against the table.

    Raises:
        IllegalTransition: the table has no such transition.
    """
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"no transition {old.name} -> {new.name} in the table")
