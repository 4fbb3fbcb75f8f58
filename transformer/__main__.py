"""The process of the command line: `transformer`, or `python -m transformer`."""

import io
import os
import sys


def main() -> None:
    """Run the command line; commands that compute run under huge pages."""
    set_up_streams()
    from transformer.cli import main as command_line

    command_line(before_computing=ask_for_huge_pages)


class ClosedOutput(io.TextIOBase):
    """Standard output that the caller closed (`>&-`): it refuses text, which Python would lose silently."""

    def write(self, text: str) -> int:
        from transformer.errors import TransformerError

        raise TransformerError("standard output is closed")


def set_up_streams() -> None:
    """Make standard input, output and error UTF-8, whatever PYTHONIOENCODING and the locale say.

    File names that are not UTF-8 are written unchanged. The descriptor of a closed stream is reserved, so that no file
    opened later is read or written as that stream; a closed standard input stays None.
    """
    errors = {"stdin": "strict", "stdout": "surrogateescape", "stderr": "backslashreplace"}
    for name, handler in errors.items():
        stream = getattr(sys, name)
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: the stream's own
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=handler)
    if sys.stdout is None:
        sys.stdout = ClosedOutput()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def ask_for_huge_pages() -> None:
    """Let glibc back large allocations with huge pages: restarts this process once, on Linux.

    XLA:CPU allocates its temporary memory at every update and gives it back. With pages of 4 KiB the kernel's share of
    that is a fifth of the training time (`experiments/throughput/LOG.md`). glibc reads its tunables only when a process
    starts, hence the restart. A GLIBC_TUNABLES that is already set is kept.
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
