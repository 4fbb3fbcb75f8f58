"""A pytest plugin: no test starts after a given time. Those left are skipped, and the report names them.

`pytest -p time_budget --start-before $(( $(date +%s) + 600 )) -rap` starts tests for ten minutes. A skipped test does
not fail the run, a failed one does. Files are shuffled, so that no file is always last; the time is the seed, which all
processes of pytest-xdist share.
"""

import random
import time

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--start-before", type=int, metavar="SECONDS", help="start no test after this time, in seconds since 1970"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    files = sorted({item.path for item in items})
    random.Random(config.getoption("--start-before")).shuffle(files)
    items.sort(key=lambda item: files.index(item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > item.config.getoption("--start-before"):
        pytest.skip(f"no time left for {item.nodeid}")
