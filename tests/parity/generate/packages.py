"""The published packages that the oracles call: pinned exactly, installed on first use.

They go to `.packages` beside this file, which git ignores, through npm and pip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / ".packages"
NODE_PACKAGES = PACKAGES / "node"
PYTHON_PACKAGES = PACKAGES / "python"
NODE_PIN = HERE / "package.json"
PYTHON_PIN = HERE / "requirements.txt"

# The package's peer dependencies are not published, so npm must not look for them; its bundle needs none.
NPM_INSTALL = ("npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund",
               "--no-package-lock", "--ignore-scripts", "--silent")


def install_node_package() -> None:
    with_pin(NODE_PIN, NODE_PACKAGES, npm_install)


def install_python_package() -> None:
    with_pin(PYTHON_PIN, PYTHON_PACKAGES, pip_install)


def with_pin(pin: Path, folder: Path, install: Callable[[], None]) -> None:
    """Install unless the folder has a complete installation of the current pins."""
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == pin.read_text():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    shutil.copy(pin, mark)


def npm_install() -> None:
    shutil.copy(NODE_PIN, NODE_PACKAGES / "package.json")
    subprocess.run(NPM_INSTALL, cwd=NODE_PACKAGES, check=True, stdout=sys.stderr)


def pip_install() -> None:
    venv.create(PYTHON_PACKAGES, with_pip=True)
    subprocess.run([*python_command(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "-r", str(PYTHON_PIN)], check=True, stdout=sys.stderr)


def python_command() -> list[str]:
    return [str(PYTHON_PACKAGES / "bin" / "python3")]


if __name__ == "__main__":
    install_node_package()
    install_python_package()
