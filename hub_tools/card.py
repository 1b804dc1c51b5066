"""The model card: written once from a template, and later kept, but for its metadata and the marked results."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers.utils import logging

from ..configuration_electra_rtd import ElectraRTDConfig
from . import layout
from .checks.card import REPOSITORY
from .curves import plot_losses
from .gather import is_repo_id
from .remote import without_tokens


logger = logging.get_logger(__name__)

TEMPLATE = Path(__file__).parent / "card_template.md"
TASK = "replaced-token-detection"
TAGS = ["electra", "electra-rtd", TASK]
# The section that belongs to us. It names the weights that it is about, so that figures stay with them.
RESULTS = re.compile(r"<!-- electra-rtd results of (\w+) -->.*?<!-- end of electra-rtd results -->", re.DOTALL)
METRICS = {
    "loss": "loss",
    "mlm_loss": "generator's cross-entropy (nats)",
    "disc_loss": "discriminator's cross-entropy (nats)",
    "gen_acc": "generator's accuracy on masked tokens",
    "disc_acc": "discriminator's accuracy, mean of masked and other tokens",
}


def write_card(folder, repo_id, *, run, earlier=None, tags=(), token=None):
    """Write the README of a gathered checkpoint, and the plot that it shows.

    Args:
        folder (`Path`): see `gather_checkpoint`.
        repo_id (`str`): where it will stand.
        run ([`Run`]): what is known of its training.
        earlier (`str`, *optional*): the README to keep.
        tags (iterable of `str`): for the metadata.
        token (`str` or `bool`, *optional*): to read the parents' cards.
    """
    config = json.loads((folder / layout.CONFIG).read_text(encoding="utf-8"))
    weights = _weights_digest(folder)
    old_section = RESULTS.search(earlier or "")
    # Without a log, figures are only known where they are of these very weights.
    keeps_results = not _evaluations(run.log) and old_section is not None and old_section[1] == weights
    results = old_section[0] if keeps_results and old_section else _results(folder, run, weights)
    figures = None if keeps_results else _eval_results(run)
    data = _metadata(config, run, figures, repo_id, tags, token)
    if earlier is None:
        content = _new_card(folder, repo_id, data, run, config, results)
    else:
        content = _updated_card(earlier, data, results, figures is not None)
    (folder / layout.CARD).write_bytes(content.encode("utf-8"))


def card_for(repo_id, run):
    """The README beside a gathered checkpoint; one that was pulled from elsewhere loads the new repository.

    Args:
        repo_id (`str`): where it will stand.
        run ([`Run`])

    Returns:
        `str` or `None`
    """
    if run.card is None or run.pulled_repo in (None, repo_id):
        return run.card
    loads = rf"""(from_pretrained\(["']|electra-rtd pull ){re.escape(run.pulled_repo)}(?![\w./-])"""
    return re.sub(loads, lambda found: found[1] + repo_id, run.card)


def _new_card(folder, repo_id, data, run, config, results):
    code = [(name, layout.sha256(folder / name)) for name in layout.CODE]
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        parents=data.base_model or [],
        exports=[part for part in layout.EXPORTS if (folder / part).is_dir()],
        code=code,
        settings=_settings(config, run),
        results=results,
        longest=ElectraRTDConfig.from_dict(config).max_position_embeddings,
    )
    return str(card)


_NETWORKS = ("generator_config", "discriminator_config")


def _updated_card(earlier, data, results, has_figures):
    """A README with our metadata joined to its own, and the marked results replaced; the rest as it was."""
    if not RESULTS.search(earlier):
        logger.info("The README has no marked results: its text stays as it is.")
    text = RESULTS.sub(lambda _: results, earlier)
    try:
        card: Any = ModelCard(text)
    except Exception as error:  # YAML of any kind of wrong
        logger.warning(f"The README's metadata cannot be read, and stay as they are: {error}")
        return text
    before = card.data.to_dict()
    for name, value in data.to_dict().items():
        if name not in ("tags", "model-index") and name not in before:
            setattr(card.data, name, value)
    card.data.tags = list(dict.fromkeys([*_as_list(card.data.tags), *data.tags]))
    if has_figures:
        foreign = [result for result in card.data.eval_results or [] if result.task_type != TASK]
        card.data.eval_results = [*foreign, *(data.eval_results or [])] or None
        card.data.model_name = card.data.model_name or data.model_name
    # Writing YAML anew loses comments and order: only where something changed.
    return text if card.data.to_dict() == before else str(card)


def _metadata(config, run, figures, repo_id, tags, token):
    settings = run.results.get("settings", {})
    parents = _parents(config, settings)
    inherited = [_card_data(parent, token) for parent in parents]
    licenses = {json.dumps(data.get("license"), default=str): data.get("license") for data in inherited}
    languages = [language for data in inherited for language in _as_list(data.get("language"))]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=parents or None,
        base_model_relation="finetune" if parents else None,
        language=list(dict.fromkeys(name for name in languages if isinstance(name, str))) or None,
        license=next(iter(licenses.values())) if len(licenses) == 1 else None,
        datasets=run.results.get("datasets") or None,
        tags=list(dict.fromkeys([*TAGS, *tags])),
        model_name=repo_id.split("/")[-1] if figures else None,
        eval_results=figures or None,
    )


def _parents(config, settings):
    """The repositories that this checkpoint goes on from."""
    checkpoint = settings.get("checkpoint")
    origins = [config[part].get("_name_or_path") for part in _NETWORKS]
    if checkpoint and is_repo_id(checkpoint):  # of a folder, the configuration knows what that one went on from
        origins = [checkpoint]
    # A configuration may name anything: the Hub refuses a card with a strange name.
    return list(dict.fromkeys(name for name in origins if name and is_repo_id(name) and REPOSITORY.fullmatch(name)))


def _card_data(repo_id, token):
    """The metadata of a parent's card; nothing where it cannot be had."""
    try:
        return ModelCard.load(repo_id, token=token, ignore_metadata_errors=True).data.to_dict()
    except Exception as error:  # of the client, or YAML of any kind of wrong
        reason = without_tokens(str(error))
        logger.info(f"The card of {repo_id} cannot be read, so its licence and language are not taken over: {reason}")
        return {}


def _settings(config, run):
    complete = ElectraRTDConfig.from_dict(config)  # a file may leave defaults out
    networks = {"generator": complete.generator_config, "discriminator": complete.discriminator_config}
    sizes = {
        name: f"{network.num_hidden_layers} layers of {network.hidden_size}, {network.vocab_size:,} tokens"
        for name, network in networks.items()
    }
    objective = {
        f"`{name}`": getattr(complete, name)
        for name in ("mask_prob", "gen_weight", "disc_weight", "embedding_sharing")
    }
    given = {name: value for name, value in run.results.get("settings", {}).items() if value is not None}
    run_settings = {f"`{_plain(name)}`": _plain(value) for name, value in given.items()}
    return [*sizes.items(), *objective.items(), *run_settings.items()]


def _plain(value):
    """A value as text in a table: nothing in the name of a file is Markdown or HTML."""
    return re.sub(r"[\\`*\[\]|<>~&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", " ".join(str(value).split()))


def _results(folder, run, weights):
    evaluations = _evaluations(run.log)
    lines = [f"<!-- electra-rtd results of {weights} -->", "## Results", ""]
    if evaluations:
        first, last = evaluations[0], evaluations[-1]
        lines += [
            "On held-out text, corrupted alike each time (`eval_seed`):",
            "",
            f"| | step {first.get('step', 0)} | step {last.get('step', 0)} |",
            "| --- | ---: | ---: |",
        ]
        lines += [
            f"| {about} | {first[f'eval_{name}']:.4f} | {last[f'eval_{name}']:.4f} |"
            for name, about in METRICS.items()
            if _is_number(first.get(f"eval_{name}")) and _is_number(last.get(f"eval_{name}"))
        ]
        if plot_losses(run.log, folder / layout.CURVES):
            lines += ["", f"![losses against steps]({layout.CURVES})"]
    else:
        lines += ["No figures were recorded with this state."]
    return "\n".join([*lines, "<!-- end of electra-rtd results -->"])


def _eval_results(run):
    evaluations = _evaluations(run.log)
    if not evaluations:
        return []
    return [
        EvalResult(
            task_type=TASK,
            task_name="Replaced token detection",
            dataset_type="text",
            dataset_name="held-out text",
            metric_type=name,
            metric_name=about,
            metric_value=round(evaluations[-1][f"eval_{name}"], 6),
        )
        for name, about in METRICS.items()
        if _is_number(evaluations[-1].get(f"eval_{name}"))
    ]


def _evaluations(log):
    return [row for row in log if _is_number(row.get("eval_loss"))]


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _as_list(value):
    return [] if value is None else value if isinstance(value, list) else [value]


def _weights_digest(folder):
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(".safetensors")]
    digests = "".join(layout.sha256(path) for path in files)
    return digests[:16] if len(files) == 1 else hashlib.sha256(digests.encode()).hexdigest()[:16]
