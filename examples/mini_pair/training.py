"""The two trainings, masked language modelling and then replaced token detection: a loop that resumes."""

import math
import os
import time
from dataclasses import dataclass

import torch
from transformers import ElectraConfig

from electra_rtd import ElectraRTDConfig, ElectraRTDForPreTraining
from electra_rtd.hub_tools.constant_answer import entropy

from .tokens import MAX_LENGTH


LAYERS, HIDDEN, EMBEDDING, HEADS = 4, 256, 128, 4
SAVE_EVERY, LOG_EVERY = 500, 100  # steps
CLIP = 1.0


@dataclass(frozen=True)
class Phase:
    """One training.

    Args:
        name (`str`): of its file of state. steps (`int`).
        learning_rate (`float`): after `warmup` steps; it falls linearly to 0.
        tokens (`int`): of a batch, at most.
        first_epoch (`int`): seeds the order of its first epoch.
    """

    name: str
    steps: int
    learning_rate: float
    warmup: int = 300
    tokens: int = 2048
    first_epoch: int = 0

    def rate(self, step):
        """Args: step (`int`), from 0. Returns: `float`."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        return self.learning_rate * (self.steps - step) / (self.steps - self.warmup)


def network(tokens, layers, hidden=None, heads=None):
    """Args: tokens ([`Tokens`]); layers, hidden, heads (`int`). Returns: `ElectraConfig`."""
    return ElectraConfig(
        vocab_size=tokens.size,
        embedding_size=EMBEDDING,
        hidden_size=hidden or HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=heads or HEADS,
        intermediate_size=4 * (hidden or HIDDEN),
        max_position_embeddings=MAX_LENGTH,
        pad_token_id=tokens.special["pad"],
    )


def new_pair(tokens, generator, discriminator, **fields):
    """A pair of random weights. Args: tokens ([`Tokens`]); generator, discriminator (`ElectraConfig`); fields."""
    torch.manual_seed(0)
    ids = {"mask_token_id": tokens.special["mask"], "pad_token_id": tokens.special["pad"]}
    special = sorted(tokens.special.values())
    config = ElectraRTDConfig(generator, discriminator, special_token_ids=special, **ids, **fields)
    return ElectraRTDForPreTraining(config)


def masked_language_model(tokens, embeddings):
    """The encoder that is going to be the discriminator's, as a generator, from embeddings of neighbours.

    Our model has no form with one network: here its discriminator is a small one whose loss counts for nothing.

    Args: tokens ([`Tokens`]); embeddings (float32, (V, E)). Returns: [`ElectraRTDForPreTraining`].
    """
    nobody = network(tokens, layers=1, hidden=4, heads=1)
    model = new_pair(tokens, network(tokens, LAYERS), nobody, disc_weight=0.0)
    counts = torch.ones(tokens.size)
    for index in tokens.train:
        counts.index_add_(0, torch.from_numpy(tokens.rows[index]), torch.ones(tokens.lengths[index]))
    with torch.no_grad():
        model.generator.get_input_embeddings().weight.copy_(embeddings)
        # The best answer of a network that knows nothing else: how frequent each token is.
        model.generator.generator_lm_head.bias.copy_((counts / counts.mean()).log())
    return model


def pair_from(masked, tokens, generator_layers, **fields):
    """The pair that starts from what masked language modelling taught; its generator has its first layers and head.

    Args:
        masked ([`ElectraRTDForPreTraining`]): of [`masked_language_model`], trained.
        tokens ([`Tokens`]); generator_layers (`int`); fields of [`ElectraRTDConfig`].

    Returns:
        [`ElectraRTDForPreTraining`], embeddings tied
    """
    model = new_pair(
        tokens, network(tokens, generator_layers), network(tokens, LAYERS), embedding_sharing="tied", **fields
    )
    learnt = masked.generator.state_dict()
    kept = {name: value for name, value in learnt.items() if name in model.generator.state_dict()}
    model.generator.load_state_dict(kept)
    encoder = {name: value for name, value in learnt.items() if name.startswith("electra.")}
    missing, _ = model.discriminator.load_state_dict(encoder, strict=False)
    assert all(name.startswith("discriminator_predictions.") for name in missing), missing
    return model


def train(model, tokens, phase, folder, device, stop=math.inf):
    """Train, from where an earlier call stopped.

    Args:
        model ([`ElectraRTDForPreTraining`]): changed in place; tokens ([`Tokens`]); phase ([`Phase`]).
        folder (`Path`): keeps `<phase>.pt`: weights, optimiser, place, random numbers.
        device (`torch.device`); stop (`float`): at this `time.monotonic()`, with what was reached saved.

    Returns:
        `bool`: whether it came to the end
    """
    model.to(device).train()
    parameters = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True)
    file = folder / f"{phase.name}.pt"
    step = seen = place = 0
    epoch = phase.first_epoch
    if file.exists():
        state = torch.load(file, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen, place, epoch = state["place"]
        torch.set_rng_state(state["random"].cpu())
    batches = tokens.epoch(epoch, phase.tokens)

    def save():
        place_now = (step, seen, place, epoch)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "place": place_now}
        torch.save(state | {"random": torch.get_rng_state()}, file.with_suffix(".partial"))
        os.replace(file.with_suffix(".partial"), file)

    start, before = time.monotonic(), seen
    while step < phase.steps:
        if place == len(batches):
            epoch, place = epoch + 1, 0
            batches = tokens.epoch(epoch, phase.tokens)
        batch = tokens.batch(batches[place])
        for group in optimizer.param_groups:
            group["lr"] = phase.rate(step)
        loss = model(**{name: values.to(device) for name, values in batch.items()}).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        step, place, seen = step + 1, place + 1, seen + int(batch["attention_mask"].sum())
        if step % LOG_EVERY == 0:
            speed = (seen - before) / (time.monotonic() - start)
            print(
                f"{phase.name} step {step} of {phase.steps}: {seen / 1e6:.2f} M tokens, {speed:,.0f} a second",
                flush=True,
            )
        if step % SAVE_EVERY == 0 or step == phase.steps or time.monotonic() > stop:
            figures = ", ".join(f"{name} {value:.4f}" for name, value in measure(model, tokens, device).items())
            print(f"  held out: {figures}", flush=True)
            save()
            if time.monotonic() > stop:
                break
    return step == phase.steps


@torch.no_grad()
def measure(model, tokens, device, rows=100):
    """Held-out figures. `disc_acc` alone would deceive: it rises with the generator's lucky hits.

    Args: model; tokens ([`Tokens`]); device; rows (`int`): of a batch. Returns: `dict[str, float]`.
    """
    model.eval()
    order = sorted(tokens.held_out, key=lambda index: tokens.lengths[index])
    losses, logits, labels, masked = [], [], [], 0
    for start in range(0, len(order), rows):
        batch = tokens.batch(order[start : start + rows])
        output = model(**{name: values.to(device) for name, values in batch.items()})
        count = int(output.masked_positions.sum())
        losses.append(count * torch.stack([output.mlm_loss, output.gen_acc]).cpu().double())
        masked += count
        logits.append(output.logits[output.disc_labels >= 0].cpu())
        labels.append(output.disc_labels[output.disc_labels >= 0].cpu())
    model.train()
    mlm_loss, gen_acc = (sum(losses) / masked).tolist()
    logits, labels = torch.cat(logits), torch.cat(labels)
    disc_loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.float()).item()
    share = labels.double().mean().item()
    ranks = logits.argsort().argsort().double() + 1
    replaced = labels == 1
    wins = ranks[replaced].sum() - replaced.sum() * (replaced.sum() + 1) / 2
    return {
        "mlm_loss": mlm_loss,
        "gen_acc": gen_acc,
        "disc_loss": disc_loss,
        "constant answer's": entropy(share),
        "AUC": (wins / (replaced.sum() * (~replaced).sum())).item(),
        "spread of logits": logits.std().item(),
    }
