"""Requests to stop, sent by signals to this process."""

import os
import signal

import pytest

from transformer.training.signals import stop_requests


def test_a_second_sigterm_has_no_further_effect(caplog):
    with stop_requests("stopping ...") as stop:
        assert not stop
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        saved = True
    assert saved
    assert [record.message for record in caplog.records] == ["\nstopping ..."]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_request_stops_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with stop_requests() as stop:
        os.kill(os.getpid(), first)
        assert stop
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
