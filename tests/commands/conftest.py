"""The trained runs of the search's tests serve those of the commands."""

from tests.decoding.conftest import recurrent_run, trained_model, trained_run

__all__ = ["recurrent_run", "trained_model", "trained_run"]
