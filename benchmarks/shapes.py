"""The pairs that are measured: configurations of generator and discriminator by name."""

from transformers import ElectraConfig


MAX_POSITIONS = 512

# `small`: KoELECTRA-small, whose two networks are alike. `base`: KoELECTRA-base, with the generator of ELECTRA-base.
# `tiny` is for tests.
SHAPES = {
    "tiny": {
        "generator": {"embedding_size": 16, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        "discriminator": {"embedding_size": 16, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    },
    "small": {
        "generator": {"embedding_size": 128, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
        "discriminator": {
            "embedding_size": 128,
            "hidden_size": 256,
            "num_hidden_layers": 12,
            "num_attention_heads": 4,
        },
    },
    "base": {
        "generator": {"embedding_size": 768, "hidden_size": 256, "num_hidden_layers": 12, "num_attention_heads": 4},
        "discriminator": {
            "embedding_size": 768,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
        },
    },
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
