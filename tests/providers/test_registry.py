from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import attrs
import pytest

from flare_actors.config import load
from flare_actors.errors import ConfigError, Stage
from flare_actors.ports import LanguageModel, Recognizer, Synthesizer, VoiceActivity
from flare_actors.providers import _extras, local, registry
from flare_actors.providers.catalog import SMOLLM2
from flare_actors.providers.llama_local import LlamaSettings
from flare_actors.providers.scripted_settings import ScriptedAnswers

STAGES: tuple[Stage, ...] = get_args(Stage)
PORTS = {"vad": VoiceActivity, "stt": Recognizer, "llm": LanguageModel, "tts": Synthesizer}


def test_the_defaults_are_the_embedded_engines():
    assert [registry.names(stage)[0] for stage in STAGES] == ["silero", "moonshine", "local", "hibari"]


@pytest.mark.parametrize("stage", STAGES)
async def test_the_scripted_providers_open_without_anything_installed(stage):
    async with registry.open_provider(stage, "scripted") as provider:
        assert isinstance(provider, PORTS[stage])


async def test_a_settings_instance_reaches_the_provider():
    settings = ScriptedAnswers(script=("One.", "Two."), gap_s=0.5)
    async with registry.open_provider("llm", "scripted", settings) as provider:
        assert (provider.script, provider.gap_s) == (("One.", "Two."), 0.5)


@pytest.mark.parametrize(("stage", "name"), [each.split(".") for each in registry.BUILT_IN])
def test_every_setting_has_a_default_and_can_be_written_in_toml(stage, name, tmp_path):
    cls = registry.settings_class(stage, name)
    assert cls is not None
    assert attrs.has(cls)
    file = tmp_path / "agent.toml"
    file.write_text(f'[providers.{stage}]\nuse = "{name}"\n')

    choice = load(file, catalogue=registry, environ={}).providers[stage]

    assert choice.settings == cls()


def test_settings_from_toml_are_checked(tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(
        '[providers.llm]\nuse = "openai"\nbase_url = "http://127.0.0.1:8080/v1"\nmodel = "qwen"\nmax_tokens = 64\n'
        "temperature = 0.3\n\n[providers.llm.extra]\ntop_k = 20\n\n[providers.stt]\npartial_every_s = 1\n"
    )
    config = load(file, catalogue=registry, environ={})
    assert config.providers["llm"].settings.extra == {"top_k": 20}
    assert config.providers["stt"].settings.partial_every_s == 1.0

    file.write_text("[providers.stt]\npartial_load = 2.0\n")
    with pytest.raises(ConfigError, match="partial_load"):
        load(file, catalogue=registry, environ={})
    file.write_text('[providers.llm]\nuse = "openai"\napi_key = "sk-canary"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=registry, environ={})
    assert "canary" not in str(caught.value)


DOCS = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL))
def test_what_the_docs_write_into_agent_toml_is_valid(block, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text(block)

    load(file, catalogue=registry, environ={})


def test_the_docs_name_every_provider():
    for stage, name in (each.split(".") for each in registry.BUILT_IN):
        assert f"`{name}`" in DOCS, stage


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.needs("weights")
def test_the_docs_program_runs(capsys):
    (program,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)

    exec(program, {})  # In this process, where the engines' libraries are loaded already.

    assert "Usage(" in capsys.readouterr().out


def test_unknown_names_are_none_and_not_an_accident():
    assert registry.settings_class("llm", "hibari") is None
    with pytest.raises(KeyError):
        registry.provider("llm", "hibari")


def test_a_model_of_ones_own_needs_no_weights(tmp_path):
    local_llm = registry.provider("llm", "local")

    assert local_llm.needs(LlamaSettings()) == (SMOLLM2,)
    assert local_llm.needs(LlamaSettings(model=tmp_path / "my.gguf")) == ()
    assert registry.provider("llm", "openai").needs(registry.settings_class("llm", "openai")()) == ()


def test_naming_the_providers_loads_none_of_them():
    heavy = ("numpy", "soxr", "httpx2", "onnxruntime", "moonshine_voice", "hibari", "xllamacpp")
    code = f"import sys, flare_actors.providers.registry; print(*[m for m in {heavy} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


# --- All four at once ------------------------------------------------------------------------------------------------------


def test_all_that_is_missing_is_said_in_one_sentence_with_the_platforms_that_have_it(monkeypatch):
    monkeypatch.setattr(_extras.importlib.util, "find_spec", lambda name: None if name != "hibari" else object())
    with pytest.raises(ConfigError) as caught:
        local.check_local()

    message = str(caught.value)
    assert "\n" not in message
    for word in ("onnxruntime", "moonshine-voice", "xllamacpp", 'pip install "flare-actors[local]"', "Linux x86_64"):
        assert word in message
    assert "hibari-tts" not in message


async def test_missing_engines_are_told_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(_extras.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(local, "ensure_weights", None)

    with pytest.raises(ConfigError):
        async with local.open_local():
            pass


@pytest.mark.needs("weights")
async def test_the_four_embedded_engines_open_together():
    llm = LlamaSettings(slots=1, context_tokens=512, max_tokens=8)
    async with local.open_local(instructions="Be short.", llm=llm) as engines:
        assert isinstance(engines.voice_activity, VoiceActivity)
        assert isinstance(engines.recognizer, Recognizer)
        assert isinstance(engines.language_model, LanguageModel)
        assert isinstance(engines.synthesizer, Synthesizer)
