"""The Transformer (Vaswani et al. 2017)."""

from flax import nnx

from transformer.models.transformer import config
from transformer.models.transformer.decoder import Decoder
from transformer.models.transformer.encoder import Encoder, embedding
from transformer.nn.layers import Embedding, Output, Positions
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


class Transformer(Encoder, Decoder):
    """Encoder and decoder, which may share an embedding; implements `models.interface.Model`.

    Both are inherited, so that the paths of the parameters in a checkpoint do not name them.
    """

    def __init__(
        self,
        model: config.Transformer,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        D = model.width
        # The order in which parameters are drawn: a seed gives the same model in every version.
        embed_target = embedding(model, target_vocabulary, rngs, precision)
        embed_source = embed_target
        if model.tie != "all":
            embed_source = embedding(model, source_vocabulary, rngs, precision)
        own = Embedding(target_vocabulary, D, rngs=rngs) if model.tie == "none" else embed_target
        output = Output(own, bias=model.output_bias)
        source_positions = Positions(model.positions, model.max_length, D, rngs=rngs)
        target_positions = Positions(model.positions, model.max_length, D, rngs=rngs)
        Encoder.__init__(self, model, embed_source, source_positions, rngs=rngs, remat=remat)
        Decoder.__init__(self, model, embed_target, output, target_positions, rngs=rngs, remat=remat)
