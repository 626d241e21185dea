"""Who was cancelled and does not let go: watched, counted, and told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

__all__ = ["Lingering"]


class Lingering:
    """Who was cancelled and does not end: a provider that swallows cancellation cannot be killed, only counted.

    Args:
        on_lingering: told the turn (None: the recogniser) and how many linger now, it included.
        on_too_many: told when more than ``MOST`` do: each holds memory, perhaps a thread or a connection.
    """

    AFTER_S: Final = 1.0  # An honest clean-up (closing a connection) takes milliseconds.
    MOST: Final = 4

    def __init__(self, on_lingering: Callable[[int | None, int], None], on_too_many: Callable[[], None]) -> None:
        self._on_lingering = on_lingering
        self._on_too_many = on_too_many
        self.count = 0
        """How many linger now."""

    async def watch(self, ended: trio.Event, turn: int | None = None) -> None:
        """Wait for the end of what was just cancelled, and tell if it is long in coming.

        Shielded from cancellation: it ends with what it watches, which whoever owns both waits for anyway, and what holds
        up the end of a session should be told too.
        """
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self.AFTER_S):
                await ended.wait()
                return
            self.count += 1
            self._on_lingering(turn, self.count)
            if self.count > self.MOST:
                self._on_too_many()
            try:
                await ended.wait()
            finally:
                self.count -= 1
