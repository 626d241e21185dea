"""What the page's tests share: the browser's flags, and short ways to look into a running page."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fake_server import FakeServer, Peer

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
# No --autoplay-policy: that the click on Start unlocks the sound is part of what is tested.

TONE_HZ = 500
"""What the fake microphone hears, in bursts: noise suppression takes away what never changes."""

OpenPage = Callable[..., "Page"]


def tone(seconds: float, hz: float = 440, *, rate: int = 24_000, level: float = 0.25) -> bytes:
    """A sine as PCM16."""
    at = np.arange(round(seconds * rate)) / rate
    return bytes(np.round(32_767 * level * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes())


def record_bursts(path: Path) -> str:
    """A microphone that hears a short tone twice a second; the browser's flag for it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((tone(0.25, TONE_HZ, rate=48_000, level=0.5) + bytes(24_000)) * 8)
    return f"--use-file-for-fake-audio-capture={path}"


def ask(page: Page, expression: str, argument: object = None) -> Any:
    """Evaluate ``expression`` with the running page's ``app`` in scope."""
    return page.evaluate(
        f"async (argument) => {{ const {{app}} = await import('/main.js'); return {expression}; }}", argument
    )


def wait(page: Page, expression: str, *, patience_s: float = 20) -> None:
    """Until ``expression`` about ``app`` is true. (Playwright's own ``wait_for_function`` takes a promise for true.)"""
    watch(page, expression, patience_s=patience_s)()


def watch(page: Page, expression: str, *, patience_s: float = 20) -> Callable[[], object]:
    """Look out for ``expression`` from now on. What is returned waits until it was true once.

    For what passes by, as a short answer does: who looks for it only once it is there may come too late.
    """
    watched = page.evaluate_handle(
        f"""async (patience) => {{
          const {{app}} = await import('/main.js');
          const look = async () => {{
            const since = performance.now();
            while (!({expression})) {{
              if (performance.now() - since > patience) throw new Error('waited in vain');
              await new Promise((resolve) => setTimeout(resolve, 10));
            }}
          }};
          return {{seen: look()}};
        }}""",
        patience_s * 1000,
    )
    return lambda: watched.evaluate("({seen}) => seen")


def start(page: Page, server: FakeServer) -> Peer:
    """Press Start and wait until the page listens; the WebSocket that it opened."""
    page.get_by_role("button", name="Start").click()
    peer = server.peer()
    peer.wait_for("start_conversation")
    page.get_by_role("heading", name="Listening").wait_for()
    return peer
