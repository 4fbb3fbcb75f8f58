"""Every figure compared with loops over the text files and the batches; the command as a user types it."""

import dataclasses
import json
from collections import Counter, defaultdict
from statistics import fmean

import numpy as np
import pytest
from matplotlib import image

from tests.conftest import toy
from tests.test_cli import run
from transformer.data.batching.plan import Share
from transformer.inspection import repetition
from transformer.inspection.draw import draw
from transformer.inspection.measure import describe_tokens, measure, quantile
from transformer.inspection.terminal import format_figures
from transformer.tasks.translation.prepare import prepare

SIDES = ("source", "target")


@pytest.fixture(scope="session")
def messy(corpora, tmp_path_factory):
    """The toy language with repeats, several translations, pairs that are too long, and held-out pairs in training."""
    folder = tmp_path_factory.mktemp("messy")
    read = {
        name: list(zip(*((corpora / f"{name}.{end}").read_text().splitlines() for end in ("xx", "yy")), strict=True))
        for name in ("train", "validation", "test")
    }
    train = read["train"]
    train += [*train[:7], *train[:2]]
    train += [(source, "ANOTHER " + target) for source, target in train[10:15]]
    train += [("another", train[20][1])]
    train += [("ba " * 40, "BA"), ("", "BA"), ("ba", "")]
    train += [*read["test"][:3], (read["test"][4][0], "NEW"), ("new", read["validation"][5][1])]
    read["validation"] += [("quite unheard of ba", "BA UNGEHÖRT"), ("long " * 40, "LONG")]
    for name, pairs in read.items():
        for side, end in enumerate(("xx", "yy")):
            (folder / f"{name}.{end}").write_text("".join(pair[side].strip() + "\n" for pair in pairs))
    return folder


@pytest.fixture(scope="session", params=["joint words", "separate pieces"])
def found(request, messy, tmp_path_factory):
    settings = toy(messy, tmp_path_factory.mktemp("cache"))
    changes = (
        {"vocabulary": 25} if request.param == "joint words" else {"kind": "bpe", "joint": False, "vocabulary": 90}
    )
    settings = dataclasses.replace(
        settings,
        tokenizer=dataclasses.replace(settings.tokenizer, **changes),
        batching=dataclasses.replace(settings.batching, shapes=3),
    )
    prepared = prepare(settings, None)
    return settings, prepared, measure(prepared, settings)


def lines(folder, name):
    return list(zip(*((folder / f"{name}.{end}").read_text().split("\n")[:-1] for end in ("xx", "yy")), strict=True))


def trained_on(messy, prepared, longest=16):
    """Text and tokens of the pairs that are trained on, by reading the files."""
    kept, dropped = [], 0
    for pair in lines(messy, "train"):
        if all(pair):
            ids = [[*tokenizer.encode(side), 3] for tokenizer, side in zip(prepared.tokenizers, pair, strict=True)]
            if max(map(len, ids)) <= longest:
                kept.append((*pair, *ids))
            else:
                dropped += 1
    return kept, dropped


def test_pairs_and_left_out_pairs(messy, found):
    _, prepared, (figures, _, _) = found
    kept, dropped = trained_on(messy, prepared)
    assert dropped
    assert figures["training"]["pairs"] == len(kept)
    assert figures["training"]["left_out"] == {"empty side": 2, "longer than --data.max-length=16": dropped}
    assert figures["training"]["limit"] == 0


def test_lengths(messy, found):
    _, prepared, (figures, counts, _) = found
    kept, _ = trained_on(messy, prepared)
    for side, name in enumerate(SIDES):
        words, tokens = [len(row[side].split()) for row in kept], [len(row[2 + side]) for row in kept]
        for unit, values in (("words", words), ("tokens", tokens)):
            one = figures["training"]["lengths"][name][unit]
            assert one["mean"] == pytest.approx(fmean(values))
            assert one["longest"] == max(values)
            for key, percent in (("median", 50), ("percent_95", 95), ("percent_99", 99)):
                assert one[key] == np.quantile(values, percent / 100, method="inverted_cdf")
            assert one["counts"] == [values.count(length) for length in range(max(values) + 1)]
        each = figures["training"]["lengths"][name]["tokens_per_word"]
        assert each == pytest.approx(sum(n - 1 for n in tokens) / sum(words))
    ratio, ratios = figures["training"]["lengths"]["ratio"], [len(row[3]) / len(row[2]) for row in kept]
    assert ratio["all"] == pytest.approx(sum(len(row[3]) for row in kept) / sum(len(row[2]) for row in kept))
    for percent in (1, 5, 50, 95, 99):
        assert ratio[f"percent_{percent}"] == np.quantile(ratios, percent / 100, method="inverted_cdf")
    pairs = Counter((len(row[2]), len(row[3])) for row in kept)
    assert {(s, t): counts[s, t] for s, t in np.argwhere(counts).tolist()} == pairs


def test_vocabulary_and_unknown_tokens(messy, found):
    _, prepared, (figures, _, _) = found
    kept, _ = trained_on(messy, prepared)
    joint = prepared.tokenizers.source is prepared.tokenizers.target
    assert list(figures["vocabulary"]) == [*SIDES, *["both"] * joint]
    for side in (0, 1):
        ids = [i for row in kept for i in row[2 + side][:-1]]
        assert figures["training"]["unknown"][side] == pytest.approx(ids.count(1) / len(ids))
    assert not joint or figures["training"]["unknown"][0] > 0.05
    for name, sides in (("source", (2,)), ("target", (3,)), ("both", (2, 3))):
        if name not in figures["vocabulary"]:
            continue
        one = figures["vocabulary"][name]
        tokens = [i for row in kept for side in sides for i in row[side][:-1]]
        often = Counter(i for i in tokens if i > 3)
        entries = range(4, prepared.tokenizers[sides[0] - 2].size)
        assert one["entries"] == len(entries)
        assert one["tokens"] == len(tokens)
        assert one["used"] == len(often)
        assert one["share_of_1000"] == pytest.approx(sum(often.values()) / len(tokens))
        for times in (5, 100):
            assert one[f"fewer_than_{times}"] == sum(often[i] < times for i in entries)


def test_the_most_frequent_entries_and_no_tokens_at_all():
    counts = np.random.default_rng(1).integers(0, 50, 3000)
    top = sum(sorted(counts[4:].tolist())[-1000:])
    assert describe_tokens(counts)["share_of_1000"] == pytest.approx(top / (counts.sum() - counts[3]))
    assert describe_tokens(np.zeros(9, np.int64))["share_of_1000"] == 0


def test_quantiles_of_counts():
    random = np.random.default_rng(2)
    for _ in range(50):
        counts = random.integers(0, 4, 9)
        counts[random.integers(9)] += 1
        values = np.repeat(np.arange(9), counts)
        for percent in (1, 5, 50, 95, 99, 100):
            ranked = sorted(values.tolist())[-(-len(values) * percent // 100) - 1]
            assert quantile(np.arange(9), counts, percent) == ranked


def test_repeats(messy, found):
    _, prepared, (figures, _, _) = found
    kept, _ = trained_on(messy, prepared)
    ahead, behind = defaultdict(set), defaultdict(set)
    for source, target, *_ in kept:
        ahead[source].add(target)
        behind[target].add(source)
    several = [sum(len(others) > 1 for others in side.values()) for side in (ahead, behind)]
    assert min(several) > 0
    assert figures["training"]["repeats"] == {
        "pairs": len(kept) - len({row[:2] for row in kept}),
        "different_sources": len(ahead),
        "different_targets": len(behind),
        "sources_with_several_targets": several[0],
        "targets_with_several_sources": several[1],
    }
    assert figures["training"]["repeats"]["pairs"] >= 9


def test_repeats_and_leaks_are_counted_in_parts(monkeypatch):
    monkeypatch.setattr(repetition, "PART", 64)
    monkeypatch.setattr(repetition, "BLOCK", 37)
    random = np.random.default_rng(3)
    names = np.array([f"s{n}" for n in range(300)])
    keys, others = (random.choice(names, 1000).tolist() for _ in range(2))
    hashed = repetition.hash_sentences(keys), repetition.hash_sentences(others)
    groups = defaultdict(set)
    for key, other in zip(keys, others, strict=True):
        groups[key].add(other)
    several = sum(len(group) > 1 for group in groups.values())
    assert repetition.count_distinct(*hashed) == (len(set(zip(keys, others, strict=True))), len(groups), several)
    held = [("s1", "s2"), (keys[3], others[3]), (keys[999], "new"), ("new", others[500]), ("new", "new")]
    one, other = ([pair[side] for pair in held] for side in (0, 1))
    kept = repetition.HeldOutText(
        (Counter(), Counter()), (repetition.hash_sentences(one), repetition.hash_sentences(other))
    )
    walked = repetition.TrainingText((np.ones(1), np.ones(1)), hashed, (set(), set()))
    assert repetition.count_leaks(kept, walked) == {
        "pairs": sum(pair in set(zip(keys, others, strict=True)) for pair in held),
        "sources": sum(source in keys for source in one),
        "targets": sum(target in others for target in other),
    }


@pytest.mark.parametrize("name", ["validation", "test"])
def test_held_out_sets(messy, found, name):
    _, prepared, (figures, _, _) = found
    kept, _ = trained_on(messy, prepared)
    pairs, one = lines(messy, name), figures["held_out"][name]
    assert one["pairs"] == len(pairs)
    for side in (0, 1):
        words = [word for pair in pairs for word in pair[side].split()]
        known = {word for row in kept for word in row[side].split()}
        assert one["unmet"][side] == pytest.approx(fmean(word not in known for word in words))
        ids = [i for pair in pairs for i in prepared.tokenizers[side].encode(pair[side])]
        assert one["unknown"][side] == pytest.approx(ids.count(1) / len(ids))
        lengths = [len(prepared.tokenizers[side].encode(pair[side])) + 1 for pair in pairs]
        assert one["lengths"][SIDES[side]]["mean"] == pytest.approx(fmean(lengths))
        assert one["lengths"][SIDES[side]]["longest"] == max(lengths)
    assert one["in_training"] == {
        "pairs": sum(pair in {row[:2] for row in kept} for pair in pairs),
        "sources": sum(source in {row[0] for row in kept} for source, _ in pairs),
        "targets": sum(target in {row[1] for row in kept} for _, target in pairs),
    }
    assert one["in_training"]["pairs"] >= 3 * (name == "test")
    assert (one["unmet"][0] > 0) == (name == "validation")
    assert one["too_long"] == (name == "validation")


def test_batches(found):
    settings, prepared, (figures, _, _) = found
    plan, batching = prepared.plan, figures["batching"]
    real, padded, batches, examples = (defaultdict(int) for _ in range(4))
    for index in range(len(plan)):
        number, ids = plan.batch(index)
        bucket = plan.buckets[number]
        batches[number], examples[number] = batches[number] + 1, examples[number] + len(ids)
        for side, name in enumerate(SIDES):
            real[number, name] += sum(len(prepared.examples.example(i)[side]) for i in ids.tolist())
            padded[number, name] += bucket.rows * bucket.lengths[side]
    assert len(batching["buckets"]) > 1
    for number, one in enumerate(batching["buckets"]):
        assert (one["batches"], one["examples"]) == (batches[number], examples[number])
        for name in SIDES:
            assert one[f"{name}_efficiency"] == pytest.approx(real[number, name] / padded[number, name])
        both = [sum(counts[number, name] for name in SIDES) for counts in (real, padded)]
        assert [one["real"], one["padded"]] == pytest.approx(both)
        assert one["efficiency"] == pytest.approx(both[0] / both[1])
    assert batching["efficiency"] == pytest.approx(sum(real.values()) / sum(padded.values()))
    assert batching["batches"] == sum(batches.values())
    assert batching["epochs"] == pytest.approx(settings.training.steps / sum(batches.values()))
    means = [sum(real[number, name] for number in batches) / sum(batches.values()) for name in SIDES]
    assert batching["tokens_per_batch"] == pytest.approx(means)


def test_mixtures(messy, corpora, tmp_path):
    settings = toy(messy, tmp_path)
    data = dataclasses.replace(settings.data, also=(str(corpora / "validation"),), weights=(1.0, 1.0))
    prepared = prepare(dataclasses.replace(settings, data=data), None)
    figures = measure(prepared, dataclasses.replace(settings, data=data)).figures
    one, other = figures["training"]["corpora"]
    pairs = sum(map(all, lines(messy, "train")))
    assert (one["name"], one["pairs"], one["examples"]) == (str(messy / "train"), pairs, pairs - 1)
    assert (other["name"], other["pairs"], other["examples"]) == (str(corpora / "validation"), 24, 24)
    assert one["share"] == other["share"] == pytest.approx(0.5)
    assert other["passes"] == pytest.approx((pairs - 1 + 24) / 2 / 24)
    assert prepared.plan.shares[1] == Share(pairs - 1, other["passes"])
    plan, real, padded = prepared.plan, 0, 0
    for number, ids in map(plan.batch, range(len(plan))):
        real += sum(lengths[ids].sum() for lengths in prepared.examples.lengths.values())
        padded += plan.buckets[number].rows * sum(plan.buckets[number].lengths)
    assert sum(b["real"] for b in figures["batching"]["buckets"]) == real
    assert sum(b["padded"] for b in figures["batching"]["buckets"]) == padded
    assert "corpora of the mixture" in format_figures(figures, "toy")


def test_sampled_pieces_are_those_of_the_first_epoch(messy, tmp_path):
    settings = toy(messy, tmp_path)
    drawn = dataclasses.replace(settings.tokenizer, kind="bpe", vocabulary=90, sampling=0.5)
    settings = dataclasses.replace(settings, tokenizer=drawn)
    prepared = prepare(settings, None)
    try:
        figures = measure(prepared, settings).figures
        first = prepared.epochs.epoch(0)[0]
        assert figures["training"]["lengths"]["source"]["tokens"]["sum"] == first.lengths["source"].sum()
        assert first.lengths["source"].sum() > prepared.examples.lengths["source"].sum()
        words = sum(len(row[0].split()) for row in trained_on(messy, prepared)[0])
        assert figures["training"]["lengths"]["source"]["words"]["sum"] == words
    finally:
        prepared.close()
    assert "sampled for the first epoch" in format_figures(figures, "toy")


def test_the_picture_is_drawn(found, tmp_path):
    draw(found[2], "toy", tmp_path / "picture")
    pixels = image.imread(tmp_path / "picture", format="png")[..., :3]
    assert pixels.shape == (1200, 1650, 3)
    for rows in (slice(60, 560), slice(640, 1140)):
        for columns in (slice(110, 720), slice(920, 1520)):  # within the axes of each of the four
            panel = pixels[rows, columns].reshape(-1, 3)
            assert len(np.unique(panel, axis=0)) > 10
            assert 0.01 < (panel < 0.98).any(axis=1).mean() < 0.99


def arguments(corpora, tmp_path, *more):
    data = [f"--data.{name}={corpora / name}" for name in ("train", "validation", "test")]
    fixed = ["--smoke", "--data.languages", "xx", "yy", "--data.cache", str(tmp_path / "cache")]
    return ["data", "inspect", "files", *data, *fixed, "--output", str(tmp_path / "out"), *more]


def test_the_command(messy, tmp_path, capsys):
    assert run(*arguments(messy, tmp_path)) == 0
    out = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.json", "data.png"]
    kept = json.loads((tmp_path / "out" / "data.json").read_text())
    assert kept["recipe"] == "files-smoke"
    assert f"files-smoke, xx to yy: {kept['training']['pairs']:,} training pairs" in out
    assert "left out: 2 (empty side)" in out
    assert "--training.steps=10: " in out
    assert str(tmp_path / "out" / "data.png") in out
    assert run(*arguments(messy, tmp_path, "--tokenizer.vocabulary", "60")) == 0, "written anew"
    again = json.loads((tmp_path / "out" / "data.json").read_text())
    assert again["vocabulary"]["both"]["entries"] == 56 < kept["vocabulary"]["both"]["entries"]


def test_the_default_folder_has_the_recipes_name(messy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = arguments(messy, tmp_path)
    place = given.index("--output")
    assert run(*given[:place]) == 0
    assert (tmp_path / "runs" / "files-smoke-data" / "data.png").is_file()


def test_a_folder_with_other_files_is_refused(messy, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    assert run(*arguments(messy, tmp_path)) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists(), "refused before anything is done"
    (tmp_path / "out" / "thesis.tex").unlink()
    (tmp_path / "out").rmdir()
    (tmp_path / "out").touch()
    assert run(*arguments(messy, tmp_path)) == 2
    assert "is not a folder" in capsys.readouterr().err


BAD = {
    "no command": (["data"], 2, "inspect"),
    "typo in the command": (["data", "inspct", "grammar"], 2, "inspect"),
    "no recipe": (["data", "inspect"], 2, "RECIPE"),
    "unknown recipe": (["data", "inspect", "gramar"], 2, "did you mean grammar?"),
    "options before the recipe": (["data", "inspect", "--smoke", "files"], 2, "transformer data inspect RECIPE"),
    "typo in an option": (["data", "inspect", "grammar", "--data.limt", "3"], 2, "--data.limit"),
    "impossible setting": (["data", "inspect", "grammar", "--batching.tokens", "64"], 2, "--batching.tokens=64"),
    "missing file": (["data", "inspect", "files", "--data.train", "nowhere/train"], 1, "nowhere/train.en"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_message_and_its_exit_code(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given, code, said = BAD[case]
    assert run(*given) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "runs").exists()


def test_help_lists_the_commands_and_every_setting(capsys):
    assert run("--help") == 0
    assert "data" in capsys.readouterr().out
    assert run("data", "--help") == 0
    assert "inspect" in capsys.readouterr().out
    assert run("data", "inspect", "grammar", "--help") == 0
    out = capsys.readouterr().out
    for flag in ("--output", "--smoke", "--data.source", "--batching.shapes", "--tokenizer.sampling"):
        assert flag in out


def test_percentages_are_never_rounded_to_0_or_100():
    from transformer.inspection.terminal import _percent

    shown = {0: "0%", 1e-6: "<0.01%", 0.0003: "0.03%", 0.0125: "1.2%", 0.9999: "99.9%", 1: "100%"}
    assert {share: _percent(share) for share in shown} == shown
