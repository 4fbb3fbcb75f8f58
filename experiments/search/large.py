"""A long input: memory over time, time to the first line, killed and resumed.

    python experiments/search/large.py RUN --input FILE [--lines 200000] [--beam 1]

Repeats FILE's lines (each with a word of another line, so that no two are equal for long) up to --lines, starts
`transformer translate` on them, kills it with SIGKILL at a third, resumes it with --resume, and compares some of the
lines with an uninterrupted translation. Prints one JSON object.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import transformer
from transformer.data.corpora.files import read_lines

COMPARED = 2_000
"""Lines translated again separately."""


@dataclass(frozen=True)
class Large:
    """Translate a long file, killed once."""

    run: tyro.conf.Positional[str]
    input: str
    """Sources, plain or .gz."""
    lines: int = 200_000
    beam: int = 1

    def __call__(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as name:
            return self.measure(Path(name))

    def measure(self, folder: Path) -> dict[str, Any]:
        """The whole measurement, in a separate folder."""
        known, draw = read_lines(Path(self.input)), random.Random(1)
        words = [word for line in known for word in line.split()]
        lines = [f"{known[i % len(known)]} {draw.choice(words)}" for i in range(self.lines)]
        (folder / "in").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        part, out = folder / "out.part", folder / "out"
        first = self.watch(folder, stop=lambda: count(part) >= self.lines // 3)
        killed_at = count(part)
        second = self.watch(folder, "--resume", stop=lambda: False)
        found = read_lines(out)
        again = sorted(draw.sample(range(len(lines)), COMPARED))
        model = transformer.load(self.run)
        alone = model.translate([lines[i] for i in again], beam=self.beam)
        return {
            "lines": len(lines),
            "written": len(found),
            "killed_after_lines": killed_at,
            "differ_from_a_translation_by_themselves": sum(
                found[i] != line for i, line in zip(again, alone, strict=True)
            ),
            "compared": COMPARED,
            "sittings": [first, second],
        }

    def watch(self, folder: Path, *more: str, stop: Any) -> dict[str, Any]:
        """One session: memory every five seconds, and the time of the first new line."""
        part, before = folder / "out.part", count(folder / "out.part")
        command = [sys.executable, "-m", "transformer", "translate", self.run, "--beam", str(self.beam)]
        command += ["--input", str(folder / "in"), "--output", str(folder / "out"), *more]
        began, first, rss = time.perf_counter(), None, []
        with subprocess.Popen(command) as process:
            while process.poll() is None:
                time.sleep(0.5)
                now = time.perf_counter() - began
                if first is None and count(part) > before:
                    first = now
                if now > 5 * len(rss):
                    rss.append(memory(process.pid))
                if stop():
                    process.send_signal(signal.SIGKILL)
        seconds = time.perf_counter() - began
        done = count(folder / "out") or count(part)
        return {
            "first_line_after_s": first and round(first, 1),
            "seconds": round(seconds, 1),
            "lines_per_s": round((done - before) / seconds),
            "rss_mib": rss,
        }


def count(path: Path) -> int:
    """Lines of a file; 0 if there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))


def memory(process: int) -> int:
    """Resident memory of a process in MiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    print(json.dumps(tyro.cli(Large)()))
