"""What a provider declares of itself, so that ``agent.toml`` can name it.

A package adds one by an entry point of the group ``flare_actors.providers``, called after stage and short name:

    [project.entry-points."flare_actors.providers"]
    "tts.acme" = "acme_voices.flare:PROVIDER"
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import attrs

from flare_actors.errors import Stage
from flare_actors.ports import Locales
from flare_actors.providers.catalog import Weights

__all__ = ["RESERVED", "Provider"]


RESERVED: Final = frozenset({"use", "attempts", "fallback", "switching", "redecoding"})
"""Keys of a provider's table that are not its own settings."""


def _none(_: object) -> tuple[Weights, ...]:
    return ()


@attrs.frozen(kw_only=True)
class Provider:
    """One way to serve a stage.

    It is opened once per process and serves all sessions; what its context manager gives implements the stage's port.
    """

    stage: Stage
    name: str
    """As ``use`` names it."""
    summary: str
    """For people, in a few words."""
    settings: type = attrs.field()
    """The attrs class of its table in ``agent.toml``; every field has a default and a docstring below it."""
    open: Callable[[Any], AbstractAsyncContextManager[object]]
    """Makes it from an instance of ``settings``."""
    locales: Locales = None
    """What it supports, where that can be told before it is loaded."""
    needs: Callable[[Any], tuple[Weights, ...]] = _none
    """The weights that have to be here (``weights.ensure``) before it can be opened with these settings."""

    @settings.validator
    def _leaves_our_keys_alone(self, _: object, cls: type) -> None:
        if taken := RESERVED & {field.name for field in attrs.fields(cls)}:
            raise ValueError(f"{cls.__name__} must not have settings called {', '.join(sorted(taken))}: they are ours")
