"""The commands' tests use the trained runs of the search's tests."""

from tests.decoding.conftest import recurrent_run, trained_model, trained_run

__all__ = ["recurrent_run", "trained_model", "trained_run"]
