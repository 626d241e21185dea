"""The transition table as a picture's source: Mermaid or Graphviz DOT, generated so that it cannot go stale."""

from __future__ import annotations

from flare_actors.conversation.states import State
from flare_actors.conversation.table import TRANSITIONS

__all__ = ["dot", "mermaid"]


def _edges() -> list[tuple[State, State]]:
    return [(old, new) for old in State for new in State if new in TRANSITIONS[old]]


def mermaid() -> str:
    """A Mermaid state diagram of ``TRANSITIONS``."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE.value}"]
    lines += [f"    {old.value} --> {new.value}" for old, new in _edges()]
    lines.append(f"    {State.ENDED.value} --> [*]")
    return "\n".join(lines) + "\n"


def dot() -> str:
    """A Graphviz digraph of ``TRANSITIONS``."""
    lines = ["digraph conversation {", "    rankdir=TB;", '    node [shape=box, style=rounded, fontname="sans-serif"];']
    lines += [f"    {state.value};" for state in State]
    lines += [f"    {old.value} -> {new.value};" for old, new in _edges()]
    lines.append("}")
    return "\n".join(lines) + "\n"
