"""Runs of Trio in which tasks take their steps in an order that depends on a seed alone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio

__all__ = ["scheduled"]


@contextmanager
def scheduled(seed: str) -> Generator[None]:
    """Within the block tasks of ``trio.run`` that are ready at once run in the same order on every run and machine.

    As Trio's own Hypothesis integration has it. Of threads and sockets nobody knows when they are ready.

    Args:
        seed: another one, another order.
    """
    run: Any = trio._core._run  # noqa: SLF001 - there is no public way
    allowed, state = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()  # noqa: SLF001
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    run._r.seed(seed)  # noqa: SLF001
    try:
        yield
    finally:
        run._r.setstate(state)  # noqa: SLF001
        run._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # noqa: SLF001
