"""The process around the command line: huge pages asked for once, nothing else changed."""

import os
import subprocess
import sys

import pytest

from transformer import __main__ as process

SHOW = "import os, sys; from transformer import __main__ as p; p.ask_for_huge_pages(); print(os.getpid(), sys.argv[1:])"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's tunables")
def test_it_starts_anew_with_the_tunable_set_the_same_arguments_and_the_same_process_number():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", f"{SHOW}; print(os.environ.get('GLIBC_TUNABLES'))", "a b", "--c"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    lines = child.communicate(timeout=60)[0].splitlines()
    assert lines == [f"{child.pid} ['a b', '--c']", "glibc.malloc.hugetlb=1"]


def test_who_set_the_tunables_is_left_alone(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started anew"))
    process.ask_for_huge_pages()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"


def test_elsewhere_than_linux_nothing_happens(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started anew"))
    process.ask_for_huge_pages()
    assert "GLIBC_TUNABLES" not in os.environ
