"""`transformer import-model`: a model of another toolkit as a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.commands.options import Command
from transformer.errors import UsageError
from transformer.plurals import counted

Folder = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(metavar="DIR", help="A folder of Hugging Face with a MarianMTModel and its MarianTokenizer."),
]


@dataclass(frozen=True)
class ImportModel(Command):
    """Import a model of Hugging Face as a run, which then translates, aligns and fine-tunes like any other.

    Reads config.json, model.safetensors (also in several files), vocab.json, source.spm and target.spm, and where they
    exist generation_config.json, tokenizer_config.json and target_vocab.json. Nothing is executed: pickles (.bin) are
    refused.
    """

    folder: Folder
    run: str
    """Directory of the run, a new one."""
    languages: tuple[str, str] | None = None
    """Source and target language, the extensions of files of text; by default those that the folder names."""

    def execute(self) -> None:
        if not Path(self.folder).is_dir():
            raise UsageError(f"there is no folder {self.folder}: give one with config.json and model.safetensors")
        if Path(self.run).exists():
            raise UsageError(f"--run={self.run} exists: give another name, or remove it")
        from transformer.interop import huggingface, run

        found = huggingface.read(Path(self.folder), self.languages)
        run.write(Path(self.run), found.settings, found.tokenizers, found.parameters, Path(self.folder))
        count = sum(values.size for values in found.parameters.values())
        source, target = found.settings.data.languages
        print(f"run: {self.run}   {source} to {target}, {counted(count, 'parameter')}")
