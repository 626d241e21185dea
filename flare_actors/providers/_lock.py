"""A lock between processes that goes away with its holder, however that ends."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

__all__ = ["file_lock"]

POLL_S: Final = 0.2

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def file_lock(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock; the operating system lets go of it when the file is closed or the process dies.

    Args:
        path: the lock's file; it stays.
        waiting: called again and again while another process has the lock; if it raises, the wait is over.
    """
    with path.open("ab") as file:
        while not _try_lock(file):
            waiting()
            time.sleep(POLL_S)
        yield
