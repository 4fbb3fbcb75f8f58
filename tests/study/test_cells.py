"""Finding a study, its grid, and what stands for settings."""

import dataclasses
from pathlib import Path

import pytest

from transformer import config
from transformer.config import Attention, Config, Data, Rnn, Transformer, Translation
from transformer.errors import UsageError
from transformer.study import cells

ROOT = Path(__file__).parent.parent.parent / "experiments"


def test_the_grid_of_every_day_and_the_full_one(folder):
    found = cells.find(folder)
    whole = cells.trials(found, full=True)
    assert [trial.name for trial in whole] == ["plain-1", "plain-2", "dot-1", "dot-2", "general-1"]
    every_day = cells.trials(found)
    assert [trial.name for trial in every_day] == ["plain-1", "dot-1", "dot-2"]
    assert [trial.name for trial in cells.trials(found, ["general"])] == ["general-1"]
    assert [trial.name for trial in cells.trials(found, ["plain"])] == ["plain-1"]
    assert [trial.name for trial in cells.trials(found, ["plain"], full=True)] == ["plain-1", "plain-2"]
    assert [trial.name for trial in cells.trials(found, smoke=True)] == ["plain-1", "dot-1"]
    assert cells.named(found, "dot-2") == cells.named(found, every_day[2].key) == every_day[2]
    assert cells.named(found, "general-1") == whole[4]
    with pytest.raises(UsageError, match="the settings of dot-2 have changed since"):
        cells.named(found, f"dot-2@{whole[0].digest}")
    assert every_day[2].settings.seed == 2
    assert cells.trials(found, smoke=True)[0].settings.training.steps == 10
    with pytest.raises(
        UsageError, match=r"--trial dot-3: no such trial; did you mean dot-[12].*There are plain-1, plain-2"
    ):
        cells.named(found, "dot-3")
    with pytest.raises(UsageError, match="did you mean plain"):
        cells.trials(found, ["plane"])


def test_a_digest_is_of_what_differs_from_the_defaults():
    one = Config(model=Rnn(width=256))
    assert cells.digest(one) == cells.digest(config.from_json(config.to_json(one)))
    others = [
        Config(model=Rnn(width=255)),
        Config(),
        Config(model=Rnn(width=256), seed=2),
        Config(model=Rnn(width=256, attention=Attention(score="dot"))),
        Config(model=Transformer(width=256)),
    ]
    assert len({cells.digest(each) for each in (one, *others)}) == 6
    whole, real = (Config(task=Translation(label_smoothing=value)) for value in (0, 0.0))
    assert whole == real
    assert cells.digest(whole) == cells.digest(real) != cells.digest(Config())
    whole, real = (Config(data=Data(also=("a",), weights=weights)) for weights in ((3, 1), (3.0, 1.0)))
    assert cells.digest(whole) == cells.digest(real)
    # Another version's file, which lacks a setting that has its default, is the same.
    values = config.to_json(one)
    del values["model"]["reverse"], values["decoding"]["coverage_penalty"]
    assert cells.digest(config.from_json(values)) == cells.digest(one)
    # So is that of a version that knows more settings, as long as they have their defaults.
    more = dataclasses.make_dataclass("More", [("later", int, 3)], bases=(Config,), frozen=True)
    values = config.to_json(one)
    assert cells._differing(values | {"later": 3}, config.to_json(more(model=Rnn()))) == cells._differing(
        values, config.to_json(Config(model=Rnn()))
    )


ALL = "from transformer.study.cells import *; c = Cell(Config()); study = Study"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("study = 3", "must define `study`"),
        ("x = 3", "must define `study`"),
        ("import nothing_of_this_name", "cannot be read: ModuleNotFoundError"),
        ("import sys; sys.exit(0)", "cannot be read: SystemExit"),
        (f"{ALL}({{}})", "has no cell at all"),
        (f"{ALL}({{'a': c}}, drawn=('b',))", "has no cell b"),
        (f"{ALL}({{'a': c}}, baselines=('b',))", "has no cell b"),
        (f"{ALL}({{'a': c, 'b': c}}, baselines=('a', 'b'))", "a table has one cell of `baselines`"),
        (f"{ALL}({{'a': c}}, metric='TER')", "metric='TER': BLEU or AER"),
        (f"{ALL}({{'a': c}}, beside=('../nowhere',))", "`beside` has ../nowhere, and there is no folder .*/../nowhere"),
        (f"{ALL}({{'a': c}}, beside='.')", "beside='.': a tuple of names"),
        (f"{ALL}({{'a': c}}, baselines='a')", "baselines='a': a tuple of names"),
        (f"{ALL}({{'a': c}}, drawn=None)", "drawn=None: a tuple of names"),
        (f"{ALL}({{'a': c}}, pairs=(('a', 'b'),))", "pairs=.*: a tuple of them, such as"),
        (f"{ALL}({{'a': c}}, pairs=(Pair('a', 'b'),))", "has no cell b"),
        (f"{ALL}({{'a': c}}, pairs=(Pair('a', 'a'),))", "a − a must be of two cells of one table"),
        (f"{ALL}({{'a': c, 'b': Cell(Config(), table='x')}}, pairs=(Pair('a', 'b'),))", "a − b must be of two cells"),
        (f"{ALL}({{'a': c, 'b': c}}, pairs=(Pair('a', 'b', 'TER'),))", "metric='TER': BLEU or AER"),
        (f"{ALL}({{'a': Cell(Config(), seeds=(1, 2, 1))}})", "a seed twice"),
        (f"{ALL}({{'a': Cell(Config(), seeds=(True,))}})", "a tuple of seeds"),
        (f"{ALL}([c])", "dicts of names and Cells"),
        (f"{ALL}({{'a': Config()}})", "the cell a is no"),
        (f"{ALL}({{'a': Cell(Config(), seeds=3)}})", "a tuple of seeds"),
        (f"{ALL}({{'a': Cell(Config(), seeds=())}})", "a tuple of seeds"),
        (f"{ALL}({{'a': Cell(Config(), seeds=('1',))}})", "a tuple of seeds"),
        (f"{ALL}({{'a': Cell(Config(), tokenize='x')}})", "tokenize='x'"),
        (f"{ALL}({{'a/b': c}})", "the cell 'a/b' names files"),
        (f"{ALL}({{'a': Cell(Config(), table='a b')}})", "the table 'a b' names files"),
        (f"{ALL}({{'a': Cell(Config(), seeds=(1, 2))}}, full={{'a': Cell(Config(), seeds=(1,))}})", "may have more"),
        (f"{ALL}({{'a': c}}, full={{'a': Cell(Config(seed=4), seeds=(1, 2))}})", "may have more seeds"),
    ],
)
def test_what_is_no_study_is_refused(content, complaint, tmp_path):
    path = tmp_path / "study.py"
    path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        cells.find(path)


def test_no_study_at_all(tmp_path):
    with pytest.raises(UsageError, match="no study at"):
        cells.find(tmp_path / "none.py")
    with pytest.raises(UsageError, match=f"no study at {tmp_path}: give"):
        cells.find(tmp_path)
    (tmp_path / "lengths").mkdir()
    with pytest.raises(UsageError, match=f"lenghts: did you mean {tmp_path}/lengths"):
        cells.find(tmp_path / "lenghts")
    other = tmp_path / "other.py"
    other.write_text(f"{ALL}({{'a': c}})")  # its results would be those of the folder's study
    with pytest.raises(UsageError, match=f"{other} is no study.py: .* move it to {tmp_path}/other/study.py"):
        cells.find(other)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("study.py")), ids=lambda path: path.parent.name)
def test_every_study_of_ours_can_run_as_it_is_and_shrunk(path):
    found = cells.find(path)
    cells.check(cells.trials(found, full=True))
    cells.check(cells.trials(found, full=True, smoke=True))
    # A table compares what was trained with one budget on one text.
    for name, names in found.tables().items():
        if path.parent.name == "multi30k":  # recipes as they are
            continue
        budgets = {(found.whole[n].config.training.steps, found.whole[n].config.batching.tokens) for n in names}
        tests = {(found.whole[n].config.data.test, found.whole[n].tokenize) for n in names}
        assert len(budgets) == 1, name
        assert len(tests) == 1 or path.parent.name == "hansards", name
