"""The process around the command line: huge pages are requested once, and nothing else changes."""

import os
import subprocess
import sys

import pytest

from transformer import __main__ as process

SHOW = "import os, sys; from transformer import __main__ as p; p.ask_for_huge_pages(); print(os.getpid(), sys.argv[1:])"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's tunables")
def test_it_restarts_with_the_tunable_set_the_same_arguments_and_the_same_process_number():
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", f"{SHOW}; print(os.environ.get('GLIBC_TUNABLES'))", "a b", "--c"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    lines = child.communicate(timeout=60)[0].splitlines()
    assert lines == [f"{child.pid} ['a b', '--c']", "glibc.malloc.hugetlb=1"]


def test_tunables_that_are_set_are_kept(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("restarted"))
    process.ask_for_huge_pages()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"


def test_outside_linux_nothing_happens(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("restarted"))
    process.ask_for_huge_pages()
    assert "GLIBC_TUNABLES" not in os.environ


def behind(program, redirection, **variables):
    """The exit code, output and error of Python code behind a shell's redirection."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, program]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


COMMAND = "import sys; sys.argv[1:] = {}; from transformer.__main__ import main; main()"


def test_output_and_error_are_utf_8_whatever_the_locale_says():
    program = "from transformer.__main__ import set_up_streams as s; s(); import sys; print('ä\\udcff'); "
    program += "print('ü', file=sys.stderr)"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    # The second letter stands for a byte of a file name that is no UTF-8.
    assert (done.stdout, done.stderr) == ("ä\n".encode().replace(b"\n", b"\xff\n"), "ü\n".encode())


def test_closed_streams_end_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    code, out, error = behind(COMMAND.format(["translate", str(tmp_path)]), "<&-")
    assert (code, out, error) == (2, "", "transformer: standard input is closed: give --input FILE\n")
    code, out, error = behind(COMMAND.format(["--version"]), ">&-")
    assert (code, error) == (1, "transformer: standard output is closed\n")
    code, out, error = behind(COMMAND.format(["--version"]), "2>&-")
    assert (code, out[:9]) == (0, "attention")


def test_a_file_never_replaces_a_closed_stream(tmp_path):
    program = "from transformer.__main__ import set_up_streams as s; s(); print(open('/dev/null').fileno())"
    code, out, _ = behind(program, "<&-")
    assert code == 0
    assert int(out) > 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full")  # noqa: PTH110
def test_output_that_cannot_be_written_ends_in_one_line_or_none():
    help_ = COMMAND.format(["--help"])
    assert behind(help_, ">/dev/full") == (1, "", "transformer: No space left on device: output\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", help_], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
