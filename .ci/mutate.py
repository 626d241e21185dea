"""Does the suite notice? Break the core in one place at a time and see which breaks no test finds.

    python .ci/mutate.py                        every mutant (hours); --sample 400 --seed 1: so many of them, drawn
    python .ci/mutate.py --only speculation     those whose name contains that
    python .ci/mutate.py --again                those that survived, once more: after a test was sharpened
    python .ci/mutate.py --list                 only name them

A mutant is one small change of one module of ``flare_actors/conversation``: a comparison turned or moved by one, a guard
dropped, a statement (a command, a notice) left out, an early return forgotten, a field of an update left out, a constant,
an enumeration's member or a table's cell changed, plus for minus. Every one runs in a process of its own, against a copy of
the checkout made at the start; the tests of the core come first, those of whole sessions only for what survives them.
Hypothesis draws the same examples every time and remembers none.

Results are appended to ``--results`` as they come, and a run that was interrupted goes on where it was: a mutant whose module
has not changed is not tried again. Survivors that are no fault of the suite are in ``.ci/mutants.toml``, each with its
reason. The exit status is 1 if fewer than 95 % were killed, or one survived that is not in that file.

Why none of the tools on PyPI: mutmut (3.8) mutates functions only, and the core's truth is in its tables; cosmic-ray (8.7) has
no operator that leaves out a statement, an argument or a cell, and edits the checkout itself. This is smaller than their
configuration and operators would be.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import CodeType

from mutants import CORE, Core, Mutant

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("mutants.toml")
GOAL = 0.95

# The quick ones first: most mutants die there.
CONVERSATION = Path("tests/conversation")
STAGES: dict[str, list[str]] = {
    "core examples": [f"{CONVERSATION}/test_{name}.py" for name in (
        "table_and_diagram", "behaviour_table", "turn_taking", "coming_going_and_failing", "playback_and_heard", "history",
        "phrases", "timeline", "endpointing", "core_details", "speculation",
    )],
    "core properties": [str(CONVERSATION)],
    "values": ["tests/test_journal.py", "tests/wire", "tests/config", "tests/logs/test_canary.py"],
    "sessions": [f"tests/session/test_{name}.py" for name in (
        "conversation_in_virtual_time", "answering_ahead", "interruptions", "playback_reports", "links", "provider_faults",
    )],
}  # fmt: skip
STAGE_S = 240.0
"""More than any stage takes on a busy machine. What takes longer hangs, which is noticed: that is killed, too."""


# --- Trying one ---------------------------------------------------------------------------------------------------------------


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
    """A pytest plugin: the quick profile, but the same examples every time, and none remembered."""

    def pytest_configure(self) -> None:
        from hypothesis import settings

        quick = settings.get_profile("quick")
        settings.register_profile("mutants", parent=quick, derandomize=True, database=None)
        settings.load_profile("mutants")


def _child(copied: Path, tests: Sequence[str], code: tuple[str, CodeType] | None, log: Path) -> int:
    """In a process of its own: run some tests with one module mutated. Gives pytest's exit status."""
    import pytest

    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(copied)
    sys.path.insert(0, str(copied))
    os.environ["HYPOTHESIS_PROFILE"] = "quick"
    if code is not None:
        sys.meta_path.insert(0, _Finder(*code))
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:cov", "-o", "faulthandler_timeout=0"]
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]  # The parent did, on purpose.
    return pytest.main([*options, *tests], plugins=[_SameExamples()])


def run_stage(copied: Path, tests: Sequence[str], code: tuple[str, CodeType] | None) -> str:
    """``passed``, ``failed`` or ``timeout``."""
    log = copied / "last-run.txt"
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = _child(copied, tests, code, log)
        except BaseException:  # noqa: BLE001 - a fork must not return into its parent's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    until = time.monotonic() + STAGE_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "passed" if os.waitstatus_to_exitcode(status) == 0 else "failed"
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "timeout"


def verdict(copied: Path, core: Core, mutant: Mutant) -> dict[str, object]:
    """Which stage of the suite notices a mutant, if any."""
    started = time.monotonic()
    try:
        code = (f"{CORE.as_posix().replace('/', '.')}.{mutant.module}", core.code(mutant))
    except (SyntaxError, ValueError) as exc:
        return {
            "name": mutant.name,
            "digest": mutant.digest,
            "result": "killed",
            "by": f"compiler: {exc}",
            "seconds": 0,
        }
    result, by = "survived", ""
    for stage, tests in STAGES.items():
        outcome = run_stage(copied, tests, code)
        if outcome != "passed":
            result, by = ("killed" if outcome == "failed" else "timeout"), stage
            break
    seconds = round(time.monotonic() - started, 1)
    return {"name": mutant.name, "digest": mutant.digest, "result": result, "by": by, "seconds": seconds}


# --- All of them --------------------------------------------------------------------------------------------------------------


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many mutants, drawn; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--again", action="store_true", help="only those that survived, once more")
    parser.add_argument("--list", action="store_true", help="only name the mutants")
    parser.add_argument(
        "--results", type=Path, default=ROOT / ".mutants.jsonl", help="where results are kept (default: %(default)s)"
    )
    return parser.parse_args()


def _known() -> dict[str, str]:
    """Survivors that are no fault of the suite, and why."""
    if not KNOWN.exists():
        return {}
    return {each["name"]: each["reason"] for each in tomllib.loads(KNOWN.read_text(encoding="utf-8"))["survivor"]}


def _earlier(results: Path) -> dict[tuple[str, str], dict[str, object]]:
    if not results.exists():
        return {}
    lines = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return {(line["name"], line["digest"]): line for line in lines}


def _summary(tried: list[dict[str, object]], population: int) -> int:
    counts = Counter(str(each["result"]) for each in tried)
    killed = counts["killed"] + counts["timeout"]
    known = _known()
    survivors = sorted(str(each["name"]) for each in tried if each["result"] == "survived")
    unknown = [name for name in survivors if name not in known]
    score = killed / len(tried) if tried else 1.0
    by = Counter(str(each["by"]).split(":")[0] for each in tried if each["by"])
    print(f"\n{len(tried)} of {population} mutants: {counts['killed']} killed, {counts['timeout']} timeouts, ", end="")
    print(f"{counts['survived']} survived ({len(unknown)} of them not in {KNOWN.name})")
    print(f"noticed: {100 * score:.1f} %; by", ", ".join(f"{stage} {count}" for stage, count in by.most_common()))
    for name in survivors:
        print(f"  {name}\n      {known.get(name, 'NOT EXPLAINED')}")
    return int(score < GOAL or bool(unknown))


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


def _suite_is_whole(copied: Path) -> bool:
    for stage, tests in STAGES.items():
        started = time.monotonic()
        if run_stage(copied, tests, None) != "passed":
            print((copied / "last-run.txt").read_text(encoding="utf-8")[-3000:])
            print(f"the suite itself fails: {stage}")
            return False
        print(f"unmutated: {stage}: {time.monotonic() - started:.0f} s", flush=True)
    return True


def main() -> int:
    """See the module's docstring."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copied = Path(folder)
        core = _copied_to(copied)
        everything = list(core.mutants())
        chosen = [mutant for mutant in everything if options.only in mutant.name]
        population = len(chosen)
        if options.sample is not None:
            chosen = _drawn(chosen, options.sample, options.seed)
        if options.list:
            print(*(mutant.name for mutant in chosen), f"{len(chosen)} of {len(everything)}", sep="\n")
            return 0
        # What every child would import first; none of it is ours.
        for library in ("attrs", "cattrs", "hypothesis", "hypothesis.stateful", "numpy", "pytest", "structlog", "trio"):
            __import__(library)
        if not _suite_is_whole(copied):
            return 2
        earlier = _earlier(options.results)
        if options.again:
            latest = {name: found["result"] for (name, _), found in earlier.items()}
            chosen = [mutant for mutant in chosen if latest.get(mutant.name) == "survived"]
        tried: list[dict[str, object]] = []
        with options.results.open("a", encoding="utf-8") as results:
            for number, mutant in enumerate(chosen, 1):
                found = earlier.get((mutant.name, mutant.digest))
                if found is None or options.again:
                    found = verdict(copied, core, mutant)
                    results.write(json.dumps(found) + "\n")
                    results.flush()
                    if found["result"] != "killed":
                        print(f"{number}/{len(chosen)} {found['result']}: {mutant.name}", flush=True)
                tried.append(found)
        return _summary(tried, population)


if __name__ == "__main__":
    sys.exit(main())
