from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

KEY = "canary-key-4711"


@contextmanager
def serving(*args, **environ):
    """A server in its own process; gives the process and the first line of its stdout."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flare_actors", "serve", "--port", "0", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environ,
    )
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def get(url: str, **options) -> tuple[int, str]:
    with urllib.request.urlopen(url, **options) as answer:
        return answer.status, answer.read().decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_prints_one_url_serves_the_page_and_leaves_when_asked(scripted, number):
    with serving("--config", scripted, "--log-format", "json") as (process, line):
        url = line.strip()
        assert url.startswith("http://localhost:")
        status, page = get(url)
        assert status == 200
        assert "<html" in page
        health = json.loads(get(url + "healthz")[1])
        assert health["demo_brain"] is False
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == 0
        assert out == ""
        events = [json.loads(each)["event"] for each in err.splitlines() if each.startswith("{")]
        assert "ready" in events
        assert "server_stopped" in events


def test_the_key_is_in_no_line(scripted, tmp_path):
    with serving("--config", scripted, "--log-level", "debug", FLARE_ACTORS_API_KEY=KEY) as (process, line):
        assert get(line.strip() + "healthz")[0] == 200
        process.terminate()
        out, err = process.communicate()
        assert KEY not in out + err


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.needs("weights")
def test_with_no_configuration_it_is_the_embedded_engines_and_says_what_they_are():
    with serving() as (process, line):
        assert json.loads(get(line.strip() + "healthz")[1])["demo_brain"] is True
        process.terminate()
        out, err = process.communicate()
        assert process.returncode == 0
        assert out == ""
        assert "a demo brain" in err


def test_for_a_phone_it_serves_https_everywhere_and_says_where(scripted):
    flags = ("--host", "0.0.0.0", "--tls-self-signed", "--api-key-env", "THE_KEY", "--log-format", "terminal")
    with serving("--config", scripted, *flags, THE_KEY=KEY) as (process, line):
        assert line.startswith("https://localhost:")
        assert get(line.strip() + "healthz", context=ssl._create_unverified_context())[0] == 200
        process.terminate()
        _, err = process.communicate()
        assert KEY not in err
        assert all(
            each.startswith("https://") for each in re.findall(r"From other machines of your network: (.*)", err)
        )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--host", "0.0.0.0"), "no API key is set"),
        (("--host", "0.0.0.0", "--api-key-env", "NO_SUCH_KEY"), "the environment variable NO_SUCH_KEY is not set"),
        (("--host", "0.0.0.0", "--api-key-file", "none.txt"), "cannot read"),
        (("--api-key-env", "A", "--api-key-file", "b"), "say one of them"),
        (("--tls-cert", "none.pem"), "no file at"),
        (("--tls-key", "none.pem"), "tls_key needs tls_cert"),
        (("--tls-cert", "x.pem", "--tls-self-signed"), "say one of them"),
        (("--max-sessions", "0"), "--max-sessions: must be > 0, got 0"),
        (("--port", "70000"), "70000 is not in the range"),
        (("--host", "192.0.2.1", "--insecure-no-auth"), "192.0.2.1"),
    ],
)
def test_what_cannot_be_served_is_exit_2_with_what_to_do(run, scripted, flags, told):
    code, out, err = run("serve", "--config", scripted, *flags)
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize(
    "flags", [("--host", "0.0.0.0"), ("--tls-cert", "none.pem"), ("--host", "192.0.2.1", "--insecure-no-auth")]
)
def test_what_cannot_be_served_is_told_before_anything_is_fetched_or_loaded(run, scripted, monkeypatch, flags):
    import flare_actors.config.agent

    def loaded(*_, **__):
        raise AssertionError("it loaded the engines first")

    monkeypatch.setattr(flare_actors.config.agent, "open_agent", loaded)
    assert run("serve", "--config", scripted, *flags)[0] == 2


def test_an_empty_key_file_is_no_key(run, scripted, tmp_path):
    (tmp_path / "key.txt").write_text(" \n", encoding="utf-8")
    code, _, err = run("serve", "--config", scripted, "--api-key-file", tmp_path / "key.txt")
    assert code == 2
    assert "is empty" in err


def test_a_key_file_that_is_no_text_is_told(run, scripted, tmp_path):
    (tmp_path / "key.txt").write_bytes(b"\xff\xfe\xff")
    code, _, err = run("serve", "--config", scripted, "--api-key-file", tmp_path / "key.txt")
    assert code == 2
    assert "is not a text file" in err
