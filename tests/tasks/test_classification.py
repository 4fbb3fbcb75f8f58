"""Texts and labels: the loss, the measures, and the way from files to labels and reports."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

from tests.conftest import tiny
from transformer import api, check, cli
from transformer.config import Batching, Classification, Classifier, Config, Data, Schedule, Tokenizer, Training
from transformer.errors import TransformerError, UsageError
from transformer.tasks.classification.prepare import losses
from transformer.tasks.classification.scoring import confusion, macro_f1, statistics
from transformer.training.run import train

LABELS = {"ba": "has a", "be": "has e"}


def write(folder, name, count, first=0):
    """Texts of 1 to 6 words; the label says which of two words is among them."""
    rows = [(n, "ba" if n % 3 else "be") for n in range(first, first + count)]
    texts = [" ".join([*[["mi", "mu", "ki", "ko", "lu"][(n + k) % 5] for k in range(n % 6)], word]) for n, word in rows]
    (folder / f"{name}.text").write_text("".join(text + "\n" for text in texts))
    (folder / f"{name}.label").write_text("".join(LABELS[word] + "\n" for _, word in rows))


@pytest.fixture
def settings(tmp_path):
    for name, count, first in (("train", 90, 0), ("dev", 12, 90), ("test", 9, 102)):
        write(tmp_path, name, count, first)
    return Config(
        data=Data(
            source="files",
            languages=("text", "label"),
            train=str(tmp_path / "train"),
            validation=str(tmp_path / "dev"),
            test=str(tmp_path / "test"),
            max_length=16,
            cache=str(tmp_path / "cache"),
        ),
        tokenizer=Tokenizer(kind="word", vocabulary=50),
        batching=Batching(tokens=256, shapes=1),
        task=Classification(label_smoothing=0.1),
        model=Classifier(encoder=tiny(encoder_layers=1, decoder_layers=1), dropout=0.0),
        schedule=Schedule(peak=1e-2, warmup=5),
        training=Training(steps=40, log_every=40, validate_every=40),
    )


def test_from_files_to_labels(settings, tmp_path, capsys):
    """It learns; labels may have spaces; an empty line stays empty; the report has intervals and the confusions."""
    run = tmp_path / "run"
    train(settings, run, "toy")
    model = api.load_predictor(run)
    first, empty, other = model.predict(["mi ba", "", "ko lu be"])
    assert (first.text, empty.text, other.text) == ("has a", "", "has e")
    assert sum(first.fields["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert first.fields["p"] == first.fields["probabilities"]["has a"]
    assert [piece for piece, _ in first.fields["attention"]] == ["mi", "ba", "</s>"]
    assert sum(weight for _, weight in first.fields["attention"]) == pytest.approx(1, abs=1e-5)
    capsys.readouterr()
    cli.parse(["evaluate", str(run)])()
    printed = capsys.readouterr().out
    assert "accuracy 100.00" in printed
    assert "always 'has a', the most frequent label: accuracy 66.67" in printed
    report = json.loads((run / "report" / "test.json").read_text())
    assert report["confusion"]["counts"] == [[6, 0], [0, 3]]
    assert report["scores"]["macro F1"]["value"] == pytest.approx(100)
    assert min(imread(run / "report" / "test.confusion.png").shape[:2]) > 300


def test_batches_have_the_labels_and_empty_rows_weigh_nothing(settings):
    prepared = settings.task.prepare(settings, None)
    assert prepared.labels == ["has a", "has e"]
    (bucket,) = prepared.epochs.buckets
    examples = prepared.epochs.epoch(0)[0]
    batch = prepared.batch(examples, bucket, np.array([0, 1, 4]), epoch=0)
    assert batch.label[:3].tolist() == [1, 0, 0]  # as n % 3 says
    assert prepared.counts(batch) == {"examples": 3}
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(bucket.rows, 2)), jnp.float32)
    total, logged = prepared.loss(lambda text, key: (logits, None), batch, prepared.counts(batch), None)
    logp = np.asarray(jax.nn.log_softmax(logits))
    nll = [-logp[row, label] for row, label in enumerate((1, 0, 0))]
    smoothed = [0.9 * each - 0.1 * logp[row].mean() for row, each in enumerate(nll)]
    assert float(total) == pytest.approx(np.mean(smoothed), rel=1e-5)
    assert float(logged["examples"]["nll"]) == pytest.approx(np.sum(nll), rel=1e-5)
    own = prepared.batch(examples, bucket, np.array([0, 1, 4]), epoch=0, rows=np.array([1, 2, 3]))
    np.testing.assert_array_equal(own.text, batch.text[1:4])
    np.testing.assert_array_equal(own.label, batch.label[1:4])


def test_smoothing_is_the_share_of_all_labels():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
    nll, smoothed = losses(logits, jnp.array([0]), 0.3)
    shares = np.array([0.7 + 0.1, 0.1, 0.1])
    assert float(nll[0]) == pytest.approx(-np.log(0.7), rel=1e-6)
    assert float(smoothed[0]) == pytest.approx(-(shares * np.log([0.7, 0.2, 0.1])).sum(), rel=1e-6)


def test_measures_by_hand():
    """Predictions b b a c, references a b a d: b has precision 1/2 and recall 1, c and d have nothing."""
    counts = statistics(["a", "b", "e"], list("bbac"), list("abad"))
    assert counts["accuracy"].sum(0).tolist() == [2, 4]
    # F1: a 2*1/(1+2), b 2*1/(2+1), c 0, d 0; e occurs nowhere and is left out.
    expected = 100 * (2 / 3 + 2 / 3) / 4
    assert float(macro_f1(counts["macro F1"].sum(0).astype(float))) == pytest.approx(expected)
    found = confusion(list("bbac"), list("abad"))
    assert found["labels"] == ["a", "b", "c", "d"]
    assert found["counts"] == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert found["most_frequent"] == {"label": "a", "accuracy": 50.0}


@pytest.mark.parametrize(
    ("name", "line", "complaint"),
    [
        ("dev", "has o", r"1 validation text with a label that is not one of has a, has e \(first: line 3\)"),
        ("train", "</s>", "'</s>' is no label"),
    ],
)
def test_wrong_labels_are_refused(settings, tmp_path, name, line, complaint):
    path = tmp_path / f"{name}.label"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(TransformerError, match=complaint):
        settings.task.prepare(settings, None)


def test_one_label_is_refused(settings, tmp_path):
    (tmp_path / "train.label").write_text("same\n" * 90)
    with pytest.raises(TransformerError, match="one label only"):
        settings.task.prepare(settings, None)


@pytest.mark.parametrize(
    ("part", "changes", "complaint"),
    [
        ("tokenizer", {"kind": "bpe", "sampling": 0.1}, "--tokenizer.sampling applies to translation only"),
        ("data", {"alignments": "links"}, "--data.alignments applies to translation only"),
        ("batching", {"pack": 64}, "--batching.pack"),
    ],
)
def test_settings_of_translation_are_refused(settings, part, changes, complaint):
    changed = dataclasses.replace(settings, **{part: dataclasses.replace(getattr(settings, part), **changes)})
    with pytest.raises(UsageError, match=complaint):
        check.everything(changed)


def test_a_translator_has_no_labels(settings):
    with pytest.raises(UsageError, match="recipe whose model is a Classifier"):
        check.everything(dataclasses.replace(settings, model=tiny()))
