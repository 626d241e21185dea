"""One sentence instead of a traceback when the engines of the ``local`` extra are not there."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from types import ModuleType
from typing import Final

from flare_actors.errors import ConfigError

__all__ = ["LOCAL_MODULES", "check_local", "missing_local", "need"]

LOCAL_MODULES: Final = {
    "onnxruntime": "onnxruntime",
    "moonshine_voice": "moonshine-voice",
    "hibari": "hibari-tts",
    "xllamacpp": "xllamacpp",
}
"""Import names of the embedded engines and what pip calls them."""

PLATFORMS: Final = (
    "CPython 3.11 to 3.14 on Linux x86_64 or aarch64 (glibc 2.34+), macOS 15+ on Apple silicon, and Windows x86-64"
)
"""Where all of them have wheels, by the index's own list for the pinned versions; pyproject.toml's markers say the same."""


def need(module: str) -> ModuleType:
    """Import an engine; none of them may call home.

    The wheels of onnxruntime for Linux (1.32; its Privacy.md) send telemetry to their maker unless the environment forbids it
    before the import: ``disable_telemetry_events()`` comes too late. Whoever wants that sets ``ORT_DISABLE_TELEMETRY=0``.

    Raises:
        ConfigError: it is not installed here, or cannot be loaded; says what to do.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise ConfigError(_sentence((LOCAL_MODULES.get(module, module),), str(error))) from error


def missing_local() -> tuple[str, ...]:
    """The embedded engines that are not installed, by their names for pip."""
    return tuple(name for module, name in LOCAL_MODULES.items() if importlib.util.find_spec(module) is None)


def check_local() -> None:
    """Raise one clear ConfigError when an embedded engine is missing; import nothing."""
    missing = missing_local()
    if missing:
        raise ConfigError(_sentence(missing, None))


def _sentence(missing: tuple[str, ...], reason: str | None) -> str:
    here = f"Python {sys.version_info.major}.{sys.version_info.minor} on {platform.system()} {platform.machine()}"
    because = f" ({reason})" if reason else ""
    return (
        f"the embedded engines need {', '.join(missing)}, not usable here{because}: "
        f'run `python -m pip install "flare-actors[local]"`; wheels exist for {PLATFORMS}, this is {here}; '
        "elsewhere choose served engines in agent.toml (docs/providers.md)"
    )
