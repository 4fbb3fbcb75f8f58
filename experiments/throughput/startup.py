"""Seconds until a recipe trains: python experiments/throughput/startup.py RECIPE [options of `transformer train`].

Starts `transformer train` with empty caches (cold) and again with the caches it left (warm), each in a new run
directory, and stops the clock when the first update is done: imports, tokenizer, examples and the compilation of all
shapes included. Prints one JSON object.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def first_update(arguments: list[str], folder: Path, cache: Path) -> dict[str, float]:
    """Seconds from the start of the process to the first line of metrics.jsonl, and of compilation among them."""
    command = [sys.executable, "-m", "transformer", "train", *arguments, "--run", str(folder)]
    command += ["--data.cache", str(cache), "--training.log-every", "1"]
    log = folder.with_suffix(".log")
    start = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment(cache))
    metrics = folder / "metrics.jsonl"
    while not (metrics.is_file() and metrics.stat().st_size):
        if process.poll() is not None:
            sys.exit(f"training ended before its first update:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    process.send_signal(signal.SIGTERM)
    process.wait()
    found = re.search(r"compiled for (\d+) shapes of batches in (\d+) s", log.read_text())
    assert found is not None
    return {"first_update_s": round(seconds, 1), "compile_s": int(found[2]), "shapes": int(found[1])}


def environment(cache: Path) -> dict[str, str]:
    """Without this process's tunables, and with a separate cache of compiled programs."""
    ours = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    return ours | {"JAX_COMPILATION_CACHE_DIR": str(cache / "xla")}


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: startup.py RECIPE [options of `transformer train`]")
    with tempfile.TemporaryDirectory() as place:
        cold, warm = (
            first_update(sys.argv[1:], Path(place) / name, Path(place) / "cache") for name in ("cold", "warm")
        )
    print(json.dumps({"recipe": sys.argv[1], "cold": cold, "warm": warm}))
