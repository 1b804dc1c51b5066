"""The pairs that are measured: configurations of generator and discriminator by name."""

from transformers import ElectraConfig


MAX_POSITIONS = 512


def _network(embedding_size, hidden_size, layers, heads):
    return {
        "embedding_size": embedding_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


# `small`: KoELECTRA-small, whose two networks are alike. `base`: KoELECTRA-base, with the generator of ELECTRA-base.
# `tiny` is for tests.
SHAPES = {
    "tiny": {"generator": _network(16, 32, 2, 2), "discriminator": _network(16, 64, 2, 2)},
    "small": {"generator": _network(128, 256, 12, 4), "discriminator": _network(128, 256, 12, 4)},
    "base": {"generator": _network(768, 256, 12, 4), "discriminator": _network(768, 768, 12, 12)},
}


def pair_configs(shape, vocab_size, **fields):
    """The two configurations of a shape.

    Args:
        shape (`str`, or a `dict` like those in `SHAPES`): what is built.
        vocab_size (`int`): tokens in the vocabulary.
        **fields: of both `ElectraConfig`s, such as `attn_implementation`; dropout stays at its default, 0.1.

    Returns:
        `tuple[ElectraConfig, ElectraConfig]`: generator and discriminator.
    """
    networks = SHAPES[shape] if isinstance(shape, str) else shape
    generator, discriminator = (
        ElectraConfig(
            vocab_size=vocab_size,
            intermediate_size=4 * networks[name]["hidden_size"],
            max_position_embeddings=MAX_POSITIONS,
            **networks[name],
            **fields,
        )
        for name in ("generator", "discriminator")
    )
    return generator, discriminator
