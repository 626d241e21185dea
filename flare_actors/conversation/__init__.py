"""The conversation, pure: what is said, decided and remembered; no I/O, no clock, no tasks.

states, requests, events, commands, notices      the vocabulary
settings                                         what can be chosen
table                                            every transition
model                                            the conversation as a value
step                                             one event in, a new conversation and commands out
draft, moves, on_*                               what step is made of
items, history, phrases, timeline, diagram       what follows from it
"""

from flare_actors.conversation.model import Conversation
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import BargeIn, Floor, Output, Reason, State, SttMode, TurnKind, Wait
from flare_actors.conversation.step import fold, step

__all__ = [
    "BargeIn",
    "Conversation",
    "Floor",
    "Limits",
    "Output",
    "Reason",
    "Settings",
    "State",
    "SttMode",
    "Timeouts",
    "TurnKind",
    "Wait",
    "fold",
    "step",
]
