"""The closing words of a run, for a person."""

import json

from .shell import command_name, line, python_name


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
    command, adapted = command_name(), result.checkpoint
    folder = json.dumps(result.discriminator, ensure_ascii=False)  # quoted as in Python
    code = (
        f"from transformers import AutoModelForSequenceClassification as M; M.from_pretrained({folder}, num_labels=2)"
    )
    more = line("adapt", "--checkpoint", adapted, "--train_file", "MORE.txt", "--output_dir", f"{adapted}-2")
    return [
        f"{command} {line('report', '--run', adapted)}",
        f"{python_name()} {line('-c', code)}",
        f"{command} {more}",
        f"{command} {line('push', adapted, 'USER/NAME', '--private')}",
    ]
