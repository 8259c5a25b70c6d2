"""The published packages that the oracles call: pinned exactly, installed on first use.

They go to `.packages` beside this file, which git ignores, through npm and pip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = HERE / ".packages"
NODE_PACKAGES = PACKAGES / "node"
PYTHON_PACKAGES = PACKAGES / "python"
PYTHON_PIN = HERE / "requirements.txt"

# The package's peers are not published, so npm must not look for them; its bundle needs none.
NPM_INSTALL = ("npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund",
               "--no-package-lock", "--ignore-scripts", "--silent")


def install_node_package() -> None:
    if (NODE_PACKAGES / "node_modules" / "@convertcom").is_dir():
        return
    NODE_PACKAGES.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "package.json", NODE_PACKAGES / "package.json")
    subprocess.run(NPM_INSTALL, cwd=NODE_PACKAGES, check=True, stdout=sys.stderr)


def install_python_package() -> None:
    done = PYTHON_PACKAGES / "installed"
    if done.exists():
        return
    venv.create(PYTHON_PACKAGES, with_pip=True, clear=True)
    subprocess.run([*python_command(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "-r", str(PYTHON_PIN)], check=True, stdout=sys.stderr)
    done.touch()


def python_command() -> list[str]:
    return [str(PYTHON_PACKAGES / "bin" / "python3")]


if __name__ == "__main__":
    install_node_package()
    install_python_package()
