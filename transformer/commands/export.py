"""`transformer export`: a trained run in the format of another toolkit."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from transformer.commands.options import Checkpoint, Command, RunFolder, read_translation
from transformer.errors import TransformerError, UsageError
from transformer.storage.files import complete

log = logging.getLogger(__name__)

Folder = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR", help="The folder to write, a new one.")]


@dataclass(frozen=True)
class Export(Command):
    """Write a trained run for another toolkit: its parameters, its tokenizers and its search.

    huggingface: a folder that MarianMTModel and MarianTokenizer of the package transformers load. ctranslate2: a folder
    that ctranslate2.Translator loads. A setting that the other toolkit does not have is refused by its name.
    """

    run: RunFolder
    folder: Folder
    to: Literal["huggingface", "ctranslate2"]
    """The other toolkit."""
    quantization: Literal["float32", "float16", "int8", "int16"] = "float32"
    """Type of the matrices; for ctranslate2."""
    checkpoint: Checkpoint = "auto"

    def check(self) -> None:
        if self.quantization != "float32" and self.to != "ctranslate2":
            raise UsageError(f"--quantization={self.quantization} needs --to ctranslate2")
        if Path(self.folder).exists():
            raise UsageError(f"{self.folder} exists: give another folder, or remove it")
        read_translation(self.run)

    def execute(self) -> None:
        from transformer import api
        from transformer.interop import ctranslate2, export

        model, folder = api.load(self.run, self.checkpoint), Path(self.folder)
        try:
            with complete(folder) as unfinished:
                if self.to == "ctranslate2":
                    ctranslate2.write(unfinished, model, self.quantization)
                else:
                    export.to_huggingface(model, unfinished)
        except OSError as error:
            raise TransformerError(f"{folder} cannot be written ({error.strerror})") from error
        print(f"{folder}: {model.checkpoint} of {self.run}")
