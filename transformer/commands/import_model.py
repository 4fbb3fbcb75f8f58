"""`transformer import-model`: a model of another toolkit as a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.commands.options import Command
from transformer.errors import UsageError
from transformer.plurals import counted
from transformer.tasks.translation.config import Translation

Folder = Annotated[
    tyro.conf.Positional[str],
    tyro.conf.arg(
        metavar="DIR", help="A folder of Hugging Face with a MarianMTModel or GPT2LMHeadModel, and its tokenizer."
    ),
]


@dataclass(frozen=True)
class ImportModel(Command):
    """Import a model of Hugging Face as a run, which then translates, aligns and fine-tunes like any other.

    Reads config.json, model.safetensors (also in several files), vocab.json, source.spm and target.spm, and where they
    exist generation_config.json, tokenizer_config.json and target_vocab.json; of a GPT-2 vocab.json and merges.txt.
    Nothing is executed: pickles (.bin) are refused.
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
        from transformer.interop import gpt2, huggingface, run
        from transformer.interop.tensors import read_json

        folder = Path(self.folder)
        if read_json(folder / "config.json").get("model_type") == "gpt2":
            if self.languages is not None:
                raise UsageError("--languages are those of translation, and a GPT-2 has none: leave it out")
            found = gpt2.read(folder)
        else:
            found = huggingface.read(folder, self.languages)
        run.write(Path(self.run), found.settings, found.tokenizers, found.parameters, folder)
        count = sum(values.size for values in found.parameters.values())
        what = " to ".join(found.settings.data.languages)
        if not isinstance(found.settings.task, Translation):
            what = "a language model"
        print(f"run: {self.run}   {what}, {counted(count, 'parameter')}")
