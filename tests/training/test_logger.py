import json

import jax.numpy as jnp
import pytest

from transformer.data.batching.epochs import DataPosition
from transformer.storage.run import Run
from transformer.training import logger as logbook
from transformer.training.logger import MetricLogger
from transformer.training.metrics import MetricAverager, Metrics, NonFiniteLossError

VALUES = {"loss": 2.0, "nll": 1.9, "lr": 1e-3, "tokens_per_s": 100.0}


def test_records_are_read_back_and_the_curve_is_drawn(tmp_path):
    run = Run(tmp_path)
    book = MetricLogger(run, 0, 4)
    for step in (1, 2):
        book.write("train", step, VALUES)
    book.write("validation", 2, {"loss": 2.1, "bleu": 30.0})
    book.close()
    assert logbook.read(run.metrics) == [
        {"kind": "train", "step": 1, **VALUES},
        {"kind": "train", "step": 2, **VALUES},
        {"kind": "validation", "step": 2, "loss": 2.1, "bleu": 30.0},
    ]
    assert (run.report / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_values_are_named_as_people_write_them():
    assert logbook.line({"loss": 2.1, "bleu": 30.25, "seconds": 4.0}) == "loss 2.1, BLEU 30.25, seconds 4"


def test_a_resumed_logbook_forgets_what_will_be_done_again_and_a_line_cut_short(tmp_path):
    run = Run(tmp_path)
    lines = [json.dumps({"kind": "train", "step": step, **VALUES}) + "\n" for step in (1, 2, 3)]
    run.metrics.write_text("".join(lines) + '{"kind": "tra')
    book = MetricLogger(run, 2, 4)
    book.write("train", 3, VALUES)
    book.close()
    assert [record["step"] for record in logbook.read(run.metrics)] == [1, 2, 3]


def metrics(loss, tokens, norm=1.0):
    means = {"tokens": {"loss": jnp.float32(loss), "nll": jnp.float32(loss / 2)}}
    return Metrics(means, {"tokens": jnp.int32(tokens)}, jnp.float32(norm), jnp.zeros(3))


def test_losses_are_means_over_tokens_and_norms_over_updates():
    averager = MetricAverager()
    averager.add(DataPosition(0, 0), metrics(1.0, 30, norm=2.0))
    averager.add(DataPosition(0, 1), metrics(4.0, 10, norm=4.0))
    values = averager.close()
    assert values["loss"] == pytest.approx((1.0 * 30 + 4.0 * 10) / 40)
    assert values["nll"] == pytest.approx(values["loss"] / 2)
    assert values["grad_norm"] == pytest.approx(3.0)


def test_each_line_begins_anew():
    averager = MetricAverager()
    averager.add(DataPosition(0, 0), metrics(1.0, 30))
    averager.close()
    averager.add(DataPosition(0, 1), metrics(4.0, 10))
    assert averager.close()["loss"] == pytest.approx(4.0)


@pytest.mark.parametrize("bad", [metrics(float("nan"), 5), metrics(1.0, 5, norm=float("inf"))])
def test_what_is_not_finite_is_named_one_update_later_or_when_settled(bad):
    averager = MetricAverager()
    averager.add(DataPosition(0, 7), bad)
    with pytest.raises(NonFiniteLossError, match="batch 8 of epoch 1"):
        averager.settle()
    averager = MetricAverager()
    averager.add(DataPosition(0, 7), bad)
    with pytest.raises(NonFiniteLossError, match="batch 8 of epoch 1"):
        averager.add(DataPosition(0, 8), metrics(1.0, 5))


def test_the_speed_leaves_pauses_out(monkeypatch):
    clock = iter([0.0, 10.0, 10.0, 10.0])
    monkeypatch.setattr("transformer.training.metrics.time.perf_counter", lambda: next(clock))
    averager = MetricAverager()
    averager.pause(8.0)
    averager.add(DataPosition(0, 0), metrics(1.0, 30))
    values = averager.close()
    assert values["tokens_per_s"] == pytest.approx(30 / 2)
    assert values["step_ms_p50"] == pytest.approx(2e3)


RECORD = json.dumps({"kind": "train", "step": 1, **VALUES})
DAMAGED = (
    *(b"5", b"{", b"", b"\xff\x00\x9c", b"[]", b'{"loss": 1}'),
    b'{"kind": "train", "step": 2}',
    b'{"kind": "other", "step": 2, "loss": 1}',
    b'{"kind": "train", "step": "2", "loss": 1}',
    b'{"kind": "train", "step": 2, "loss": null}',
)


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_left_out_and_counted(tmp_path, caplog, line):
    run = Run(tmp_path)
    run.metrics.write_bytes(RECORD.encode() + b"\n" + line + b"\n" + RECORD.encode() + b"\n")
    assert logbook.read(run.metrics) == [json.loads(RECORD)] * 2
    assert f"{run.metrics}: 1 line is damaged and left out, the first at line 2" in caplog.text
    run.metrics.write_bytes(b"\n".join([line, line, RECORD.encode(), b""]))
    caplog.clear()
    book = MetricLogger(run, 1, 4)  # a run that is resumed goes on without them
    assert "2 lines are damaged and left out, the first at line 1" in caplog.text
    book.write("train", 2, VALUES)
    book.close()
    assert [record["step"] for record in logbook.read(run.metrics)] == [1, 2]
