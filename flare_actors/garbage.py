"""Python's search for garbage, kept out of people's sentences."""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["calm_garbage_collection"]

THRESHOLDS: Final = (50_000, 10, 10)
"""The first are net allocations. A session's turns leave no cycles (``test_a_turn_leaves_no_garbage_to_search_for``), one that
has ended some hundred objects: that is a few hundred ended sessions, or some 10 MB. With Python's 700 a process with 100 live
sessions was stopped for 5 to 67 ms, three times a second, to find nothing."""


def calm_garbage_collection() -> None:
    """Search for garbage seldom, and never in what is loaded by now. For a process that serves sessions, once it is ready.

    Reference counting frees what sessions use, as ever; what is changed is the search for cycles, of the whole process. Python
    begins one after so many more allocations than deallocations, and each stops all sessions until it ends.
    ``flare-actors serve`` does this by itself. Take it back with ``gc.unfreeze()`` and ``gc.set_threshold(700, 10, 10)``.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
