from __future__ import annotations

import sys

import attrs
import pytest

from flare_actors.config import load
from flare_actors.errors import ConfigError
from flare_actors.providers import registry
from flare_actors.providers.provider import Provider

MODULE = """
from contextlib import asynccontextmanager

import attrs

from flare_actors.providers.provider import Provider
from flare_actors.providers.scripted import ScriptedSynthesizer


@attrs.frozen(kw_only=True)
class AcmeSettings:
    speed: float = 1.0
    '''How fast.'''


@asynccontextmanager
async def opened(settings):
    yield ScriptedSynthesizer(chars_per_second=15 * settings.speed)


PROVIDER = Provider(stage="tts", name="acme", summary="Acme's voice", settings=AcmeSettings, open=opened)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install packages as pip would: a module and its metadata."""

    def installed(points: dict[str, str], package: str = "acme-voices"):
        (tmp_path / "acme_voices.py").write_text(MODULE)
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{lines}")
        registry._declared.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield installed
    registry._declared.cache_clear()
    registry._load.cache_clear()
    sys.modules.pop("acme_voices", None)


async def test_an_installed_package_adds_its_provider_by_a_short_name(install, tmp_path):
    install({"tts.acme": "acme_voices:PROVIDER"})
    file = tmp_path / "agent.toml"
    file.write_text('[providers.tts]\nuse = "acme"\nspeed = 2.0\n')

    choice = load(file, catalogue=registry, environ={}).providers["tts"]

    assert registry.names("tts")[0] == "hibari"
    assert "acme" in registry.names("tts")
    async with registry.open_provider("tts", choice.use, choice.settings) as voice:
        assert voice.chars_per_second == 30


def test_a_name_that_two_packages_claim_is_refused_with_both_their_names(install):
    install({"tts.hibari": "acme_voices:PROVIDER"})
    with pytest.raises(ConfigError, match=r"flare-actors and the package acme-voices both provide it; uninstall one"):
        registry.provider("tts", "hibari")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("acme_voices:MISSING", "cannot be imported"),
        ("no_such_module_at_all:PROVIDER", "cannot be imported"),
        ("acme_voices:AcmeSettings", "is no Provider"),
        ("acme_voices:PROVIDER", "is no Provider"),  # it is, but of another name
    ],
)
def test_a_broken_package_is_named_when_its_provider_is_asked_for(install, value, what):
    install({"tts.broken": value})

    assert registry.settings_class("tts", "hibari") is not None  # the others do not suffer
    with pytest.raises(ConfigError, match=f"of the package acme-voices.*{what}"):
        registry.provider("tts", "broken")


def test_entry_points_that_no_file_could_name_are_left_alone(install):
    install({"acme": "acme_voices:PROVIDER", "nose.acme": "acme_voices:PROVIDER", "tts.": "acme_voices:PROVIDER"})

    assert not any("acme" in registry.names(stage) for stage in ("vad", "stt", "llm", "tts"))


def test_a_provider_leaves_the_keys_alone_that_stand_around_every_provider():
    @attrs.frozen
    class Settings:
        fallback: str = ""

    with pytest.raises(ValueError, match="Settings must not have settings called fallback"):
        Provider(stage="tts", name="acme", summary="", settings=Settings, open=lambda _: None)
