"""The real Wyoming servers, started for a benchmark or a test; ``python .ci/wyoming.py`` installs them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flare_actors.providers.weights import cache_folder
from flare_actors.providers.wyoming import WyomingSttSettings, WyomingTtsSettings

__all__ = ["VOICE", "folder", "installed", "piper", "whisper"]

VOICE: Final = "en_US-joe-medium"
STARTING_S: Final = 60.0


def folder() -> Path:
    """Where they are."""
    return Path(os.environ.get("FLARE_ACTORS_WYOMING") or cache_folder() / "wyoming")


def installed() -> bool:
    """They are there, whole."""
    return (folder() / "complete").is_file()


@contextmanager
def whisper() -> Iterator[WyomingSttSettings]:
    """wyoming-faster-whisper with tiny.en. One thread: two would spin for each other on busy cores."""
    model = str(folder() / "whisper" / "tiny.en")
    options = ("--language", "en", "--beam-size", "1", "--cpu-threads", "1", "--stt-library", "faster-whisper")
    with _running("wyoming-faster-whisper", "--model", model, "--data-dir", model, *options) as uri:
        yield WyomingSttSettings(uri=uri)


@contextmanager
def piper(*, noise: bool = True) -> Iterator[WyomingTtsSettings]:
    """wyoming-piper with the voice of Joe; without the noise that it draws for each phrase, it says the same each time."""
    options = () if noise else ("--noise-scale", "0", "--noise-w-scale", "0")
    with _running("wyoming-piper", "--voice", VOICE, "--data-dir", str(folder() / "voices"), *options) as uri:
        yield WyomingTtsSettings(uri=uri, voice=VOICE)


@contextmanager
def _running(server: str, *arguments: str) -> Iterator[str]:
    """A server of the other environment; gives its URI when it takes connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"tcp://127.0.0.1:{port}"
    (program,) = (folder() / "venv").glob(f"*/{server}*")
    command = [program, "--uri", uri, "--local-files-only", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            _wait(process, port)
            yield uri
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STARTING_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start (status {process.returncode})") from None
            time.sleep(0.1)  # another program starts: there is nothing else to wait for
