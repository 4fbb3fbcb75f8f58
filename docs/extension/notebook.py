"""The shell in notebooks: `%load_ext docs.extension.notebook`.

IPython's own `%%sh` prints results before the log, and breaks long lines.
"""

import os
import subprocess
from typing import Any


def load_ipython_extension(ipython: Any) -> None:
    """Called by IPython. The notebook then runs in the folder of all notebooks."""
    os.chdir(os.environ["DOCS_WORK"])
    ipython.register_magic_function(shell, "cell", "sh")


def shell(line: str, cell: str) -> None:
    """Run a cell and print its output. Raises CalledProcessError if a command fails."""
    done = subprocess.run(
        ["bash", "-e", "-c", cell], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout, end="")
    done.check_returncode()
