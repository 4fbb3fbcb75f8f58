"""`wmt14_translate/de-en` of TFDS from local text, for machines without a network or hours to prepare the real one:

    python experiments/wmt/local.py --text data/wmt-en-de --folder ~/tensorflow_datasets

reads train.{en,de}.gz and newstest2013.{en,de}.gz and writes what TFDS itself would: the real builder runs, given these
files where it would have downloaded its own. `train` is train.*; `validation` and `test` are both newstest2013. The
data under the real name is then NOT WMT's training data but the content of the files: here the newstests of 2008-2012
pooled, a small stand-in (13,573 pairs; WMT14 has 4.5 million). Figures made with it must say so.
"""

import argparse
import contextlib
import os
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformer.data.corpora.files import read_parallel
from transformer.errors import TransformerError

Example = dict[str, Any]


def prepare(dataset: str, config: str | None, splits: Mapping[str, Iterable[Example]], folder: Path) -> Path:
    """Prepare a dataset of TFDS from given examples by its real builder, into `folder`; returns the dataset's own.

    The builder is a subclass under the same name, which is not registered, so that the name still means the real one.
    Raises TransformerError if the dataset is already prepared.
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
    if Path(builder.data_dir).exists():
        raise TransformerError(f"{builder.data_dir} exists: remove it, or name another folder")
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_dir)


def pairs(prefix: Path) -> list[Example]:
    """The pairs of PREFIX.en.gz and PREFIX.de.gz."""
    english, german = read_parallel(*(prefix.with_name(f"{prefix.name}.{end}.gz") for end in ("en", "de")))
    return [{"en": one, "de": other} for one, other in zip(english, german, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of the gzipped text files")
    parser.add_argument("--folder", type=Path, required=True, help="folder of all TFDS datasets")
    arguments = parser.parse_args()
    files = {"train": "train", "validation": "newstest2013", "test": "newstest2013"}
    every = {split: pairs(arguments.text / file) for split, file in files.items()}
    kept = {split: [pair for pair in all_of_it if all(pair.values())] for split, all_of_it in every.items()}
    place = prepare("wmt14_translate", "de-en", kept, arguments.folder.expanduser())
    for split, file in files.items():
        left_out = len(every[split]) - len(kept[split])
        print(f"{split}: {len(kept[split])} pairs of {file}; {left_out} with an empty side left out, as by WMT")
    print(f"{place}: read it with --data.source tfds:wmt14_translate/de-en")


if __name__ == "__main__":
    try:
        main()
    except TransformerError as error:
        sys.exit(f"{error}")
