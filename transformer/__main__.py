"""The process of the command line: `transformer`, or `python -m transformer`."""

import os
import sys


def main() -> None:
    """Run the command line; commands that compute run under huge pages."""
    from transformer.cli import main as command_line

    command_line(before_computing=ask_for_huge_pages)


def ask_for_huge_pages() -> None:
    """Let glibc back large allocations with huge pages: starts this process anew, once, on Linux.

    XLA:CPU allocates its temporary memory at every update and gives it back. In pages of 4 KiB the kernel's part of
    that is a fifth of the training time (`experiments/throughput/LOG.md`). glibc reads its tunables only when a process
    starts, hence the new start; whoever sets GLIBC_TUNABLES is left alone.
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
