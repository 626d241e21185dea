"""What every test shares: Hypothesis profiles, components that may be absent, and the promise that none is in CI.

A test says what it cannot do without: ``@pytest.mark.needs("chromium", "weights")``. Where that is absent, the test is a
counted skip. With ``FLARE_ACTORS_REQUIRE_ALL=1`` (as ``.ci/run`` sets it) every skip is a failure: nothing goes untested
without somebody noticing.

Tests that walk the same lines over and over (properties, simulations, a cancellation at every step) are marked ``no_cover``:
coverage does not trace them, which makes them more than twice as quick. It counts only what the other tests reach.
So are tests whose own work is in a browser, in an engine or in a process of its own. (Nor is that process traced.)

``HYPOTHESIS_PROFILE`` is ``quick`` (the default), ``ci`` or ``nightly``.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import os
import pkgutil
import shutil
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import flare_actors

# No deadlines: two busy cores make any of them a coin toss. CI is derandomised, so that a red build is red again locally.
# Every failure prints the one line (``@reproduce_failure``) that has it again.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _COMMON, max_examples=40)
settings.register_profile("ci", _COMMON, max_examples=100, derandomize=True)
settings.register_profile("nightly", _COMMON, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

REQUIRE_ALL = os.environ.get("FLARE_ACTORS_REQUIRE_ALL") == "1"

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@functools.cache
def _missing_browser() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed (extra `test`)"
    if not any(map(shutil.which, _BROWSERS)):
        return "no Chromium on the PATH (apt install chromium)"
    return None


@functools.cache
def _missing_engines() -> str | None:
    absent = [
        name
        for name in ("hibari", "moonshine_voice", "onnxruntime", "xllamacpp")
        if importlib.util.find_spec(name) is None
    ]
    return f"the embedded engines are not installed (extra `local`): {', '.join(absent)}" if absent else None


@functools.cache
def _missing_weights() -> str | None:
    if reason := _missing_engines():
        return reason
    from flare_actors.providers import weights

    absent = [model.name for model in weights.MODELS if not weights.is_present(model)]
    return f"weights are not fetched (flare-actors models fetch): {', '.join(absent)}" if absent else None


@functools.cache
def _missing_smart_turn() -> str | None:
    from flare_actors.providers import weights

    here = weights.is_present(weights.by_name("smart-turn"))
    return None if here else "weights are not fetched (flare-actors models fetch smart-turn)"


@functools.cache
def _missing_wyoming() -> str | None:
    from benchmarks import wyoming_servers

    return None if wyoming_servers.installed() else "no Wyoming servers to talk to (python .ci/wyoming.py)"


_COMPONENTS: dict[str, Callable[[], str | None]] = {
    "chromium": _missing_browser,
    "local": _missing_engines,
    "smart-turn": _missing_smart_turn,
    "weights": _missing_weights,
    "wyoming": _missing_wyoming,
}


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    _skip_without_components(item)
    with _tracing_of(item):
        return (yield)


def _skip_without_components(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for component in mark.args:
            if component not in _COMPONENTS:
                pytest.fail(f"needs({component!r}): known components are {', '.join(_COMPONENTS)}", pytrace=False)
            if reason := _COMPONENTS[component]():
                pytest.skip(reason)


@contextlib.contextmanager
def _tracing_of(item: pytest.Item) -> Generator[None, None, None]:
    """``no_cover`` for a test's fixtures too, and in xdist's processes.

    There, below the coverage that pytest-cov pauses, is the one of any subprocess (``patch`` in pyproject.toml), which goes on.
    """
    if item.get_closest_marker("no_cover") is None:
        yield
        return
    with _untraced():
        yield


@contextlib.contextmanager
def _untraced() -> Generator[None, None, None]:
    """Coverage stands still, here and in the processes that are started meanwhile."""
    trace, in_threads = sys.gettrace(), threading.gettrace()
    in_processes = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type] # that is how it is switched off
    try:
        yield
    finally:
        if in_processes is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = in_processes
        sys.settrace(trace)
        threading.settrace(in_threads)  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _tracing_of(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without searching for garbage and without coverage: of the latter matters what is ours, and imported before.

    What was imported and collected stays, and no search looks at it again. Many a test collects garbage, to see that nothing
    was left open: among millions of objects that takes half a second.
    """
    if sys.gettrace() is not None:
        for module in pkgutil.walk_packages(flare_actors.__path__, "flare_actors."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    gc.disable()
    try:
        with _untraced():
            return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


_PACED = {"web", "test_end_to_end.py"}
"""Tests that mostly wait, for a browser or for as long as somebody speaks."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Paced tests come first: while one process waits, the others have the cores, and none is left waiting at the end."""
    items.sort(key=lambda item: _PACED.isdisjoint(item.path.parts))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.longrepr = f"FLARE_ACTORS_REQUIRE_ALL=1 and this did not run. {why}"


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", ()))
    if skipped:
        terminalreporter.write_line(f"{skipped} skipped; .ci/run installs what they need and lets none skip")


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The browser for tests that are marked ``needs("chromium")``."""
    return next(Path(found) for name in _BROWSERS if (found := shutil.which(name)))
