"""Install Pipecat and LiveKit Agents, pinned, each into an environment of its own: ``python -m benchmarks.peers.install``."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

__all__ = ["INSTALLED", "environment", "python"]

INSTALLED: Final = ("pipecat", "livekit")


def environment(peer: str) -> Path:
    """A peer's virtual environment, in the user's cache."""
    cache = (
        os.environ.get("FLARE_ACTORS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "flare-actors"
    )
    return Path(cache).expanduser() / "peers" / peer


def python(peer: str) -> Path:
    """Its interpreter; there only after the installation."""
    return environment(peer) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def main() -> None:
    """Install what is not there yet."""
    for peer in INSTALLED:
        pins = Path(__file__).parent / f"{peer}.txt"
        print(f"{peer}: {environment(peer)}", flush=True)
        if not python(peer).exists():
            venv.create(environment(peer), with_pip=True)
        subprocess.run([python(peer), "-m", "pip", "install", "--quiet", "-r", pins], check=True)  # noqa: S603 - our own


if __name__ == "__main__":
    main()
