"""Folders of CTranslate2, written from a run, and a search that uses them in place of the project's own."""

import copy
import dataclasses
import itertools
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from transformer.api import TrainedModel
from transformer.config import Decoding, Translation, flatten
from transformer.data.tokenizers.files import save_tokenizers
from transformer.data.tokenizers.tokenizer import Tokenizers
from transformer.decoding.slots import Request, Result
from transformer.errors import TransformerError, UsageError
from transformer.models.transformer import ctranslate2 as family
from transformer.models.transformer.config import Transformer
from transformer.special_tokens import BOS, EOS, PAD, UNK
from transformer.storage.files import complete, read_object, write_json
from transformer.storage.run import Run

Quantization = Literal["float32", "float16", "int8", "int16"]
MARK = "export.json"
"""What a folder beside a run was made of."""
TOKENS = 4096
"""Tokens of a batch, with its padding."""
USAGE = """\
A model for CTranslate2. Sources are pieces of the tokenizer in `tokenizer/`, without begin or end token:
    translator = ctranslate2.Translator(FOLDER)
    translator.translate_batch([pieces], suppress_sequences=[[{pad!r}], [{bos!r}]])
"""


def package() -> Any:
    """The package ctranslate2. Raises UsageError with the way to install it."""
    try:
        import ctranslate2
        import ctranslate2.specs
    except ImportError as error:
        raise UsageError(
            f"CTranslate2 is not installed ({error}): pip install 'attention-transformer[ctranslate2]'"
        ) from None
    return ctranslate2


def write(folder: Path, model: TrainedModel, quantization: Quantization = "float32") -> None:
    """Write a model of CTranslate2 with its vocabulary, tokenizers and a note of how it is used.

    Args:
        folder: exists and is empty.
        model: the trained run.
        quantization: type of the matrices.

    Raises UsageError for a setting without a counterpart there, or where the package is missing.
    """
    network = model.settings.model
    if not isinstance(network, Transformer):
        raise UsageError(f"a {type(network).__name__} model has no counterpart in CTranslate2: only a Transformer has")
    family.check(network)
    specs = package().specs
    own = {name: np.array(leaf, np.float32) for name, leaf in flatten(model.parameters).items()}
    spec = family.specification(specs, network, own, _alignment(model))
    source, target = (tokenizer.pieces(range(tokenizer.size)) for tokenizer in model.tokenizers)
    spec.register_source_vocabulary(source)
    spec.register_target_vocabulary(target)
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = network.norm_epsilon
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = (target[id_] for id_ in (UNK, BOS, EOS))
    spec.config.decoder_start_token = target[BOS]
    spec.validate()
    spec.optimize(quantization=None if quantization == "float32" else quantization)
    spec.save(str(folder))
    save_tokenizers(model.tokenizers, folder / "tokenizer")
    (folder / "README.txt").write_text(USAGE.format(pad=target[PAD], bos=target[BOS]), encoding="utf-8")


def searching(model: TrainedModel, quantization: Quantization = "float32") -> TrainedModel:
    """The same model, whose search is CTranslate2's. The export is kept in the run directory, and is rebuilt when the
    parameters change. Raises as `write` does."""
    folder = Run(Path(model.run)).exports / quantization
    package_ = package()
    digest = 0
    for name, leaf in sorted(flatten(model.parameters).items()):
        digest = zlib.crc32(np.asarray(leaf).tobytes(), zlib.crc32(name.encode(), digest))
    made_of = {"checkpoint": model.checkpoint, "parameters": digest, "ctranslate2": package_.__version__}
    if not (folder / MARK).is_file() or read_object(folder / MARK) != made_of:
        try:
            with complete(folder) as unfinished:
                write(unfinished, model, quantization)
                write_json(unfinished / MARK, made_of)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:
            raise TransformerError(f"{folder} cannot be written ({error.strerror})") from error
    translator = copy.copy(model._translator)
    translator.engine = Search(folder, model.tokenizers, model.mesh)  # type: ignore[assignment]
    return dataclasses.replace(model, _translator=translator)


def check_search(search: Decoding) -> None:
    """Refuse what CTranslate2's search does not have. Raises UsageError with the option to change."""
    plain = Decoding()
    for name in ("samples", "coverage_penalty", "attention", "replace_unknown"):
        if getattr(search, name) != getattr(plain, name):
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag}={getattr(search, name)} needs --engine native")
    if search.beam > 1 and search.normalize == "gnmt" and search.length_penalty:
        raise UsageError(
            "--normalize=gnmt is not in CTranslate2: give --normalize average with a --length-penalty, or --beam 1, or "
            "--engine native"
        )


class Search:
    """Does what `decoding.engine.Engine` does."""

    def __init__(self, folder: Path, tokenizers: Tokenizers, mesh: Any):
        package_ = package()
        threads = os.cpu_count() or 1
        self.mesh, self.programs = mesh, SimpleNamespace(compiled=0, seconds=0.0)
        # Each thread has batches of its own: threads that share one wait for each other, long where cores are busy.
        self._translator = package_.Translator(str(folder), device="cpu", inter_threads=threads, intra_threads=1)
        self._source, self._target = (tokenizer.pieces(range(tokenizer.size)) for tokenizer in tokenizers)
        self._ids = {piece: id_ for id_, piece in enumerate(self._target)}

    def run(self, parameters: Any, requests: Sequence[Request], settings: Decoding) -> Iterator[Result]:
        """See `Engine.run`; the parameters are those of the export."""
        alpha = 0.0 if settings.normalize == "none" or settings.beam == 1 else settings.length_penalty

        def limits(request: Request) -> tuple[int, int]:
            return request.max_length, request.min_length

        started: list[tuple[Request, Any]] = []
        for (longest, shortest), group in itertools.groupby(sorted(requests, key=limits), limits):
            several = list(group)
            found = self._translator.translate_batch(
                [[self._source[id_] for id_ in request.source[:-1]] for request in several],  # it adds the EOS token
                [[self._target[id_] for id_ in request.prefix] for request in several],
                max_batch_size=TOKENS,
                batch_type="tokens",
                asynchronous=True,
                beam_size=settings.beam,
                num_hypotheses=settings.n_best,
                length_penalty=alpha,
                return_scores=True,
                max_decoding_length=longest - 1,  # the EOS token is counted here
                min_decoding_length=shortest,
                suppress_sequences=[[self._target[PAD]], [self._target[BOS]]],
                max_input_length=0,
            )
            started += zip(several, found, strict=True)
        for request, one in started:
            yield self._result(request.number, one.result(), alpha)

    def _result(self, number: int, found: Any, alpha: float) -> Result:
        rows = [[self._ids[piece] for piece in hypothesis] for hypothesis in found.hypotheses]
        tokens = np.full((len(rows), 1 + max(map(len, rows))), PAD, np.int32)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids) + 1] = [*ids, EOS]
        scores = np.array(found.scores)
        lengths = np.array([len(ids) + 1 for ids in rows])
        return Result(number, tokens, scores * lengths**alpha, scores, None)


def _alignment(model: TrainedModel) -> tuple[int, int]:
    """The guided layer and heads of a run, where these are the first heads; otherwise all heads of the last layer."""
    task, (layers, _) = model.settings.task, model.model.cross
    assert isinstance(task, Translation)
    heads = task.guided.heads
    if task.guided.weight > 0 and tuple(heads) == tuple(range(len(heads))):
        return task.guided.layer % layers, len(heads)
    return layers - 1, 0
