"""A trained Transformer as a CTranslate2 model, so that both engines search with the same parameters.

    pip install ctranslate2 && python experiments/search/to_ctranslate2.py RUN FOLDER --input FILE

Writes the model into FOLDER, and FILE's sentences as pieces into FOLDER/source.pieces. For pre- or post-norm, relu or
gelu, scaled dot-product attention and sinusoidal positions: anything else is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2.specs as specs
import numpy as np
import tyro

import transformer
from transformer.config import Transformer
from transformer.data.corpora.files import read_lines
from transformer.errors import UsageError
from transformer.nn.layers import sinusoids


@dataclass(frozen=True)
class Export:
    """Convert a run."""

    run: tyro.conf.Positional[str]
    folder: tyro.conf.Positional[str]
    input: str
    """Sources, plain or .gz."""

    def __call__(self) -> None:
        model = transformer.load(self.run)
        settings, folder = model.settings.model, Path(self.folder)
        if not (
            isinstance(settings, Transformer)
            and settings.attention.score == "scaled_dot"
            and settings.attention.normalizer == "softmax"
            and settings.positions == "sinusoidal"
            and settings.activation != "swiglu"
        ):
            raise UsageError(
                "only Transformers with scaled dot-product attention and sinusoidal positions can be exported"
            )
        network: Any = model.build(model.parameters)
        spec = convert(network, settings)
        source, target = ([side.pieces([id_])[0] for id_ in range(side.size)] for side in model.tokenizers)
        spec.register_source_vocabulary(source)
        spec.register_target_vocabulary(target)
        spec.config.add_source_eos = True
        spec.config.layer_norm_epsilon = 1e-6
        spec.validate()
        folder.mkdir(parents=True)
        spec.save(str(folder))
        side = model.tokenizers.source
        lines = (" ".join(side.pieces(side.encode(line))) for line in read_lines(Path(self.input)))
        (folder / "source.pieces").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def convert(network: Any, settings: Transformer) -> Any:
    """Every parameter in its place."""
    activation = {"relu": specs.Activation.RELU, "gelu": specs.Activation.GELUTanh}[settings.activation]
    depth = settings.encoder_layers, settings.decoder_layers
    if settings.norm_kind != "layer" or settings.attention.mechanism != "standard":
        raise SystemExit("CTranslate2 has LayerNorm and standard heads")
    heads, pre = settings.attention.heads, settings.norm == "pre"
    spec = specs.TransformerSpec.from_config(depth, heads, pre_norm=pre, activation=activation)
    positions = sinusoids(settings.max_length, settings.width)
    spec.encoder.embeddings[0].weight = array(network.embed_source.table)
    spec.decoder.embeddings.weight = array(network.embed_target.table)
    spec.decoder.projection.weight = array(network.output.embedding.table)
    for side, module in ((spec.encoder, network.encoder), (spec.decoder, network.decoder)):
        side.position_encodings.encodings = positions
        for index, layer in enumerate(side.layer):
            self_attention(layer.self_attention, module.attention, module.attention_residual, index)
            feedforward(layer.ffn, module.feedforward, module.feedforward_residual, index)
            if side is spec.decoder:
                cross(layer.attention, module.cross, module.cross_residual, index)
    if pre:
        norm(spec.encoder.layer_norm, network.encoder_norm)
        norm(spec.decoder.layer_norm, network.decoder_norm)
    return spec


def self_attention(into: Any, attention: Any, residual: Any, index: int) -> None:
    """Query, key and value as one matrix [3 D, D]."""
    into.linear[0].weight = np.concatenate([rows(w, index) for w in (attention.query, attention.key, attention.value)])
    into.linear[1].weight = columns(attention.output, index)
    norm(into.layer_norm, residual.norm, index)


def cross(into: Any, attention: Any, residual: Any, index: int) -> None:
    """Query alone; key and value as one matrix [2 D, D]."""
    into.linear[0].weight = rows(attention.query, index)
    into.linear[1].weight = np.concatenate([rows(w, index) for w in (attention.key, attention.value)])
    into.linear[2].weight = columns(attention.output, index)
    norm(into.layer_norm, residual.norm, index)


def feedforward(into: Any, module: Any, residual: Any, index: int) -> None:
    """Two linear maps."""
    for linear, weight, bias in (
        (into.linear_0, module.inner, module.inner_bias),
        (into.linear_1, module.outer, module.outer_bias),
    ):
        linear.weight, linear.bias = np.ascontiguousarray(array(weight, index).T), array(bias, index)
    norm(into.layer_norm, residual.norm, index)


def norm(into: Any, module: Any, index: int | None = None) -> None:
    """Scale and shift."""
    into.gamma, into.beta = array(module.scale, index), array(module.bias, index)


def rows(weight: Any, index: int) -> np.ndarray:
    """[D, H, K] -> [H K, D]."""
    matrix = array(weight, index)
    return np.ascontiguousarray(matrix.reshape(matrix.shape[0], -1).T)


def columns(weight: Any, index: int) -> np.ndarray:
    """[H, K, D] -> [D, H K]."""
    matrix = array(weight, index)
    return np.ascontiguousarray(matrix.reshape(-1, matrix.shape[-1]).T)


def array(parameter: Any, index: int | None = None) -> np.ndarray:
    """A parameter, or that of one layer of a stack."""
    values = np.asarray(parameter[...], np.float32)
    return np.ascontiguousarray(values if index is None else values[index])


if __name__ == "__main__":
    tyro.cli(Export)()
