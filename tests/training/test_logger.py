import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import pytest
from matplotlib.figure import Figure

from transformer.data.batching.epochs import DataPosition
from transformer.storage.run import Run
from transformer.training import curve
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
    assert logbook.line({"loss": 2.1, "bleu": 30.25, "seconds": 4.0}) == "loss 2.1, BLEU 30.25, 4.0 s"


def test_a_resumed_log_drops_later_records_and_a_truncated_line(tmp_path):
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


def test_each_line_starts_new_averages():
    averager = MetricAverager()
    averager.add(DataPosition(0, 0), metrics(1.0, 30))
    averager.close()
    averager.add(DataPosition(0, 1), metrics(4.0, 10))
    assert averager.close()["loss"] == pytest.approx(4.0)


@pytest.mark.parametrize("bad", [metrics(float("nan"), 5), metrics(1.0, 5, norm=float("inf"))])
def test_non_finite_values_are_reported_one_update_later_or_when_settled(bad):
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
    book = MetricLogger(run, 1, 4)  # a resumed run drops them
    assert "2 lines are damaged and left out, the first at line 1" in caplog.text
    book.write("train", 2, VALUES)
    book.close()
    assert [record["step"] for record in logbook.read(run.metrics)] == [1, 2]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_log_lines_and_no_bar(tmp_path, caplog, capsys):
    caplog.set_level("INFO")
    book = MetricLogger(Run(tmp_path), 0, 100)
    for step in (10, 20):
        book.bar.update(10)
        book.write("train", step, VALUES)
    book.write("validation", 20, {"loss": 2.1, "bleu": 30.0, "seconds": 14.96, "compilations": 1})
    book.close()
    assert capsys.readouterr().err == ""
    first, second, validation = (record.getMessage() for record in caplog.records)
    assert first.startswith("step 10 of 100: loss 2.000, learning rate 1.0e-03, 100 tokens/s, ")
    assert second.endswith(" of training left")
    assert validation == "step 20: validation loss 2.1, BLEU 30, 15 s, 1 program compiled"


def test_a_terminal_gets_a_bar_and_no_lines_of_the_log(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(sys, "stderr", Terminal())
    book = MetricLogger(Run(tmp_path), 0, 100)
    book.bar.update(10)
    book.write("train", 10, VALUES)
    book.write("validation", 10, {"loss": 2.1, "bleu": 30.0})
    book.close()
    assert "step 10: validation loss 2.1, BLEU 30\n" in sys.stderr.getvalue()
    assert "10/100" in sys.stderr.getvalue()
    assert not caplog.records


def test_the_remaining_time_leaves_validations_out(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("transformer.training.logger.time", SimpleNamespace(perf_counter=lambda: now[0]))
    book = MetricLogger(Run(tmp_path), 100, 200)
    bar: Any = book.bar
    bar._time, bar.start_t, bar.last_print_t = lambda: now[0], now[0], now[0]
    for step in range(101, 151):
        now[0] += 0.5
        book.bar.update()
        if step % 10 == 0:  # a validation of a minute
            now[0] += 60
            book.pause(60)
    assert book.seconds_left(150) == pytest.approx(50 * 0.5)
    assert book.bar.format_dict["rate"] == pytest.approx(2.0)
    assert book.bar.format_dict["elapsed"] == pytest.approx(50 * 0.5)
    book.close()


def records(metric="bleu"):
    train = [{"kind": "train", "step": n, "loss": 5.0 / n, "nll": 4.0 / n} for n in range(1, 9)]
    return train + [{"kind": "validation", "step": n, "loss": 4.5 / n, metric: 5.0 * n} for n in (4, 8)]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws curves; returns the figure, as it is when it is saved."""

    def draw(runs, **options):
        figures, save = [], Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
        curve.draw_curves(runs, tmp_path / "report" / "curve.png", **options)
        monkeypatch.setattr(Figure, "savefig", save)
        assert (tmp_path / "report" / "curve.png").read_bytes().startswith(b"\x89PNG")
        return figures[0]

    return draw


@pytest.mark.parametrize("runs", [{"one": records()}, {"one": records(), "$two_x$": records()}], ids=["one", "two"])
def test_the_legend_of_a_curve_lies_on_no_axes_and_everything_has_a_name(drawn, runs):
    figure = drawn(runs)
    (legend,), (losses, quality) = figure.legends, figure.axes
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert len(legend.get_texts()) == 3 * len(runs)
    assert figure.get_suptitle() == f"Training of {' and '.join(runs)}"
    assert (losses.get_ylabel(), quality.get_ylabel(), quality.get_xlabel()) == ("nats per token", "BLEU", "update")
    assert list(losses.lines[0].get_ydata()) == [4.0 / n for n in range(1, 9)]  # without label smoothing
    assert list(quality.lines[0].get_ydata()) == [20.0, 40.0]


def test_a_run_that_validates_by_loss_alone_has_one_panel(drawn):
    (axes,) = drawn({"one": records()}, unit="examples", metric="loss").axes
    assert (axes.get_ylabel(), axes.get_xlabel(), len(axes.lines)) == ("nats per example", "update", 2)
