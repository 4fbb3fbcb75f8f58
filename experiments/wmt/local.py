"""`wmt14_translate/de-en` of TFDS out of local text, for machines without a network or hours to prepare the real one:

    python experiments/wmt/local.py --text data/wmt-en-de --folder ~/tensorflow_datasets

reads train.{en,de}.gz and newstest2013.{en,de}.gz and writes what TFDS itself would: the real builder runs, given these
files where it would have downloaded its own. `train` is train.*; `validation` and `test` are both newstest2013. What is
then read by the real name is NOT WMT's training data but what the files hold: here the newstests of 2008-2012 pooled, a
small stand-in (13,573 pairs; WMT14 has 4.5 million). A figure made with it says so.
"""

import argparse
import contextlib
import os
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from transformer.data import corpus
from transformer.errors import TransformerError

Example = dict[str, Any]


def prepare(dataset: str, config: str | None, splits: Mapping[str, Iterable[Example]], folder: Path) -> Path:
    """Prepare a dataset of TFDS from given examples by its real builder, into `folder`; returns the dataset's own.

    The builder is a subclass under the same name, which is not registered, so that the name still means the real one.
    """
    import tensorflow_datasets as tfds
    import tensorflow_datasets.translate

    real = tfds.builder_cls(dataset)

    def body(namespace: dict[str, Any]) -> None:
        namespace["name"], namespace["pkg_dir_path"] = dataset, real.pkg_dir_path
        namespace["_split_generators"] = lambda self, manager: {name: self._generate_examples(name) for name in splits}
        namespace["_generate_examples"] = lambda self, split: enumerate(splits[split])

    local = types.new_class(real.__name__, (real,), {"skip_registration": True}, body)
    builder = local(config=config, data_dir=os.fspath(folder), file_format="array_record")
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_dir)


def pairs(prefix: Path) -> Iterator[Example]:
    """The pairs of PREFIX.en.gz and PREFIX.de.gz that have both sides, as WMT's builder takes them."""
    files = [prefix.with_name(f"{prefix.name}.{language}.gz") for language in ("en", "de")]
    for number, (english, german) in enumerate(zip_longest(*map(corpus.stream_lines, files)), 1):
        if english is None or german is None:
            raise TransformerError(f"{files[english is not None]} ends before line {number}")
        if english and german:
            yield {"en": english, "de": german}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of the gzipped text files")
    parser.add_argument("--folder", type=Path, required=True, help="folder of all TFDS datasets")
    arguments = parser.parse_args()
    sources = {"train": "train", "validation": "newstest2013", "test": "newstest2013"}
    splits = {name: list(pairs(arguments.text / file)) for name, file in sources.items()}
    place = prepare("wmt14_translate", "de-en", splits, arguments.folder.expanduser())
    for name, examples in splits.items():
        print(f"{name}: {len(examples)} pairs of {sources[name]}")
    print(f"{place}: read it with --data.source tfds:wmt14_translate/de-en")


if __name__ == "__main__":
    try:
        main()
    except TransformerError as error:
        sys.exit(f"{error}")
