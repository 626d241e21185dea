"""The browser recipe of docs/openai-realtime.md: a page of somebody else's, with a client secret, in a real Chromium."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_openai_clients import ROOT, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.no_cover]  # see conftest.py

KEY = "the-real-key"
SCRIPTED = (ROOT / "examples" / "scripted-tool.toml").read_text(encoding="utf-8")

TALK = """async ({url, key}) => {
  const socket = new WebSocket(`${url}/realtime?model=any`, ["realtime", "openai-insecure-api-key." + key]);
  const events = [];
  const send = (event) => socket.send(JSON.stringify(event));
  return await new Promise((resolve) => {
    socket.onclose = () => resolve({events, protocol: socket.protocol});
    socket.onmessage = ({data}) => {
      const event = JSON.parse(data);
      events.push(event);
      if (event.type === "session.created") {
        const content = [{type: "input_text", text: "Hello."}];
        send({type: "conversation.item.create", item: {type: "message", role: "user", content}});
        send({type: "response.create"});
      }
      if (event.type === "response.done") socket.close();
    };
  });
}"""


class _EmptyPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>theirs</title>")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def a_page_of_theirs(chromium: Path) -> Iterator[tuple[Page, str]]:
    """A page from a server that is not ours, in a browser; and its origin."""
    from playwright.sync_api import sync_playwright

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    origin = f"http://localhost:{web.server_port}"
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.goto(origin)
            yield page, origin
            browser.close()
    finally:
        web.shutdown()
        web.server_close()


def client_secret(url: str, **session: Any) -> str:
    """What the page's own server asks for, with the key."""
    request = urllib.request.Request(
        f"{url.replace('ws', 'http', 1)}/realtime/client_secrets",
        data=json.dumps({"session": {"type": "realtime", **session}}).encode(),
        headers={"Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        value: str = json.load(answer)["value"]
    return value


def test_a_page_of_an_allowed_origin_talks_with_a_secret_and_without_the_key(
    chromium_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with a_page_of_theirs(chromium_path) as (page, origin):
        config = tmp_path / "agent.toml"
        config.write_text(f'{SCRIPTED}\n[server]\napi_key_env = "THE_KEY"\nallowed_origins = ["{origin}"]\n')
        with serving("--config", str(config)) as url:
            secret = client_secret(url, output_modalities=["text"], instructions="Be brief.")
            told = page.evaluate(TALK, {"url": url, "key": secret})
            assert told["protocol"] == "realtime"
            assert told["events"][0]["session"]["instructions"] == "Be brief."
            (message,) = told["events"][-1]["response"]["output"]
            assert message["content"][0]["text"].startswith("I can tell you about the weather")
            wrong = page.evaluate(TALK, {"url": url, "key": secret[:-4] + "AAAA"})
            assert wrong == {"events": [], "protocol": ""}
            page.goto(origin.replace("localhost", "127.0.0.1"))
            assert page.evaluate(TALK, {"url": url, "key": secret})["events"] == []
