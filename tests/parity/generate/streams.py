"""Streams of lines: from the generator through an oracle into `replay`."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from packages import NODE_PACKAGES, python_command

HERE = Path(__file__).resolve().parent
BATCH_REQUESTS = 1000


class Broken(Exception):
    """A tool failed, so nothing is known about the answers."""


@dataclass(frozen=True)
class Oracle:
    """A published package that answers, and the generator profile made for it."""

    profile: str
    title: str
    command: tuple[str, ...]


def oracles() -> dict[str, Oracle]:
    return {
        "js": Oracle("js", "JavaScript 4.4.3",
                     ("node", str(HERE / "oracle.mjs"), "--packages", str(NODE_PACKAGES))),
        "python": Oracle("python", "Python 2.1.0", (*python_command(), str(HERE / "oracle.py"))),
    }


@dataclass(frozen=True)
class Work:
    """The share of one generator process."""

    oracle: Oracle
    seed: str
    requests: int
    part: int
    parts: int
    config: Optional[Path] = None

    def generator(self) -> list[str]:
        command = ["node", str(HERE / "generate.mjs"), "--profile", self.oracle.profile, "--seed", self.seed,
                   "--requests", str(self.requests), "--part", f"{self.part}/{self.parts}"]
        return command + (["--config", str(self.config)] if self.config else [])


@dataclass
class Verdict:
    """The result of `replay` for a batch."""

    mismatches: list[dict[str, Any]] = field(default_factory=list)
    passed: int = 0
    failed: int = 0
    decisions: int = 0


def batches(work: Work, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Answered lines, whole configs at a time. Closing the generator early ends the processes."""
    with subprocess.Popen(work.generator(), stdout=subprocess.PIPE) as generator, \
            subprocess.Popen(work.oracle.command, stdin=generator.stdout, stdout=subprocess.PIPE) as oracle:
        assert generator.stdout and oracle.stdout
        generator.stdout.close()  # the oracle's now; it must see the end when the generator is gone
        ended = False
        try:
            yield from grouped(oracle.stdout, stopped)
            ended = not stopped()
        finally:
            if not ended:
                generator.kill()
                oracle.kill()
    if ended and (generator.returncode or oracle.returncode):
        raise Broken(f"generator exit {generator.returncode}, {work.oracle.title} oracle exit {oracle.returncode}")


def grouped(lines: Any, stopped: Callable[[], bool]) -> Iterator[bytes]:
    batch: list[bytes] = []
    for line in lines:
        if len(batch) >= BATCH_REQUESTS and line.startswith(b'{"kind":"config"'):
            yield b"".join(batch)
            batch = []
            if stopped():
                return
        batch.append(line)
    if batch:
        yield b"".join(batch)


def answer(oracle: Oracle, lines: bytes) -> bytes:
    done = subprocess.run(oracle.command, input=lines, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise Broken(f"{oracle.title} oracle exit {done.returncode}")
    return done.stdout


def replay(command: list[str], lines: bytes) -> Verdict:
    done = subprocess.run([*command, "-", "--json"], input=lines, stdout=subprocess.PIPE, check=False)
    verdict = Verdict()
    summed = False
    for line in done.stdout.split(b"\n"):
        if not line.strip():
            continue
        said = json.loads(line)
        if "passed" in said:
            summed = True
            verdict.passed, verdict.failed, verdict.decisions = said["passed"], said["failed"], said["decisions"]
        else:
            verdict.mismatches.append(said)
    if not summed or done.returncode not in (0, 1) or bool(verdict.failed) != bool(done.returncode):
        raise Broken(f"{command[0]}: exit {done.returncode}, {verdict.passed} passed, {verdict.failed} failed")
    return verdict


def build_replay(root: Path) -> list[str]:
    """The path of the Rust side, built once, as reported by Cargo."""
    command = ["cargo", "build", "--release", "-p", "convert-parity", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=False)
    if built.returncode:
        raise Broken("the replay does not build")
    messages = (json.loads(line) for line in built.stdout.split(b"\n") if line.strip())
    programs = [one["executable"] for one in messages if one.get("executable")]
    if not programs:
        raise Broken("the package convert-parity has no program")
    return [programs[-1]]
