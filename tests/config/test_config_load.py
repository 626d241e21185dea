from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

import attrs
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.config import Config, Flag, dump, load
from flare_actors.config.load import DEFAULT_WELCOME
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ConfigError


@attrs.frozen(kw_only=True)
class Engine:
    pass


@attrs.frozen(kw_only=True)
class Remote:
    base_url: str
    temperature: float = attrs.field(default=0.2, validator=attrs.validators.ge(0))
    weights: Path | None = None
    api_key_env: str | None = None
    token: str = attrs.field(default="longenough", validator=attrs.validators.min_len(8))
    headers: dict[str, str] = attrs.field(factory=dict)
    stop: tuple[str, ...] = ()
    tokens: int = 10
    context: int = attrs.field(default=100)
    style: Literal["plain", "chatty"] = "plain"

    @context.validator
    def _holds_the_tokens(self, _, value):
        if self is not None and value < 2 * self.tokens:
            raise ValueError("must be at least twice tokens")

    def __attrs_post_init__(self):
        if self.style == "chatty" and self.tokens == 49:
            raise ValueError("no chatting with 49 tokens")


class ToyCatalogue:
    """Two language models, one engine of everything else."""

    _classes = {"embedded": Engine, "remote": Remote}  # noqa: RUF012 # never changed

    def settings_class(self, stage: str, name: str) -> type | None:
        return self._classes.get(name) if name in self.names(stage) else None

    def names(self, stage: str) -> tuple[str, ...]:
        return ("embedded", "remote") if stage == "llm" else ("embedded",)

    def locales(self, stage: str, name: str) -> tuple[str, ...] | None:
        return ("en",) if stage in {"stt", "tts"} else None


@pytest.fixture
def catalogue() -> ToyCatalogue:
    return ToyCatalogue()


STAGES = ("vad", "stt", "llm", "tts")


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "agent.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def refused(file, catalogue, **layers) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, catalogue=catalogue, **layers)
    return str(caught.value).splitlines()


def test_nothing_at_all_is_the_embedded_agent_with_every_default(catalogue):
    config = load(None, catalogue=catalogue)
    assert config.conversation == Settings(welcome=DEFAULT_WELCOME)
    assert {stage: choice.use for stage, choice in config.providers.items()} == dict.fromkeys(STAGES, "embedded")
    assert config.server.host == "127.0.0.1"


def test_a_locale_that_an_engine_does_not_know_is_told_before_anything_is_loaded(write, catalogue):
    file = write('[conversation]\nlocale = "tr-TR"')
    assert refused(file, catalogue) == [
        f"{file}: [conversation] locale: embedded ([providers.{stage}]) knows en; choose one of these, or another "
        "provider, got 'tr-TR'"
        for stage in ("stt", "tts")
    ]


def test_a_voice_that_is_not_used_need_not_know_the_locale(write, catalogue):
    file = write('[conversation]\nlocale = "tr-TR"\noutput = "text"')
    assert len(refused(file, catalogue)) == 1


def test_a_later_layer_wins_over_an_earlier_one(write, catalogue):
    file = write('[server]\nhost = "::1"\nport = 1\n[server.limits]\nmax_sessions = 1')
    config = load(
        file,
        catalogue=catalogue,
        environ={"FLARE_ACTORS_SERVER__PORT": "2", "FLARE_ACTORS_SERVER__LIMITS__MAX_SESSIONS": "2"},
        flags=(Flag(("server", "limits", "max_sessions"), 3, "--max-sessions"),),
    )
    assert (config.server.host, config.server.port, config.server.limits.max_sessions) == ("::1", 2, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[conversation]\nendpoint_s = -1", "[conversation] endpoint_s: must be > 0, got -1"),
        ("[conversation]\nendpoint_s = 11", "[conversation] endpoint_s: must be <= 10, got 11"),
        ('[conversation]\nendpoint_s = "0.5"', "[conversation] endpoint_s: must be a number, got '0.5'"),
        ("[conversation]\nendpoint_s = true", "[conversation] endpoint_s: must be a number, got true"),
        ("[conversation]\nendpoint_s = nan", "[conversation] endpoint_s: must be a finite number, got nan"),
        (
            "[conversation]\nidle_end_s = false",
            "[conversation] idle_end_s: must be a number, got false (or 'none' or 'never')",
        ),
        ("[conversation]\nwelcome = 5", "[conversation] welcome: must be a text, got 5"),
        ('[conversation]\nlocale = "e"', "[conversation] locale: must have a length >= 2, got 'e'"),
        (
            '[conversation]\nbarge_in = "gaurded"',
            "[conversation] barge_in: must be one of 'full', 'guarded', 'later', 'off', got 'gaurded'; did you mean 'guarded'?",
        ),
        ("[conversation]\nendpont_s = 1", "[conversation] endpont_s: unknown key; did you mean 'endpoint_s'?"),
        ("[conversation.timeouts]\nconnect_s = 0", "[conversation.timeouts] connect_s: must be > 0, got 0"),
        ("[conversation.limits]\nsay_queue = 2.5", "[conversation.limits] say_queue: must be a whole number, got 2.5"),
        ("conversation = 1", "[conversation]: must be a table"),
        ("[conversation]\ntimeouts = 1", "[conversation] timeouts: must be a table, got 1"),
        (
            "[conversation]\ntool_chars = 9",
            "[conversation] tool_chars: unknown key here; it belongs into [conversation.limits]",
        ),
        ("[server]\nmax_sessions = 9", "[server] max_sessions: unknown key here; it belongs into [server.limits]"),
        ('[agent]\nwelcome = "Hi"', "[agent] welcome: unknown key here; it belongs into [conversation]"),
        ("[agnet]", "[agnet]: unknown table; did you mean 'agent'?"),
        ("[server]\nport = 99999", "[server] port: must be <= 65535, got 99999"),
        ("[server.limits]\nmax_sessions = 0", "[server.limits] max_sessions: must be > 0, got 0"),
        ('[server]\nallowed_origins = "x"', "[server] allowed_origins: must be a list, got 'x'"),
        ("[server]\nallowed_origins = [1]", "[server] allowed_origins: must be a text, got 1"),
        ("[server]\ntls_cert = 1", "[server] tls_cert: must be a path, got 1"),
        ("[server]\ninsecure_no_auth = 1", "[server] insecure_no_auth: must be true or false, got 1"),
        ("providers = 1", "[providers]: must be a table"),
        ("[providers.lln]", "[providers] lln: unknown stage; did you mean 'llm'?"),
        ("[providers]\nllm = 1", '[providers] llm: must be a table, with use = "NAME"'),
        (
            '[providers.tts]\nuse = "embeded"',
            "[providers.tts] use: no such provider: 'embeded'; did you mean 'embedded'?",
        ),
        ("[providers.tts]\nuse = []", "[providers.tts] use: no such provider: []; known are embedded"),
        ("[providers.tts]\nvoice = 1", "[providers.tts] voice: unknown key; nothing can be set here"),
        ('[providers.llm]\nuse = "remote"', "[providers.llm] base_url: is missing"),
        (
            '[providers.llm]\nuse = "remote"\nbase_url = "x"\ntemperature = -1',
            "[providers.llm] temperature: must be >= 0, got -1",
        ),
        (
            '[providers.llm]\nuse = "remote"\nbase_url = "x"\ntokens = 90',
            "[providers.llm] context: must be at least twice tokens",
        ),
        (
            '[providers.llm]\nuse = "remote"\nbase_url = "x"\nstyle = 5',
            "[providers.llm] style: must be one of 'plain', 'chatty', got 5",
        ),
        (
            '[providers.llm]\nuse = "remote"\nbase_url = "x"\nheaders = 5',
            "[providers.llm] headers: must be a table, got 5",
        ),
    ],
)
def test_a_mistake_is_told_with_file_key_value_and_fix(write, catalogue, text, told):
    file = write(text)
    (line,) = refused(file, catalogue)
    assert line == f"{file}: {told}"


def test_all_mistakes_are_told_at_once(write, catalogue):
    lines = refused(
        write(
            "[agent]\ninstructions = 1\n[conversation]\nendpoint_s = -1\nlocale = ''\nx = 1\n[server]\nport = -1\n[y]"
        ),
        catalogue,
        environ={"FLARE_ACTORS_SERVER__LIMITS__DRAIN_S": "soon"},
        flags=(Flag(("logs", "format"), "jsn", "--log-format"),),
    )
    assert len(lines) == 8


def test_a_wrong_variable_is_named_instead_of_the_file(write, catalogue):
    lines = refused(write("[server]\nport = 1"), catalogue, environ={"FLARE_ACTORS_SERVER__PORT": "many"})
    assert lines == ["FLARE_ACTORS_SERVER__PORT: must be a whole number, got 'many'"]


def test_a_wrong_flag_is_named_instead_of_the_file(write, catalogue):
    lines = refused(write("[server]\nport = 1"), catalogue, flags=(Flag(("server", "port"), -5, "--port"),))
    assert lines == ["--port: must be >= 0, got -5"]


def test_one_underscore_too_few_is_no_silence(catalogue):
    lines = refused(None, catalogue, environ={"FLARE_ACTORS_SERVER_PORT": "1"})
    assert lines == ["FLARE_ACTORS_SERVER_PORT: table and key are parted by two underscores: FLARE_ACTORS_SERVER__PORT"]


def test_a_variable_below_a_value_of_the_file_is_told(write, catalogue):
    lines = refused(write("server = 1"), catalogue, environ={"FLARE_ACTORS_SERVER__PORT": "1"})
    assert "FLARE_ACTORS_SERVER__PORT: cannot be set: the file has a value, not a table, above it" in lines


def test_variables_are_read_as_what_their_settings_are(catalogue):
    config = load(
        None,
        catalogue=catalogue,
        environ={
            "HOME": "/",
            "FLARE_ACTORS_API_KEY": "not a setting",
            "FLARE_ACTORS_CONVERSATION__ENDPOINT_S": "0.7",
            "FLARE_ACTORS_CONVERSATION__IDLE_END_S": "never",
            "FLARE_ACTORS_CONVERSATION__BARGE_IN": "off",
            "FLARE_ACTORS_CONVERSATION__WELCOME": "",
            "FLARE_ACTORS_SERVER__INSECURE_NO_AUTH": "yes",
            "FLARE_ACTORS_SERVER__ALLOWED_ORIGINS": "https://a.example, https://b.example",
            "FLARE_ACTORS_PROVIDERS__LLM__USE": "remote",
            "FLARE_ACTORS_PROVIDERS__LLM__BASE_URL": "http://127.0.0.1:1",
            "FLARE_ACTORS_PROVIDERS__LLM__TEMPERATURE": "1",
        },
    )
    assert config.conversation.endpoint_s == 0.7
    assert config.conversation.idle_end_s is None
    assert config.conversation.welcome is None
    assert config.server.insecure_no_auth is True
    assert config.server.allowed_origins == ("https://a.example", "https://b.example")
    assert config.providers["llm"].settings.temperature == 1.0


def test_relative_paths_are_relative_to_the_file(write, catalogue):
    file = write('[server]\ntls_cert = "cert.pem"\ntls_key = "/abs.pem"')
    server = load(file, catalogue=catalogue).server
    assert server.tls_cert == file.parent / "cert.pem"
    assert server.tls_key == Path("/abs.pem")


def test_a_key_put_where_its_variables_name_belongs_is_not_repeated(write, catalogue):
    (line,) = refused(write('[server]\napi_key_env = "sk-canary-1"'), catalogue)
    assert "canary" not in line
    assert "must be the name of an environment variable" in line


@pytest.mark.parametrize("table", ["server", "providers.llm"])
def test_a_secret_in_the_file_is_refused_and_not_repeated(write, catalogue, table):
    (line,) = refused(write(f'[{table}]\napi_key = "sk-canary-1"'), catalogue)
    assert "canary" not in line
    assert "api_key_env" in line


@pytest.mark.parametrize("value", ['["sk-canary-1"]', '"canary"'])
def test_a_secret_that_is_wrong_is_not_shown(write, catalogue, value):
    (line,) = refused(write(f'[providers.llm]\nuse = "remote"\nbase_url = "x"\ntoken = {value}'), catalogue)
    assert "[providers.llm] token: " in line
    assert "canary" not in line
    assert "not shown" in line


def test_settings_that_only_fail_together_are_told_for_their_table(write, catalogue):
    (line,) = refused(
        write('[providers.llm]\nuse = "remote"\nbase_url = "x"\nstyle = "chatty"\ntokens = 49'), catalogue
    )
    assert "[providers] llm: these settings do not fit together" in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[agent", "is not valid TOML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x = " + b"[" * 5000, "TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_told(tmp_path, catalogue, content, told):
    file = tmp_path / "agent.toml"
    file.write_bytes(content)
    (line,) = refused(file, catalogue)
    assert line.startswith(f"{file}: ")
    assert told in line or "nested too deeply" in line


def test_a_missing_file_is_told(tmp_path, catalogue):
    (line,) = refused(tmp_path / "none.toml", catalogue)
    assert "there is no such file" in line


def test_a_folder_is_no_file(tmp_path, catalogue):
    (line,) = refused(tmp_path, catalogue)
    assert "cannot be read" in line


def test_what_is_dumped_loads_as_the_same(write, catalogue):
    config = load(
        write(
            """
            [agent]
            instructions = "Sei freundlich. 🙂"
            [conversation]
            welcome = "Hello"
            idle_end_s = "never"
            barge_in = "full"
            [conversation.limits]
            say_queue = 3
            [providers.llm]
            use = "remote"
            base_url = "http://127.0.0.1:1/v1"
            weights = "w.gguf"
            stop = ["a", "b"]
            headers = { x = "y" }
            [server]
            allowed_origins = ["https://a.example"]
            [logs]
            speech = true
            """
        ),
        catalogue=catalogue,
    )
    again = load(write(tomli_w.dumps(dump(config))), catalogue=catalogue)
    assert again == config


_keys = st.sampled_from(
    ["agent", "conversation", "providers", "server", "logs", "llm", "use", "timeouts", "connect_s", "port", "api_key"]
) | st.text(string.ascii_lowercase, min_size=1, max_size=4)
_values = st.recursive(
    st.none().map(lambda _: "never") | st.booleans() | st.integers() | st.floats() | st.text() | st.just("remote"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def junkyard(tmp_path_factory):
    """One folder for all examples of a property."""
    return tmp_path_factory.mktemp("junk")


def outcome(file: Path | None, **layers) -> Config | str:
    """What comes of it; anything but a configuration or a ConfigError flies."""
    try:
        return load(file, catalogue=ToyCatalogue(), **layers)
    except ConfigError as wrong:
        return str(wrong)


@given(data=st.dictionaries(_keys, _values, max_size=5))
def test_junk_gives_a_configuration_or_lines_that_name_the_file(junkyard, data):
    file = junkyard / "agent.toml"
    file.write_text(tomli_w.dumps(data), encoding="utf-8")
    made = outcome(file)
    assert isinstance(made, Config) or str(file) in made


@given(variables=st.dictionaries(_keys.map(str.upper), st.text(string.printable), max_size=4))
def test_junk_variables_give_a_configuration_or_lines_that_name_one(variables):
    made = outcome(None, environ={f"FLARE_ACTORS_{a}__{b}": text for a, text in variables.items() for b in variables})
    assert isinstance(made, Config) or "FLARE_ACTORS_" in made or "defaults: " in made
