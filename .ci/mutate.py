"""Does the suite notice? Break the core in one place at a time and see which breaks no test finds.

    python .ci/mutate.py --table                what came out last time, at which commit
    python .ci/mutate.py                        every mutant; --sample 400 --seed 1: so many of them, drawn
    python .ci/mutate.py --only speculation     those whose name contains that
    python .ci/mutate.py --again                those that survived, once more: after a test was sharpened
    python .ci/mutate.py --list                 only name them

A mutant is one small change of one module of ``flare_actors/conversation``: a comparison turned or moved by one, a guard
dropped, a statement (a command, a notice) left out, an early return forgotten, a field of an update left out, a constant,
an enumeration's member or a table's cell changed, plus for minus. It has to be noticed by ``tests/conversation``, or else by
the tests of whole sessions, of actors, of the wire and of the journal, all of which play real conversations.

Every mutant runs in a fork, against a copy of the checkout made at the start. A fork of a process that has collected
``tests/conversation`` only gets other code for the functions that differ; where more than functions differ (a table, a
default, a class), and for what survives that, the core is imported anew, and the wider tests run after its own. Hypothesis
draws the same examples every time and remembers none.

Results are appended to ``--results`` as they come, and a run that was interrupted goes on where it was: a mutant whose module
has not changed is not tried again. A run over everything, or over a sample, is written to ``.ci/mutants.json``, which is kept
with the sources. Survivors that are no fault of the suite are in ``.ci/mutants.toml``, each with its reason. The exit status
is 1 if fewer than 95 % were killed, or one survived that is not in that file.

Why none of the tools on PyPI: mutmut (3.8) mutates functions only, and the core's truth is in its tables; cosmic-ray (8.7) has
no operator that leaves out a statement, an argument or a cell, and edits the checkout itself. This is smaller than their
configuration and operators would be.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, TextIO

from mutants import CORE, Core, Mutant

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("mutants.toml")
TABLE = Path(__file__).with_name("mutants.json")
GOAL = 0.95

TESTS = ("tests/conversation",)
WIDER = ("tests/session", "tests/actors", "tests/wire", "tests/test_journal.py")
"""What plays whole conversations: a mutant that the core's own tests let through has to pass these, too."""
LATE = ("test_core_properties", "test_core_exploration", "test_core_details", "test_values")
"""What takes longest comes last, in the other order: most mutants die before."""
CPU_S = 150
WIDER_CPU_S = 500
"""Several times what the suite takes. What takes more hangs, which is noticed: that is killed, too."""
WALL_S = 1200.0
PACKAGE = CORE.as_posix().replace("/", ".")


# --- Forks --------------------------------------------------------------------------------------------------------------------


def in_forks(
    tasks: Iterable[Any], work: Callable[[Any], int], jobs: int, cpu_s: int
) -> Iterator[tuple[Any, str, float]]:
    """Do ``work`` for each task in a process of its own; gives the task, ``passed``, ``failed`` or ``timeout``, and seconds."""
    waiting = iter(tasks)
    running: dict[int, tuple[Any, float]] = {}
    more = True
    while more or running:
        while more and len(running) < jobs:
            try:
                task = next(waiting)
            except StopIteration:
                more = False
                break
            running[_fork(lambda task=task: work(task), cpu_s)] = (task, time.monotonic())
        if not running:
            return
        done, status = os.waitpid(-1, os.WNOHANG)
        if done in running:
            task, started = running.pop(done)
            code = os.waitstatus_to_exitcode(status)
            outcome = "passed" if code == 0 else "timeout" if code in {-signal.SIGXCPU, -signal.SIGKILL} else "failed"
            yield task, outcome, time.monotonic() - started
            continue
        for child, (_, started) in running.items():
            if time.monotonic() - started > WALL_S:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _fork(work: Callable[[], int], cpu_s: int) -> int:
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        status = work()
    except BaseException:  # noqa: BLE001 - a fork must not return into its parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def _quiet(log: Path) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)


# --- The suite, imported anew -------------------------------------------------------------------------------------------------


class _Loader(importlib.machinery.SourceFileLoader):
    """Gives the mutated code for one module."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._mutated = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the protocol's
        return self._mutated


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(
        self,
        fullname: str,
        path: object,  # noqa: ARG002 - the protocol's
        target: object = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(fullname, self._code.co_filename, self._code)
        return importlib.machinery.ModuleSpec(fullname, loader, origin=self._code.co_filename)


class _SameExamples:
    """A pytest plugin: the quick profile, but the same examples every time, none remembered, and no failure made small."""

    def pytest_configure(self, config: pytest.Config) -> None:
        from hypothesis import Phase, settings

        config.addinivalue_line("markers", "no_cover: pytest-cov's, which is not loaded here")
        quick = settings.get_profile("quick")
        settings.register_profile(
            "mutants", parent=quick, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: (item.path.parent.name != "conversation", item.path.stem in LATE))


def run_suite(copied: Path, plugin: object, *tests: str) -> int:
    """Run ``tests`` in this process; gives pytest's exit status."""
    import pytest

    os.chdir(copied)
    sys.path.insert(0, str(copied))
    os.environ["HYPOTHESIS_PROFILE"] = "quick"
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:xdist"]
    options += [
        "-o",
        "faulthandler_timeout=0",
        "-W",
        "ignore:Module already imported:pytest.PytestAssertRewriteWarning",
    ]
    return int(pytest.main([*options, *tests], plugins=[plugin]))


def import_anew(copied: Path, core: Core, mutant: Mutant | None) -> int:
    """In a fork: the suite against a core that is imported for it."""
    _quiet(copied / f"anew-{os.getpid()}.txt")
    if mutant is not None:
        try:
            code = core.code(mutant)
        except (SyntaxError, ValueError):
            return 1  # The compiler notices.
        sys.meta_path.insert(0, _Finder(f"{PACKAGE}.{mutant.module}", code))
    return run_suite(copied, _SameExamples(), *TESTS, *WIDER)


# --- The suite, collected once ------------------------------------------------------------------------------------------------


class _ManyRuns(_SameExamples):
    """A pytest plugin: once the tests are collected, a fork runs them for each mutant, with other code in some functions."""

    def __init__(self, copied: Path, core: Core, mutants: Sequence[Mutant], jobs: int, results: Path) -> None:
        self._copied = copied
        self._core = core
        self._mutants = mutants
        self._jobs = jobs
        self._results = results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        with self._results.open("a", encoding="utf-8") as results:
            for mutant, outcome, seconds in in_forks(self._mutants, lambda m: self._run(session, m), self._jobs, CPU_S):
                # What survived is imported anew afterwards: the old code may live on in what was made at the import.
                if outcome != "passed":
                    _write(results, mutant, outcome, seconds)
        return True

    def _run(self, session: pytest.Session, mutant: Mutant) -> int:
        _quiet(self._copied / f"fork-{os.getpid()}.txt")
        module = importlib.import_module(f"{PACKAGE}.{mutant.module}")
        for name, code in (self._core.functions(mutant) or {}).items():
            found = attrgetter(name)(module)
            found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            found.__code__ = code
        for index, item in enumerate(session.items):
            following = session.items[index + 1] if index + 1 < len(session.items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return 1
        return 0


def _patchable(core: Core, mutant: Mutant) -> bool:
    """Only functions differ, and such as can be found by their names."""
    try:
        functions = core.functions(mutant)
    except (SyntaxError, ValueError):
        return False
    return functions is not None and not any("<" in name for name in functions)


# --- All of them --------------------------------------------------------------------------------------------------------------


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what came out last time")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--again", action="store_true", help="only those that survived, once more")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--results", type=Path, default=ROOT / ".mutants.jsonl", help="where results are kept (default: %(default)s)"
    )
    return parser.parse_args()


def _known() -> dict[str, str]:
    """Survivors that are no fault of the suite, and why."""
    return {each["name"]: each["reason"] for each in tomllib.loads(KNOWN.read_text(encoding="utf-8"))["survivor"]}


def _write(results: TextIO, mutant: Mutant, outcome: str, seconds: float) -> None:
    result = {"passed": "survived", "failed": "killed"}.get(outcome, outcome)
    line = {"name": mutant.name, "digest": mutant.digest, "result": result, "seconds": round(seconds, 1)}
    results.write(json.dumps(line) + "\n")
    results.flush()


def _earlier(results: Path) -> dict[tuple[str, str], str]:
    """What became of each mutant, the last time that it was tried."""
    if not results.exists():
        return {}
    lines = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return {(line["name"], line["digest"]): line["result"] for line in lines}


def _copied_to(copied: Path) -> Core:
    """The checkout as it is now, so that nobody who works in it meanwhile is in the way."""
    for part in ("flare_actors", "tests", "docs", "benchmarks", "examples"):
        shutil.copytree(ROOT / part, copied / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, copied)
    return Core(copied)


def _drawn(chosen: list[Mutant], number: int, seed: int) -> list[Mutant]:
    """By name, so that a change somewhere in the core leaves most of a draw as it was."""
    return sorted(chosen, key=lambda m: hashlib.sha256(f"{seed} {m.name}".encode()).digest())[:number]


def try_all(copied: Path, core: Core, mutants: Sequence[Mutant], options: argparse.Namespace) -> dict[str, str]:
    """What becomes of each mutant, by its name."""

    def left() -> list[Mutant]:
        earlier = _earlier(options.results)
        return [m for m in mutants if (m.name, m.digest) not in earlier]

    quick = [m for m in left() if _patchable(core, m)]
    print(f"{len(quick)} mutants of functions, {len(left()) - len(quick)} others", flush=True)
    if quick:
        plugin = _ManyRuns(copied, core, quick, options.jobs, options.results)
        child = os.fork()
        if child == 0:
            _quiet(copied / "collected.txt")
            os._exit(run_suite(copied, plugin, *TESTS))
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print((copied / "collected.txt").read_text(encoding="utf-8")[-2000:])
    anew = left()
    print(f"{len(anew)} are imported anew", flush=True)
    with options.results.open("a", encoding="utf-8") as results:
        work = partial(import_anew, copied, core)
        for mutant, outcome, seconds in in_forks(anew, work, options.jobs, WIDER_CPU_S):
            _write(results, mutant, outcome, seconds)
            if outcome == "passed":
                print(f"survived: {mutant.name}", flush=True)
    earlier = _earlier(options.results)
    return {m.name: earlier[m.name, m.digest] for m in mutants}


def _commit() -> str:
    """Of the sources, and whether they were changed since."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    call = [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    described = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603 - our own git
    return described.stdout.strip() or "unknown"


def _tabled(results: dict[str, str], mutants: Sequence[Mutant], population: int, options: argparse.Namespace) -> None:
    modules: dict[str, Counter[str]] = {}
    for mutant in mutants:
        modules.setdefault(mutant.module, Counter())[results[mutant.name]] += 1
    table = {
        "commit": _commit(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "population": population,
        "sample": options.sample,
        "seed": options.seed,
        "modules": {name: dict(sorted(modules[name].items())) for name in sorted(modules)},
        "survivors": sorted(name for name, result in results.items() if result == "survived"),
    }
    TABLE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def show() -> int:
    """Print the table; the exit status."""
    if not TABLE.exists():
        print(
            "no run over everything, or over a sample, has come to its end yet: python .ci/mutate.py --sample 400 --seed 1"
        )
        return 2
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    counts = Counter[str]()
    print(f"{'module':<14} {'mutants':>8} {'noticed':>8} {'survived':>9}")
    for name, figures in table["modules"].items():
        counts.update(figures)
        tried = sum(figures.values())
        print(f"{name:<14} {tried:>8} {tried - figures.get('survived', 0):>8} {figures.get('survived', 0):>9}")
    tried, survived = sum(counts.values()), counts["survived"]
    known = _known()
    unknown = [name for name in table["survivors"] if name not in known]
    score = 1 - survived / tried
    print(f"{'all':<14} {tried:>8} {tried - survived:>8} {survived:>9}  {100 * score:.1f} % noticed ", end="")
    print(f"({counts['timeout']} of them by never coming to an end)")
    drawn = "" if table["sample"] is None else f", drawn with seed {table['seed']}"
    print(f"{tried} of {table['population']} mutants{drawn}; commit {table['commit']}, {table['date']}")
    for name in table["survivors"]:
        print(f"  {name}\n      {known.get(name, 'NOT EXPLAINED')}")
    return int(score < GOAL or bool(unknown))


def main() -> int:
    """See the module's docstring."""
    options = _options()
    if options.table:
        return show()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Path(folder)
        core = _copied_to(copied)
        everything = list(core.mutants())
        chosen = [mutant for mutant in everything if options.only in mutant.name]
        if options.sample is not None:
            chosen = _drawn(chosen, options.sample, options.seed)
        if options.list:
            print(*(mutant.name for mutant in chosen), f"{len(chosen)} of {len(everything)}", sep="\n")
            return 0
        # What every fork would import first; none of it is ours.
        for library in ("attrs", "cattrs", "hypothesis", "hypothesis.stateful", "numpy", "pytest", "structlog", "trio"):
            __import__(library)
        ((_, whole, seconds),) = in_forks([None], partial(import_anew, copied, core), 1, WIDER_CPU_S)
        if whole != "passed":
            (log,) = copied.glob("anew-*.txt")
            print(log.read_text(encoding="utf-8")[-3000:])
            print("the suite itself fails")
            return 2
        print(f"unmutated: {seconds:.0f} s", flush=True)
        if options.again:
            survived = {key for key, result in _earlier(options.results).items() if result == "survived"}
            chosen = [mutant for mutant in chosen if (mutant.name, mutant.digest) in survived]
            _forget(options.results, survived)
        results = try_all(copied, core, chosen, options)
    if options.only or options.again:
        survivors = [name for name, result in results.items() if result == "survived"]
        print(f"{len(results) - len(survivors)} of {len(results)} noticed", *survivors, sep="\n  ")
        return int(bool(survivors))
    _tabled(results, chosen, len(everything), options)
    return show()


def _forget(results: Path, those: set[tuple[str, str]]) -> None:
    lines = results.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if (json.loads(line)["name"], json.loads(line)["digest"]) not in those]
    results.write_text("".join(kept), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
