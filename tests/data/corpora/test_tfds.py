"""TFDS datasets under their real names, compared with TFDS's own decoding, read without TensorFlow."""

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import requests
import tensorflow_datasets
import tensorflow_datasets.translate

from tests.tfds import TRAIN, VALIDATION, prepare, wmt14
from transformer.data.corpora import tfds
from transformer.data.corpora.tfds_checks import DATASETS, check_known
from transformer.errors import TransformerError, UsageError

NAME = "wmt14_translate/de-en"
EN_DE = ("en", "de")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tensorflow_datasets")
    wmt14(place)
    return place


def cleaned(pairs):
    return [tuple(side.replace("\n", " ").strip() for side in pair) for pair in pairs]


def copy(folder: Path, to: Path) -> Path:
    """A copy that a test may damage; returns the folder of the dataset in it."""
    shutil.copytree(folder, to / "copy")
    return to / "copy" / "wmt14_translate" / "de-en" / "1.0.0"


def test_the_pairs_are_those_that_were_prepared(folder):
    train = tfds.open_split(NAME, "train", EN_DE, folder)
    assert len(train) == 50
    assert sorted(train) == sorted(cleaned(TRAIN))
    assert sorted(tfds.open_split(NAME, "validation", EN_DE, folder)) == [("'", "„“"), ("stripped", "zwei Zeilen")]
    assert sorted(tfds.open_split(NAME, "test", EN_DE, folder)) == sorted(cleaned(VALIDATION))


def test_the_direction_is_free(folder):
    forward = list(tfds.open_split(NAME, "train", EN_DE, folder))
    backward = list(tfds.open_split(f"{NAME}:1.0.0", "train", ("de", "en"), folder))
    assert [(target, source) for source, target in backward] == forward


def test_order_and_text_are_those_of_tfds(folder):
    source = tensorflow_datasets.data_source(
        NAME, split="train", data_dir=str(folder), builder_kwargs={"file_format": "array_record"}
    )
    expected = cleaned((example["en"].decode(), example["de"].decode()) for example in source)
    assert list(tfds.open_split(NAME, "train", EN_DE, folder)) == expected


def test_chunks_add_up_to_the_whole(folder, monkeypatch):
    train = tfds.open_split(NAME, "train", EN_DE, folder)
    whole = train.read(0, 50)
    assert train.read(7, 7) == []
    assert train.read(7, 9) == whole[7:9]
    for chunk in (1, 7, 50, 64):
        monkeypatch.setattr(tfds, "CHUNK", chunk)
        assert list(train) == whole
    for start, stop in ((-1, 3), (3, 2), (0, 51)):
        with pytest.raises(IndexError, match="of 50"):
            train.read(start, stop)


def test_slices_and_sums(folder):
    whole = list(tfds.open_split(NAME, "train", EN_DE, folder))
    validation = list(tfds.open_split(NAME, "validation", EN_DE, folder))
    for split, expected in (
        ("train[:10]", whole[:10]),
        ("train[-3:]", whole[-3:]),
        ("train[50%:]", whole[25:]),
        ("train[2:4]+validation", whole[2:4] + validation),
    ):
        assert list(tfds.open_split(NAME, split, EN_DE, folder)) == expected


def test_pickled_and_read_again(folder):
    train = tfds.open_split(NAME, "train", EN_DE, folder)
    again = pickle.loads(pickle.dumps(train))
    assert (len(again), list(again)) == (len(train), list(train))


def test_reading_needs_no_tensorflow_and_no_network_even_in_another_process(folder):
    program = f"""
import multiprocessing, socket, sys
from concurrent.futures import ProcessPoolExecutor
def refuse(*arguments): raise AssertionError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse
from transformer.data.corpora import tfds
assert "tensorflow_datasets" not in sys.modules
pairs = tfds.open_split({NAME!r}, "train", ("en", "de"))
whole = list(pairs)
with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
    assert pool.submit(pairs.read, 3, 40).result() == whole[3:40]
assert "tensorflow" not in sys.modules and "jax" not in sys.modules
print(len(whole))
"""
    environment = os.environ | {"TFDS_DATA_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "50"), done.stderr


def test_prepared_datasets_are_not_overwritten(folder):
    with pytest.raises(TransformerError, match=r"de-en.1\.0\.0 exists: remove it"):
        wmt14(folder)


def test_wmt_from_local_text(tmp_path):
    for name, (english, german) in {"train": ("a\n\nb\n", "x\ny\nz\n"), "newstest2013": ("c\n", "w\n")}.items():
        (tmp_path / f"{name}.en.gz").write_bytes(gzip.compress(english.encode()))
        (tmp_path / f"{name}.de.gz").write_bytes(gzip.compress(german.encode()))
    script = Path(__file__).parent.parent.parent.parent / "experiments" / "wmt" / "local.py"
    command = [sys.executable, str(script), "--text", str(tmp_path), "--folder", str(tmp_path / "tfds")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("train: 2 pairs of train; 1 with an empty side left out")
    assert sorted(tfds.open_split(NAME, "train", EN_DE, tmp_path / "tfds")) == [("a", "x"), ("b", "z")]
    assert list(tfds.open_split(NAME, "test", EN_DE, tmp_path / "tfds")) == [("c", "w")]
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.splitlines()[-1].endswith("exists: remove it, or name another folder")


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert tfds.default_folder() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert tfds.default_folder() == Path.home() / "tensorflow_datasets"


def test_a_language_with_a_longer_name(tmp_path):
    examples = [{"az_tr": "bir", "en": "one"}, {"az_tr": "", "en": "nothing"}]
    prepare("ted_hrlr_translate", "aztr_to_en", {"train": examples}, tmp_path)
    pairs = tfds.open_split("ted_hrlr_translate/aztr_to_en", "train", ("en", "az_tr"), tmp_path)
    assert sorted(pairs) == [("nothing", ""), ("one", "bir")]
    with pytest.raises(UsageError, match=r"--data.languages=az en: .* has no 'az' .did you mean 'az_tr'"):
        tfds.open_split("ted_hrlr_translate/aztr_to_en", "train", ("az", "en"), tmp_path)


def test_languages_that_vary_from_example_to_example(tmp_path):
    examples = [
        {"translations": {"en": "one", "de": "eins", "fr": "un"}, "talk_name": "a"},
        {"translations": {"en": "two", "fr": "deux"}, "talk_name": "a"},
        {"translations": {"de": "drei", "fr": "trois"}, "talk_name": "b"},
    ]
    prepare("ted_multi_translate", None, {"train": examples}, tmp_path)
    pairs = tfds.open_split("ted_multi_translate", "train", EN_DE, tmp_path)
    assert sorted(pairs) == [("", "drei"), ("one", "eins"), ("two", "")]
    assert sorted(tfds.open_split("ted_multi_translate", "train", ("fr", "en"), tmp_path)) == [
        ("deux", "two"), ("trois", ""), ("un", "one"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="has no 'xx'"):
        tfds.open_split("ted_multi_translate", "train", ("en", "xx"), tmp_path)


def test_text_without_languages_is_refused(tmp_path):
    prepare("mtnt", "en-fr", {"train": [{"src": "a", "dst": "b"}]}, tmp_path)
    with pytest.raises(UsageError, match=r"mtnt/en-fr: it does not say .* \(it has src, dst\)|\(it has dst, src\)"):
        tfds.open_split("mtnt/en-fr", "train", ("en", "fr"), tmp_path)


def test_the_newest_version_is_read_unless_one_is_named(folder, tmp_path):
    old = copy(folder, tmp_path)
    new = old.with_name("1.10.0")
    about = json.loads((old / "dataset_info.json").read_text())
    for version, split in (("1.10.0", "test"), ("1.9.0", "train")):
        shutil.copytree(old, old.with_name(version))
        one = about | {"version": version, "splits": [s for s in about["splits"] if s["name"] == split]}
        (old.with_name(version) / "dataset_info.json").write_text(json.dumps(one))
    root = tmp_path / "copy"
    assert tfds.open_split(NAME, "test", EN_DE, root).folder == new
    assert tfds.open_split(f"{NAME}:1.9.0", "train", EN_DE, root).folder == old.with_name("1.9.0")
    with pytest.raises(UsageError, match="no split 'train'"):
        tfds.open_split(NAME, "train", EN_DE, root)


@pytest.mark.parametrize(
    ("name", "split", "languages", "message"),
    [
        ("wmt14_translate/en-de", "train", EN_DE, r"^--data.source=tfds:wmt14_.*/en-de: .*tfds:wmt14_.*/de-en\?"),
        ("ted_hrlr_translate/en_to_pt", "train", ("en", "pt"), r"did you mean tfds:ted_hrlr_translate/pt_to_en\?"),
        ("para_crawl/deen", "train", EN_DE, r"did you mean tfds:para_crawl/ende\?"),
        ("wmt14_translate", "train", ("en", "ru"), r"a config must be named \(did you mean tfds:wmt14_.*/ru-en\?"),
        ("ted_multi_translate/en", "train", EN_DE, r"it has no configs; use tfds:ted_multi_translate$"),
        ("wmt14_translat/de-en", "train", EN_DE, r"did you mean tfds:wmt14_translate\?"),
        ("no/such", "train", EN_DE, r"no translation dataset of TFDS, nor prepared in"),
        ("wmt14_translate/de-en:3.0.0", "train", EN_DE, r"no such version; use 1\.0\.0$"),
        ("wmt14 translate", "train", EN_DE, r"write tfds:DATASET/CONFIG"),
        ("", "train", EN_DE, r"write tfds:DATASET/CONFIG"),
        ("huggingface:a/b", "train", EN_DE, r"write tfds:DATASET/CONFIG"),
        (NAME, "validaton", EN_DE, r"^--data.test=validaton: .* no split 'validaton' \(did you mean 'validation'\?\)"),
        (NAME, "", EN_DE, r"no split ''"),
        (NAME, "train+tset", EN_DE, r"did you mean 'test'\?"),
        (NAME, "train[:9999]", EN_DE, r"^--data.test=train\[:9999\]: .*50 examples"),
        (NAME, "train[x]", EN_DE, r"not a split of"),
        (NAME, "train[:0]", EN_DE, r"it has no pairs"),
        (NAME, "train", ("en", "fr"), r"^--data.languages=en fr: .* has no 'fr' .*; it has de, en$"),
        (NAME, "train", ("en", "en"), r"^--data.languages: source and target are both 'en'"),
    ],
)  # fmt: skip
def test_wrong_settings(folder, name, split, languages, message):
    with pytest.raises(UsageError, match=message) as info:
        tfds.open_split(name, split, languages, folder, flag="--data.test")
    assert "\n" not in str(info.value)


def test_an_unprepared_dataset_is_refused_at_once(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(TransformerError, match=r"fr-en is not prepared in .*: run `transformer data prepare RECIPE`"):
        tfds.open_split("wmt14_translate/fr-en", "train", ("en", "fr"), folder)


def test_another_file_format_is_refused(folder, tmp_path):
    about = copy(folder, tmp_path) / "dataset_info.json"
    about.write_text(about.read_text().replace('"array_record"', '"tfrecord"'))
    for read in (lambda: tfds.open_split(NAME, "train", EN_DE, tmp_path / "copy"),
                 lambda: tfds.download(NAME, tmp_path / "copy")):  # fmt: skip
        with pytest.raises(TransformerError, match=r"de-en.1\.0\.0 is prepared as tfrecord, which needs TensorFlow"):
            read()


def test_damaged_datasets(folder, tmp_path):
    place = copy(folder, tmp_path)
    data = place / "wmt14_translate-train.array_record-00000-of-00001"
    whole = data.read_bytes()
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    for damaged in (whole[: len(whole) // 2], flipped, bytes(len(whole)), b""):
        data.write_bytes(damaged)
        with pytest.raises(TransformerError, match=r"train is damaged .*remove that folder and run"):
            list(tfds.open_split(NAME, "train", EN_DE, tmp_path / "copy"))
    data.unlink()
    with pytest.raises(TransformerError, match=f"no such file: {data}"):
        tfds.open_split(NAME, "train", EN_DE, tmp_path / "copy")
    assert len(list(tfds.open_split(NAME, "test", EN_DE, tmp_path / "copy"))) == 2
    (place / "dataset_info.json").write_text("{")
    with pytest.raises(TransformerError, match=f"{place} is damaged"):
        tfds.open_split(NAME, "train", EN_DE, tmp_path / "copy")


def test_downloading_a_prepared_dataset_does_nothing(folder):
    assert tfds.download(NAME, folder) == folder / "wmt14_translate" / "de-en" / "1.0.0"


def test_downloading_runs_the_builder(tmp_path, monkeypatch, capsys):
    made = []

    def local(**options):
        made.append(options)
        prepare("wmt14_translate", "de-en", {"train": [{"en": "a", "de": "b"}]}, tmp_path)
        return Ready()

    class Ready:
        data_dir = str(tmp_path / "wmt14_translate" / "de-en" / "1.0.0")

        def download_and_prepare(self, file_format):
            print("TFDS prints this")
            made.append({"file_format": file_format})

    monkeypatch.setattr(tfds, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(tfds, "check_known", lambda *arguments: check_known(*arguments) and local)
    assert tfds.download(NAME, tmp_path) == Path(Ready.data_dir)
    assert [options["file_format"] for options in made] == ["array_record"] * 2
    assert capsys.readouterr().out == ""
    assert list(tfds.open_split(NAME, "train", EN_DE, tmp_path)) == [("a", "b")]


def test_downloading_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "find_spec", lambda name: None)
    with pytest.raises(TransformerError, match=r"pip install 'attention-transformer\[tfds\]'"):
        tfds.download(NAME, tmp_path)
    with pytest.raises(UsageError, match="did you mean"):  # a wrong name comes first
        tfds.download("wmt14_translate/en-de", tmp_path)


def test_network_errors_take_one_line(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise requests.exceptions.ConnectionError("no\nroute to host")

    monkeypatch.setattr(tfds, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(requests.Session, "get", fail)
    monkeypatch.setattr(tensorflow_datasets.download.DownloadManager, "download_and_extract", fail)
    with pytest.raises(TransformerError, match=r"could not be prepared in .*: ConnectionError: no route to host$"):
        tfds.download(NAME, tmp_path)
    assert not list(tmp_path.glob("**/dataset_info.json"))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr(
        tensorflow_datasets.download.DownloadManager, "download_and_extract", lambda *a: __import__("tensorflow")
    )
    with pytest.raises(TransformerError, match=r"pip install 'attention-transformer\[tfds\]'"):
        tfds.download(NAME, tmp_path)


def test_every_translation_dataset_of_tfds_is_known():
    names = {
        path.name
        for path in Path(tensorflow_datasets.translate.__path__[0]).iterdir()
        if not path.name.startswith("_") and "test" not in path.name
    }
    assert {"wmt14.py", "opus.py"} <= names
    for name in DATASETS:
        assert tensorflow_datasets.builder_cls(name).name == name
    every = {"flores", "opus", "para_crawl", "ted_hrlr_translate", "ted_multi_translate", "wmt_t2t_translate"}
    every |= {f"{name[:-3]}_translate" for name in names if name.startswith("wmt1")}
    assert set(DATASETS) == every
