"""Every example is run as its reader would run it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from flare_actors import ToolSpec, run_session
from flare_actors.config import load
from flare_actors.config.agent import open_agent
from flare_actors.conversation.events import ConversationStartRequested, TextReceived, ToolResultReceived, ToolsOffered
from flare_actors.conversation.notices import ToolCallRequested, TurnEnded
from flare_actors.providers import registry
from flare_actors.testing import memory_link

EXAMPLES = Path(__file__).parent.parent / "examples"

RUNS = {
    "embed_in_your_server.py": (["--demo"], "heard 100 ms of an answer"),
    "tools.py": ([], "agent: One moment, please. I only know Berlin: the sky is blue."),
    "custom_provider.py": ([], "heard: library friendly a is Trio it is."),
}


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=EXAMPLES.parent,
    )


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.parametrize("name", sorted(RUNS))
def test_an_example_does_what_its_docstring_says(name: str) -> None:
    arguments, expected = RUNS[name]
    done = run(name, *arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert done.stderr == ""


@pytest.mark.no_cover
def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("embed_in_your_server.py", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cannot listen on port {port}: ")
    assert done.stderr.endswith("use another --port\n")
    assert done.stderr.count("\n") == 1


async def test_the_scripted_tool_is_called_when_the_client_offers_it(autojump_clock: object) -> None:
    async with open_agent(load(EXAMPLES / "scripted-tool.toml", catalogue=registry)) as agent:
        client, link = memory_link()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            nursery.start_soon(run_session, link, agent)
            await client.send(ConversationStartRequested())
            await client.send(TextReceived(text="Weather?"))
            assert "if you offer me a tool" in (await client.wait_for(TurnEnded)).heard
            await client.send(ToolsOffered(tools=(ToolSpec(name="get_weather"),)))
            await client.send(TextReceived(text="Weather?"))
            call = await client.wait_for(ToolCallRequested)
            assert call.arguments == '{"city": "Berlin"}'
            await client.send(ToolResultReceived(call=call.call, output="sunny"))
            assert (await client.wait_for(TurnEnded, count=2)).heard == "In Berlin it is like this: sunny."
            client.close()


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(RUNS)
