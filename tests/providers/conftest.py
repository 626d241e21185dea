"""Engines that are loaded once for all tests of this room. A limiter and a lock of Trio's belong to no run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flare_actors.providers.hibari import HibariSynthesizer
from flare_actors.providers.moonshine import MoonshineRecognizer
from flare_actors.providers.silero import SileroVoiceActivity


@pytest.fixture(scope="session")
def moonshine() -> Iterator[MoonshineRecognizer]:
    recognizer = MoonshineRecognizer()
    yield recognizer
    recognizer.close()


@pytest.fixture(scope="session")
def hibari() -> HibariSynthesizer:
    return HibariSynthesizer()


@pytest.fixture(scope="session")
def silero() -> SileroVoiceActivity:
    return SileroVoiceActivity()
