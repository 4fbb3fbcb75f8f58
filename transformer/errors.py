"""Errors that a user can act on. The command line turns them into one line and an exit code."""


class TransformerError(Exception):
    """Bad data or a failed run: one line that says what is wrong and what to do. Exit code 1."""

    exit_code = 1


class UsageError(TransformerError):
    """The command itself is wrong (an unknown recipe, an impossible setting). Exit code 2."""

    exit_code = 2


class LostProcessError(TransformerError):
    """Another process of the job is lost, so the processes can no longer coordinate."""


class InterruptedRunError(TransformerError):
    """Ctrl-C or SIGTERM: the run was saved and can be resumed. Exit code 130, as in shells for Ctrl-C."""

    exit_code = 130
