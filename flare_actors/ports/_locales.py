"""Which languages a provider knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["ALL_LOCALES", "Locales", "locale_supported"]

Locales: TypeAlias = Sequence[str] | None
"""BCP 47 tags or bare languages that a provider supports; None: it cannot tell, everything is tried."""
ALL_LOCALES: Locales = None


def locale_supported(locale: str, locales: Locales) -> bool:
    """``en-US`` is supported by ``en-US`` and by ``en``; ``en`` by any ``en-*``. Case does not matter."""
    if locales is None:
        return True
    wanted = locale.lower().replace("_", "-")
    for each in locales:
        known = each.lower().replace("_", "-")
        if wanted == known or wanted.startswith(known + "-") or known.startswith(wanted + "-"):
            return True
    return False
