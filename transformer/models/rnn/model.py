"""Recurrent encoder-decoders with and without attention."""

from flax import nnx

from transformer.models.rnn import config
from transformer.models.rnn.bridge import Bridge
from transformer.models.rnn.decoder import Decoder
from transformer.models.rnn.encoder import Encoder
from transformer.nn.layers import Embedding
from transformer.nn.precision import Precision
from transformer.nn.remat import Remat


class Rnn(Encoder, Decoder):
    """Encoder and decoder, which may share an embedding; implements `models.interface.Model`.

    Both are inherited, so that the paths of the parameters in a checkpoint do not name them.
    """

    def __init__(
        self,
        model: config.Rnn,
        source_vocabulary: int,
        target_vocabulary: int,
        *,
        rngs: nnx.Rngs,
        precision: Precision = "float32",
        remat: Remat = "none",
    ):
        # The order in which parameters are drawn: a seed gives the same model in every version.
        embed_target = Embedding(target_vocabulary, model.embedding, rngs=rngs, precision=precision)
        embed_source = embed_target
        if model.tie != "all":
            embed_source = Embedding(source_vocabulary, model.embedding, rngs=rngs, precision=precision)
        Encoder.__init__(self, model, embed_source, rngs=rngs, remat=remat)
        bridge = Bridge(model, rngs=rngs)
        Decoder.__init__(self, model, embed_target, bridge, target_vocabulary, rngs=rngs, remat=remat)
