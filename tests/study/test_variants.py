"""Loading a study, its trials, and the digest of settings."""

import dataclasses
from pathlib import Path

import pytest

from transformer import config
from transformer.config import Attention, Config, Data, Rnn, Transformer, Translation
from transformer.errors import UsageError
from transformer.study import variants

ROOT = Path(__file__).parent.parent.parent / "experiments"


def test_trials_of_a_study_with_and_without_full(folder):
    found = variants.load(folder)
    whole = variants.trials(found, full=True)
    assert [trial.name for trial in whole] == ["plain-1", "plain-2", "dot-1", "dot-2", "general-1"]
    default = variants.trials(found)
    assert [trial.name for trial in default] == ["plain-1", "dot-1", "dot-2"]
    assert [trial.name for trial in variants.trials(found, ["general"])] == ["general-1"]
    assert [trial.name for trial in variants.trials(found, ["plain"])] == ["plain-1"]
    assert [trial.name for trial in variants.trials(found, ["plain"], full=True)] == ["plain-1", "plain-2"]
    assert [trial.name for trial in variants.trials(found, smoke=True)] == ["plain-1", "dot-1"]
    assert variants.find_trial(found, "dot-2") == variants.find_trial(found, default[2].key) == default[2]
    assert variants.find_trial(found, "general-1") == whole[4]
    with pytest.raises(UsageError, match="the settings of dot-2 have changed since"):
        variants.find_trial(found, f"dot-2@{whole[0].digest}")
    assert default[2].settings.seed == 2
    assert variants.trials(found, smoke=True)[0].settings.training.steps == 10
    with pytest.raises(
        UsageError, match=r"--trial dot-3: no such trial; did you mean dot-[12].*Choose from plain-1, plain-2"
    ):
        variants.find_trial(found, "dot-3")
    with pytest.raises(UsageError, match="did you mean plain"):
        variants.trials(found, ["plane"])


def test_a_digest_depends_on_differences_from_the_defaults():
    one = Config(model=Rnn(width=256))
    assert variants.digest(one) == variants.digest(config.from_json(config.to_json(one)))
    others = [
        Config(model=Rnn(width=255)),
        Config(),
        Config(model=Rnn(width=256), seed=2),
        Config(model=Rnn(width=256, attention=Attention(score="dot"))),
        Config(model=Transformer(width=256)),
    ]
    assert len({variants.digest(each) for each in (one, *others)}) == 6
    whole, real = (Config(task=Translation(label_smoothing=value)) for value in (0, 0.0))
    assert whole == real
    assert variants.digest(whole) == variants.digest(real) != variants.digest(Config())
    whole, real = (Config(data=Data(also=("a",), weights=weights)) for weights in ((3, 1), (3.0, 1.0)))
    assert variants.digest(whole) == variants.digest(real)
    # Another version's file, which lacks a setting that has its default, is the same.
    values = config.to_json(one)
    del values["model"]["reverse"], values["decoding"]["coverage_penalty"]
    assert variants.digest(config.from_json(values)) == variants.digest(one)
    # So is that of a version that knows more settings, as long as they have their defaults.
    more = dataclasses.make_dataclass("More", [("later", int, 3)], bases=(Config,), frozen=True)
    values = config.to_json(one)
    assert variants._differing(values | {"later": 3}, config.to_json(more(model=Rnn()))) == variants._differing(
        values, config.to_json(Config(model=Rnn()))
    )


ALL = "from transformer.study.variants import *; c = Variant(Config()); study = Study"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("study = 3", "must define `study`"),
        ("x = 3", "must define `study`"),
        ("import nothing_of_this_name", "cannot be read: ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "cannot be read: SystemExit"),
        ("class Stop(BaseException): pass\nraise Stop('here')", "cannot be read: Stop: here"),
        (f"{ALL}({{}})", "has no variants"),
        (f"{ALL}({{'a': c}}, plotted=('b',))", "has no variant b; did you mean a"),
        (f"{ALL}({{'a': c}}, baselines=('b',))", "has no variant b; did you mean a"),
        (f"{ALL}({{'a': c, 'b': c}}, baselines=('a', 'b'))", "a table has at most one baseline, but `baselines` has 2"),
        (f"{ALL}({{'a': c}}, metric='TER')", "metric='TER': did you mean .*Choose from BLEU, chrF2, AER"),
        (
            f"{ALL}({{'a': c}}, reuse_from=('../nowhere',))",
            "`reuse_from` has ../nowhere, but there is no folder .*/../nowhere",
        ),
        (f"{ALL}({{'a': c}}, reuse_from='.')", "reuse_from='.': give a tuple of names"),
        (f"{ALL}({{'a': c}}, baselines='a')", "baselines='a': give a tuple of names"),
        (f"{ALL}({{'a': c}}, plotted=None)", "plotted=None: give a tuple of names"),
        (f"{ALL}({{'a': c}}, pairs=(('a', 'b'),))", "pairs=.*: give a tuple, such as"),
        (f"{ALL}({{'a': c}}, pairs=(Pair('a', 'b'),))", "has no variant b; did you mean a"),
        (f"{ALL}({{'a': c}}, pairs=(Pair('a', 'a'),))", "a − a must be of two variants of one table"),
        (
            f"{ALL}({{'a': c, 'b': Variant(Config(), table='x')}}, pairs=(Pair('a', 'b'),))",
            "a − b must be of two variants",
        ),
        (
            f"{ALL}({{'a': c, 'b': c}}, pairs=(Pair('a', 'b', 'TER'),))",
            "metric='TER': did you mean .*Choose from BLEU, chrF2, AER",
        ),
        (f"{ALL}({{'a': Variant(Config(), seeds=(1, 2, 1))}})", "a seed twice"),
        (f"{ALL}({{'a': Variant(Config(), seeds=(True,))}})", "needs a tuple of seeds"),
        (f"{ALL}([c])", "dicts from names to Variants"),
        (f"{ALL}({{'a': Config()}})", "the variant a must be a"),
        (f"{ALL}({{'a': Variant(Config(), seeds=3)}})", "needs a tuple of seeds"),
        (f"{ALL}({{'a': Variant(Config(), seeds=())}})", "needs a tuple of seeds"),
        (f"{ALL}({{'a': Variant(Config(), seeds=('1',))}})", "needs a tuple of seeds"),
        (
            f"{ALL}({{'a': Variant(Config(), scoring=dict(tokenize='x'))}})",
            "variant a: scoring=.*did you mean tokenize=",
        ),
        (f"{ALL}({{'a/b': c}})", "files are named after the variant 'a/b'"),
        (f"{ALL}({{'a': Variant(Config(), table='a b')}})", "files are named after the table 'a b'"),
        (
            f"{ALL}({{'a': Variant(Config(), seeds=(1, 2))}}, full={{'a': Variant(Config(), seeds=(1,))}})",
            "may have more",
        ),
        (f"{ALL}({{'a': c}}, full={{'a': Variant(Config(seed=4), seeds=(1, 2))}})", "may have more seeds"),
    ],
)
def test_wrong_studies_are_refused(content, message, tmp_path):
    path = tmp_path / "study.py"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        variants.load(path)


def test_a_missing_study_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no study at"):
        variants.load(tmp_path / "none.py")
    with pytest.raises(UsageError, match=f"no study at {tmp_path}: give"):
        variants.load(tmp_path)
    (tmp_path / "lengths").mkdir()
    with pytest.raises(UsageError, match=f"lenghts: did you mean {tmp_path}/lengths"):
        variants.load(tmp_path / "lenghts")
    other = tmp_path / "other.py"
    other.write_text(f"{ALL}({{'a': c}})")  # its results would be those of the folder's study
    with pytest.raises(UsageError, match=f"{other} is not named study.py: .* move it to {tmp_path}/other/study.py"):
        variants.load(other)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("study.py")), ids=lambda path: path.parent.name)
def test_settings_of_the_committed_studies_are_valid_whole_and_shrunk(path):
    found = variants.load(path)
    variants.check(variants.trials(found, full=True))
    variants.check(variants.trials(found, full=True, smoke=True))
    # A table compares what was trained with one budget on one text.
    for name, names in found.tables().items():
        if path.parent.name == "multi30k":  # recipes as they are
            continue
        budgets = {
            (found.all_variants[n].config.training.steps, found.all_variants[n].config.batching.tokens) for n in names
        }
        grid = [found.all_variants[n] for n in names]
        tests = {(variant.config.data.test, variant.scoring.get("tokenize")) for variant in grid}
        assert len(budgets) == 1, name
        assert len(tests) == 1 or path.parent.name == "hansards", name
