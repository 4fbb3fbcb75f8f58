import jax.numpy as jnp

from transformer.attention import masks


def test_padding_mask_is_true_at_tokens():
    mask = masks.padding(jnp.array([[5, 6, 0], [7, 0, 0]]))
    assert mask.shape == (2, 1, 1, 3)
    assert mask[:, 0, 0].tolist() == [[True, True, False], [True, False, False]]


def test_future_mask_as_a_picture():
    assert masks.picture(masks.future(4)[0, 0]) == "\n".join(
        [
            "■ · · ·",
            "■ ■ · ·",
            "■ ■ ■ ·",
            "■ ■ ■ ■",
        ]
    )


def test_picture_of_a_batch_draws_one_block_each():
    both = masks.padding(jnp.array([[5, 6, 0], [7, 0, 0]]))
    assert masks.picture(both) == "■ ■ ·\n\n■ · ·"
