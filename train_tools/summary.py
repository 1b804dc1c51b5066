"""The closing words of a run, for a person."""

LABELS = {
    "loss": "loss",
    "mlm_loss": "mlm_loss  (generator)",
    "disc_loss": "disc_loss (discriminator)",
    "gen_acc": "gen_acc",
    "disc_acc": "disc_acc",
}


def summary(result):
    """What a run did, and what one would type next.

    Args:
        result ([`AdaptResult`])

    Returns:
        `str`: several lines.
    """
    rows = [f"  {'held-out':<26}{'before':>10}{'after':>10}"]
    rows += [f"  {label:<26}{result.before[name]:>10.4f}{result.after[name]:>10.4f}" for name, label in LABELS.items()]
    minutes, seconds = divmod(round(result.seconds), 60)
    rows += [
        "",
        f"  {result.steps:,} steps; {result.tokens_seen:,} tokens read in {minutes} min {seconds} s "
        f"({result.tokens_per_second:,.0f} tokens a second)",
        f"  pair           {result.checkpoint}",
        f"  discriminator  {result.discriminator}  (stock ELECTRA, for fine-tuning)",
        *(f"  HEALTH         {row['health']}, {row['message']}" for row in result.health),
        "",
        "Next:",
        *(f"  {command}" for command in next_commands(result)),
    ]
    return "\n".join(rows)


def next_commands(result):
    """Four commands that work as they stand, but for names in capitals.

    Args:
        result ([`AdaptResult`])

    Returns:
        `list[str]`
    """
    return [
        f"electra-rtd report --run {result.checkpoint}",
        'python -c "from transformers import AutoModelForSequenceClassification as M; '
        f"M.from_pretrained('{result.discriminator}', num_labels=2)\"",
        f"electra-rtd adapt --checkpoint {result.checkpoint} --train_file MORE.txt --output_dir {result.checkpoint}-2",
        f"electra-rtd push {result.checkpoint} USER/NAME --private",
    ]
