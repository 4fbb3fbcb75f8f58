"""Two or more commands run alternately, A B B A ..., so that a speed is a ratio within one run, not a figure of one
machine.

    python experiments/throughput/compare.py --runs 5 \
        ours=".venv/bin/python experiments/throughput/ours.py multi30k_ende_paper" \
        peer="OMP_NUM_THREADS=2 path/to/python peer.py"

Each command prints, as its last line, a JSON object with `target_tokens_per_s`. The first run of every command is not
counted (it fills caches). Medians, the ratio to the last command named, and all that was printed are kept with --save.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tyro


@dataclass(frozen=True)
class Compare:
    """Run the commands alternately and compare their speeds."""

    sides: tyro.conf.Positional[tuple[str, ...]]
    """NAME=COMMAND, two or more; a command goes to the shell. The others are compared with the last one."""
    runs: int = 3
    """Counted runs of each."""
    key: str = "target_tokens_per_s"
    """The figure that is compared; more is better."""
    save: str = ""
    """A new JSON file for everything that was printed."""

    def __call__(self) -> None:
        commands = dict(side.split("=", 1) for side in self.sides)
        printed: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
        for number in range(self.runs + 1):
            for name in list(commands) if number % 2 else reversed(commands):
                line = run(name, commands[name])
                if number > 0:
                    printed[name].append(line)
                print(f"{name} {'warm-up' if number == 0 else number}: {json.dumps(line)}", file=sys.stderr, flush=True)
        speeds = {name: [line[self.key] for line in lines] for name, lines in printed.items()}
        base = statistics.median(speeds[list(commands)[-1]])
        print(f"| side | median {self.key} | from | to | ratio |\n|---|---|---|---|---|")
        for name, values in speeds.items():
            median = statistics.median(values)
            print(f"| {name} | {median:,.0f} | {min(values):,} | {max(values):,} | {median / base:.2f} |")
        if self.save:
            about = {"date": datetime.now(UTC).date().isoformat(), "cores": os.cpu_count(), "machine": processor()}
            with Path(self.save).open("x", encoding="utf-8") as file:
                json.dump({**about, "runs": printed}, file, indent=1)


def run(name: str, command: str) -> dict[str, Any]:
    """The JSON object of the command's last line."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        sys.exit(f"{name} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1])


def processor() -> str:
    """The processor's name, if the system reports it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    command = tyro.cli(Compare)
    if len(command.sides) < 2 or not all("=" in side for side in command.sides):
        sys.exit("give two or more NAME=COMMAND")
    if command.save and Path(command.save).exists():
        sys.exit(f"{command.save} exists: give another --save")
    command()
