"""Tables and figures by hand, and the committed ones, which report must reproduce."""

import math
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest

from tests.study.conftest import entry
from transformer import cli
from transformer.errors import TransformerError, UsageError
from transformer.study import comparisons, figures, report, results, tables, variants
from transformer.study.results import Results
from transformer.tasks.translation.scoring import MEASURES

ROOT = Path(__file__).parent.parent.parent / "experiments"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("study.py")), ids=lambda path: path.parent.name)
def test_committed_tables_and_figures_are_those_that_report_makes(path):
    study, folder = variants.load(path), path.parent
    every = report.parts(study, Results(folder / "results.json"))
    markdown = report.texts(every)
    readme = folder / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        assert report.filled(text, markdown, readme) == text
        assert {mark["name"] for mark in report.PLACEHOLDER.finditer(text)} == set(markdown)
    if any(part.done for part in every):
        assert (folder / "tables.md").read_text(encoding="utf-8") == report.joined(markdown)
        assert (folder / "tables.tex").read_text(encoding="utf-8") == report.latex(every, folder.name)
        lines = [line for text in markdown.values() for line in text.splitlines()]
        drawn = {line.split("(")[1][:-1] for line in lines if line.startswith("![")}
        made = {f"{part.name}-{kind}.svg": drawing.digest for part in every for kind, drawing in part.drawings.items()}
        assert set(made) == drawn
        for name, digest in made.items():
            assert f"numbers {digest}" in (folder / name).read_text(encoding="utf-8"), f"{name} shows other numbers"


def plain(variant, seed, bleu, bins):
    """A result of version 0.1."""
    score = {"value": bleu, "interval": [bleu - 1, bleu + 1], "signature": "tok:13a"}
    test = {
        "scores": {"BLEU": score, "chrF2": score},
        "perplexity": 2.0,
        "by_length": [{"words": words, "bleu": value} for words, value in bins.items()],
    }
    data = {"source": "files", "languages": ["xx", "yy"], "test": "test"}
    about = {"cell": variant, "seed": seed, "config": {"data": data}, "parameters": 1234, "updates": 10}
    return results.migrated(about | {"minutes": 1.25, "test": test})


def test_tables_by_hand():
    found = {
        "one": [plain("one", 1, 20.0, {"0-5": 30.0, "51+": 8.0})],
        "two": [plain("two", 1, 10.0, {"0-5": 1.0}), plain("two", 2, 12.0, {"0-5": 3.0, "11-15": 5.0})],
    }
    text = tables.main(found, "", "BLEU", MEASURES, ["two-3"]).markdown()
    assert "| one | 1 | 1,234 | 10 | 1.2 | 2.00 | 20.0 [19.0, 21.0] | 20.0 |" in text
    assert "| two | 1, 2 | 1,234 | 10 | 1.2 | 2.00 ± 0.00 | 11.0 ± 1.4 | 11.0 ± 1.4 |" in text
    assert "Not yet run: two-3." in text
    assert "tokens/s" not in text  # which these results do not have
    lengths = tables.lengths(found).markdown()
    assert "|  | 0-5 | 11-15 | 51+ |" in lengths
    assert "| one | 30.0 |  | 8.0 |" in lengths
    assert "| two | 2.0 ± 1.4 | 5.0 |  |" in lengths
    assert "sentences" not in lengths  # which these results do not have
    found["one"][0]["test"]["by_length"][1]["sentences"] = 7
    assert "| sentences |  |  | 7 |" in tables.lengths(found).markdown()
    assert comparisons.by_length(found["two"])["0-5"] == (2.0, pytest.approx(math.sqrt(2)), None)


def test_error_bars_by_hand():
    one, two = [plain("one", 1, 20.0, {"0-5": 30.0})], [plain("two", n, 8.0 + 2 * n, {"0-5": n}) for n in (1, 2)]
    assert comparisons.score(one, "BLEU", MEASURES["BLEU"]).bar == (1.0, 1.0)
    assert comparisons.score(two, "BLEU", MEASURES["BLEU"]).bar == (pytest.approx(math.sqrt(2)),) * 2
    assert comparisons.score(one, "AER", MEASURES["AER"]) is None
    assert all(map(math.isnan, comparisons.by_length(one)["0-5"].bar))  # a result of an older version
    one[0]["test"]["by_length"][0]["interval"] = [27.0, 29.5]  # of resamples, which may all lie below
    assert comparisons.by_length(one)["0-5"].bar == (3.0, 0.0)
    assert comparisons.by_length(two)["0-5"].bar == (pytest.approx(math.sqrt(0.5)),) * 2


def test_notes_say_which_budgets_test_sets_and_machines_differ(settings):
    found = {name: [entry(settings, name)] for name in ("one", "two", "three")}
    text = tables.main(found, "one", "BLEU", MEASURES, []).markdown()
    assert "Budgets differ" not in text
    assert "are those of" not in text
    found["two"][0]["config"]["training"]["steps"] = 1_200
    found["three"][0]["from"] = "others/three-1"
    text = tables.main(found, "one", "BLEU", MEASURES, []).markdown()
    assert "Budgets differ: 12 updates of 256 tokens (one, three); 1,200 updates of 256 tokens (two)." in text
    assert "1 run from others, where the settings are the same." in text
    assert "differ: " not in text.replace("Budgets differ: ", "")
    found["one"].append(entry(settings, "one", 2))
    found["one"][1]["test"]["corpus"] = "another"
    found["three"][0]["device"], found["two"][0]["device"] = "gpu", "cpu"
    text = tables.main(found, "one", "BLEU", MEASURES, []).markdown()
    assert "Test sets differ: abc (one of seed 1, two, three); another (one of seed 2)." in text
    assert "Machines (tokens/s and minutes) differ: cpu (two); gpu (three)." in text


def test_differences_are_tested_over_sentences_and_seeds_where_known(settings):
    def trials(name, noise, seeds, **more):
        return [entry(settings, name, seed, noise=noise, **more) for seed in seeds]

    found = {
        "base": trials("base", 0.3, (1, 2, 3)),
        "far": trials("far", 0.6, (1, 2, 3)),
        "alike": trials("alike", 0.3, (4, 5, 6)),
        "single": trials("single", 0.6, (1,)),
        "old": trials("old", 0.6, (1, 2), sentences=False),
        "old_single": trials("old_single", 0.6, (1,), sentences=False),
    }
    found["elsewhere"] = trials("elsewhere", 0.6, (1, 2))
    for trial in found["elsewhere"]:
        trial["test"]["corpus"] = "another"
    known = comparisons.with_baseline(found, "base", "BLEU", MEASURES)
    assert {name: one.difference.over for name, one in known.items()} == {
        "far": "sentences, seeds",
        "alike": "sentences, seeds",
        "single": "sentences",
        "old": "seeds",
    }
    assert known["far"].significant
    assert not known["alike"].significant
    smallest = min(known.values(), key=lambda one: one.difference.p)
    assert smallest.p == pytest.approx(min(1.0, 4 * smallest.difference.p))
    text = tables.main(found, "base", "BLEU", MEASURES, []).markdown()
    rows = {row.split(" | ")[0].strip("| "): row.strip("| \n").split(" | ") for row in text.splitlines()}
    assert "baseline" in rows["base"]
    assert rows["alike"][-2].endswith(" n.s.")
    assert not rows["far"][-2].endswith("n.s.")
    value, (low, high) = known["far"].difference.value, known["far"].difference.interval
    assert f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−") in rows["far"]
    assert "Not tested against base: old_single, elsewhere" in text
    assert "Holm's correction for 4 comparisons" in text
    for method in ("resamples of sentences and, within them, of seeds", "sentences alone", "Welch's t-test over seeds"):
        assert method in text
    # Old results of another text are not compared either.
    for trial in found["old"]:
        trial["config"]["data"]["test"] = "other"
    assert "old" not in comparisons.with_baseline(found, "base", "BLEU", MEASURES)


def aligned(settings, variant, seed, aer):
    """A result with the attention of two layers of two heads measured."""
    found = entry(settings, variant, seed)
    own = np.tile([10, 10, 0, 0], (50, 1))
    own[:, 2:] = np.random.default_rng(seed).binomial(10, 1 - aer, (50, 1))
    rate = float(1 - own[:, 2:].sum() / 1000)
    found["test"]["scores"]["AER"] = {"value": rate, "interval": [0.1, 0.2]}
    found["test"]["counts"] |= results.packed({"AER": own})
    found["test"]["alignment"] = {
        "heads": [[0.9, 0.5], [aer, 0.25]],
        "layers": [0.7, 0.3],
        "mean": 0.2,
    }
    return found


def test_error_rates_by_head(settings, tmp_path):
    found = {
        "a": [aligned(settings, "a", seed, 0.4) for seed in (1, 2)],
        "b": [aligned(settings, "b", seed, 0.1) for seed in (3, 4)],
    }
    known = comparisons.with_baseline(found, "a", "AER", MEASURES)
    assert known["b"].significant
    assert known["b"].difference.value == pytest.approx(-0.3, abs=0.05)
    text = tables.main(found, "a", "AER", MEASURES, []).markdown()
    assert "AER − a" in text
    seed, table = tables.heads(found["a"])
    assert seed == 1
    assert "| layer 1 | 0.400 | 0.250 | 0.300 |" in table.markdown()
    assert tables.heads([entry(settings), *found["b"]])[0] == 3  # the first that has any
    assert tables.heads([entry(settings)]) is None
    found["a"][0]["test"]["alignment"]["heads"] = []  # nothing was attended to
    assert tables.heads(found["a"])[0] == 2
    figures.heads(found).save(tmp_path / "heads")
    figures.dots(found, "AER", MEASURES["AER"]).save(tmp_path / "aer")
    assert {path.name for path in tmp_path.glob("*.svg")} == {"heads.svg", "aer.svg"}
    assert (
        figures.dots({"c": [entry(settings)]}, "AER", MEASURES["AER"])
        is figures.heads({"c": [entry(settings)]})
        is None
    )


def test_texts_refer_to_the_figures_that_are_drawn(settings, tmp_path):
    """Even if no variant has the metric, or only an undrawn variant has heads."""
    one, two = [aligned(settings, "one", 1, 0.4)], [entry(settings, "two")]
    found = {"one": one, "two": two}
    study = variants.Study({name: variants.Variant(settings) for name in found}, metric="AER")
    for done, drawn, kinds in (
        ({"two": two}, {"two": two}, {"lengths"}),
        (found, {"two": two}, {"aer", "lengths"}),
        (found, found, {"aer", "heads", "lengths"}),
    ):
        part = report.Part(study, "results", done, "", drawn, [], [])
        text = report.texts([part])["results"]
        assert {line.split("(")[1] for line in text.splitlines() if line.startswith("![")} == {
            f"results-{kind}.svg)" for kind in kinds
        }
        assert set(part.drawings) == kinds


def test_pairs_are_compared_besides_the_baseline(settings):
    found = {
        name: [entry(settings, name, seed, noise=noise) for seed in (1, 2, 3)]
        for name, noise in (("base", 0.3), ("far", 0.6), ("farther", 0.8))
    }
    names = (("farther", "far"), ("far", "base"), ("farther", "base"))
    wanted = [*(variants.Pair(*pair) for pair in names), variants.Pair("far", "base", "AER")]
    table = tables.pairs(found, wanted, MEASURES)
    alone = comparisons.with_baseline({name: found[name] for name in ("far", "base")}, "base", "BLEU", MEASURES)["far"]
    value, (low, high) = alone.difference.value, alone.difference.interval
    assert [row[0] for row in table.rows] == ["farther − far", "far − base", "farther − base"]
    assert table.rows[1][1] == f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")
    assert table.rows[1][2] == "≤0.002"  # 3 / 2,001, rounded up
    assert "for 3 comparisons; ≤: no resample was as far" in table.notes[0]
    assert table.notes[1].startswith("Not tested: far − base (AER) (one seed")
    assert tables.pairs(found, [], MEASURES) is None
    untested = tables.pairs(found, wanted[-1:], MEASURES)
    assert untested.rows == []
    assert untested.notes[0].startswith("Not tested: far − base (AER) (one seed without counts of sentences, no gold")


def test_counts_of_other_sentences_raise_with_the_names_of_the_variants(settings):
    found = {name: [entry(settings, name)] for name in ("one", "two")}
    found["two"][0]["test"]["counts"]["BLEU"] = results.packed({"BLEU": np.ones((3, 10), int)})["BLEU"]
    with pytest.raises(TransformerError, match="the results of two and one share a test set"):
        comparisons.with_baseline(found, "one", "BLEU", MEASURES)


@pytest.mark.slow
def test_figures_are_drawn_the_same_every_time(settings, tmp_path):
    bins = {"0-5": 30.0, "6-10": 20.0, "51+": 8.0}
    found = {
        name: [entry(settings, name, seed, bins=bins) for seed in (1, 2)[: 1 + number % 2]]
        for number, name in enumerate(f"cell_{number}" for number in range(9))
    }
    for again in ("first", "second"):
        (tmp_path / again).mkdir()
        figures.lengths(found).save(tmp_path / again / "lengths")
        figures.dots(found, "BLEU", MEASURES["BLEU"]).save(tmp_path / again / "dots")
    for name in ("lengths.svg", "dots.svg", "lengths.pdf", "dots.pdf"):
        content = (tmp_path / "first" / name).read_bytes()
        assert content == (tmp_path / "second" / name).read_bytes()
        assert content.startswith(b"%PDF") or xml.etree.ElementTree.fromstring(content).tag.endswith("svg")
    assert b">cell_8<" in (tmp_path / "first" / "lengths.svg").read_bytes()  # letters, not outlines


def test_special_characters_of_latex_are_escaped():
    assert tables.escape("a_b & 50% #1 $x {y} ~ ^ \\ ± < −1") == (
        r"a\_b \& 50\% \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$ $<$ $-$1"
    )
    table = tables.Table(["", "BLEU"], [["luong_dot", "20.0 ± 1.0"]], ("p < 5%.",))
    assert table.latex("A_B.", "tab:x") == (
        "\\begin{table}\n\\centering\n\\begin{adjustbox}{max width=\\linewidth}\n"
        "\\begin{tabular}{lr}\n\\toprule\n & BLEU \\\\\n\\midrule\n"
        "luong\\_dot & 20.0 $\\pm$ 1.0 \\\\\n\\bottomrule\n\\end{tabular}\n\\end{adjustbox}\n"
        "\\caption{A\\_B. p $<$ 5\\%.}\n\\label{tab:x}\n\\end{table}\n"
    )


def test_placeholders_of_a_readme(tmp_path):
    markdown = {"one": "| a |\n", "two": "b\n"}
    before = "x\n<!-- table:one -->\nold\n<!-- end -->\ny\n<!-- table:two -->\n<!-- end -->\n"
    after = report.filled(before, markdown, tmp_path)
    assert after == "x\n<!-- table:one -->\n| a |\n<!-- end -->\ny\n<!-- table:two -->\nb\n<!-- end -->\n"
    assert report.filled(after, markdown, tmp_path) == after
    with pytest.raises(TransformerError, match="a placeholder for the table three; the tables are one, two"):
        report.filled("<!-- table:three -->\n<!-- end -->", markdown, tmp_path)
    with pytest.raises(TransformerError, match="without an <!-- end -->"):
        report.filled("<!-- table:one -->\nrest", markdown, tmp_path)


def test_report_needs_only_the_results(folder, capsys):
    trials = variants.trials(variants.load(folder))
    with pytest.raises(UsageError, match="no results yet"):
        report.present(folder)
    found = Results(folder / "results.json")
    for one in trials[1:]:
        (folder / "runs" / one.name).mkdir(parents=True)
        results.write(folder / "runs" / one.name, one, entry(one.settings, one.variant, one.seed, unseen=True))
    found.collect(folder / "runs")
    readme = folder / "README.md"
    readme.write_text("Mine.\n<!-- table:results -->\n<!-- end -->\nMore.\n")
    cli.main(["report", str(folder)])
    text = (folder / "tables.md").read_text()
    assert text in capsys.readouterr().out
    assert readme.read_text() == f"Mine.\n<!-- table:results -->\n{text}<!-- end -->\nMore.\n"
    assert "Not yet run: plain-1." in text
    assert "general" not in text
    assert r"\toprule" in (folder / "tables.tex").read_text()
    for name in ("results-lengths.svg", "results-lengths.pdf"):
        assert (folder / name).stat().st_size > 3000
    readme.write_text("<!-- table:wrong -->\n<!-- end -->\n")
    (folder / "tables.md").unlink()
    with pytest.raises(TransformerError, match="the table wrong"):
        report.present(folder)
    assert not (folder / "tables.md").exists()
    readme.write_bytes("Größe\n".encode("latin-1"))
    with pytest.raises(TransformerError, match=r"README.md is not UTF-8 .*: save it as UTF-8"):
        report.present(folder)
    readme.write_bytes(b"Mine.\r\n<!-- table:results -->\r\n<!-- end -->\r\n")
    report.present(folder)
    after = readme.read_bytes()
    assert after.startswith(b"Mine.\r\n<!-- table:results -->\r\n|")
    assert after.count(b"\n") == after.count(b"\r\n")
