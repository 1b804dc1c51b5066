"""The model card: written once from a template, and later kept, but for its metadata and the marked sections."""

import copy
import json
import re
from pathlib import Path

import jinja2
from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, hf_hub_download, hf_hub_url
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers.utils import logging

from ..configuration_electra_rtd import ElectraRTDConfig
from . import card_evaluation, layout
from .card_text import replaced, section, with_metadata
from .checks.metadata import metadata_block, read_metadata
from .constant_answer import constant_answers
from .curves import plot_losses
from .names import is_hub_id
from .run_record import is_number
from .secrets import without_tokens


logger = logging.get_logger(__name__)

TEMPLATE = Path(__file__).parent / "card_template.md"
FACTS_TEMPLATE = Path(__file__).parent / "card_facts_template.md"
NETWORKS = ("generator_config", "discriminator_config")
TASK = "replaced-token-detection"
TAGS = ["electra", "electra-rtd", TASK]
# The sections that belong to us. The second names the weights that it is about, so that figures stay with them.
FACTS = re.compile("<!-- electra-rtd facts -->")
RESULTS = re.compile(r"<!-- electra-rtd results of (\w+) -->")
END_OF_FACTS, END_OF_RESULTS = "<!-- end of electra-rtd facts -->", "<!-- end of electra-rtd results -->"
LONGEST_SETTING = 500  # characters
METRICS = {
    "disc_auc": "discriminator's AUC: a replaced token has the higher logit",
    "disc_loss": "discriminator's cross-entropy (nats)",
    "disc_acc": "discriminator's balanced accuracy, mean of masked and other tokens",
    "mlm_loss": "generator's cross-entropy (nats)",
    "gen_acc": "generator's accuracy on masked tokens",
    "loss": "loss",
}


def write_card(folder, repo_id, *, run, earlier=None, own=None, tags=(), token=None):
    """Write the README of a gathered checkpoint, and the plot that it shows.

    Args:
        folder (`Path`): see `gather_checkpoint`.
        repo_id (`str`): where it will stand.
        run ([`RunRecord`]): what is known of its training.
        earlier (`str`, *optional*): the README to keep.
        own (`str`, *optional*): the one that lay beside these weights: what it says of their evaluation is kept too.
        tags (iterable of `str`): for the metadata.
        token (`str` or `bool`, *optional*): to read the parents' cards.
    """
    config = json.loads((folder / layout.CONFIG).read_text(encoding="utf-8"))
    weights = layout.weights_digest(folder)
    old = section(earlier or "", RESULTS, END_OF_RESULTS)
    # Without a log, figures are only known where they are of these very weights.
    keeps_results = not _evaluations(run.log) and old is not None and old[0][1] == weights
    results = earlier[old[0].start() : old[1]] if keeps_results else _results(folder, run, config, weights)
    figures = None if keeps_results else _eval_results(run)
    data = _metadata(config, run, figures, repo_id, tags, token)
    facts = _facts(folder, repo_id)
    if earlier is None:
        longest = ElectraRTDConfig.from_dict(config).max_position_embeddings
        content = _new_card(repo_id, data, facts, results, longest)
    else:
        content = _updated_card(earlier, data, facts, results, figures is not None)
    content = card_evaluation.carried(content, own, weights, repo_id.split("/")[-1])
    (folder / layout.CARD).write_bytes(content.encode("utf-8"))


def new_card_beside(folder):
    """The README of a pair that is not published yet: what a push knows stands between marks, and is empty.

    Args:
        folder (`Path`): holds a pair.

    Returns:
        `str`
    """
    config = json.loads((folder / layout.CONFIG).read_text(encoding="utf-8"))
    data = ModelCardData(library_name="transformers", pipeline_tag="feature-extraction", tags=TAGS)
    facts = f"<!-- electra-rtd facts -->\n{END_OF_FACTS}"
    results = f"<!-- electra-rtd results of none -->\n{END_OF_RESULTS}"
    longest = ElectraRTDConfig.from_dict(config).max_position_embeddings
    return _new_card(folder.resolve().name, data, facts, results, longest)


def _new_card(repo_id, data, facts, results, longest):
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        parents=data.base_model or [],
        facts=facts,
        results=results,
        longest=longest,
    )
    return str(card)


def _facts(folder, repo_id):
    """How to load what is in a folder, and the hashes of its code: true for this state only, so marked as ours."""
    exports = [part for part in layout.EXPORTS if (folder / part).is_dir()]
    code = [(name, layout.sha256(folder / name)) for name in layout.list_files(folder) if name in layout.CODE_EVER]
    template = jinja2.Template(FACTS_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(repo_id=repo_id, exports=exports, code=code)


def _updated_card(earlier, data, facts, results, has_figures):
    """A README with our metadata joined to its own, and the marked sections replaced; the rest as it was."""
    if section(earlier, RESULTS, END_OF_RESULTS) is None:
        logger.info("The README has no marked results: its text stays as it is.")
    text = replaced(replaced(earlier, RESULTS, END_OF_RESULTS, results), FACTS, END_OF_FACTS, facts)
    block = metadata_block(text)
    try:
        theirs = read_metadata(block[0]) if block else {}
        joined = _joined_metadata(theirs, data.to_dict(), has_figures)
    except Exception as error:  # YAML of any kind of wrong, or of another shape than the Hub's
        logger.warning(f"The README's metadata cannot be read, and stay as they are: {error}")
        return text
    if joined == theirs:  # writing YAML anew loses comments: only where something changed
        return text
    return with_metadata(text, joined)


def _joined_metadata(theirs, ours, has_figures):
    joined = copy.deepcopy(theirs)
    for name, value in ours.items():
        if name not in ("tags", "model-index"):
            joined.setdefault(name, value)
    tags = list(dict.fromkeys([*_as_list(theirs.get("tags")), *ours["tags"]]))
    if tags != _as_list(theirs.get("tags")):
        joined["tags"] = tags
    if has_figures:
        joined["model-index"] = _joined_index(joined.get("model-index") or [], ours.get("model-index", []))
        if not joined["model-index"]:
            del joined["model-index"]
    return joined


def _joined_index(models, ours):
    """A `model-index` with our results in place of earlier ones of ours; those of others stay as they are."""
    for model in models:
        model["results"] = [result for result in model["results"] if result["task"]["type"] != TASK]
    for model in ours:
        same = [other for other in models if len(models) == 1 or other["name"] == model["name"]]
        if same:
            same[0]["results"] += model["results"]
        else:
            models = [*models, model]
    return [model for model in models if model["results"]]


def _metadata(config, run, figures, repo_id, tags, token):
    settings = run.results.get("settings", {})
    cards = {parent: _card_data(parent, token) for parent in _parents(config, settings, run)}
    parents = [parent for parent, card in cards.items() if card is not None]  # others are folders of somebody's
    relation = "merge" if run.merge else "finetune"
    inherited = [cards[parent] for parent in parents]
    licenses = {json.dumps(data.get("license"), default=str): data.get("license") for data in inherited}
    languages = [language for data in inherited for language in _as_list(data.get("language"))]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        base_model=parents or None,
        base_model_relation=relation if parents else None,
        language=list(dict.fromkeys(name for name in languages if isinstance(name, str))) or None,
        license=next(iter(licenses.values())) if len(licenses) == 1 else None,
        datasets=run.results.get("datasets") or None,
        tags=list(dict.fromkeys([*TAGS, *tags])),
        model_name=repo_id.split("/")[-1] if figures else None,
        eval_results=figures or None,
    )


def _parents(config, settings, run):
    """The repositories that this checkpoint goes on from."""
    checkpoint = settings.get("checkpoint")
    origins = [config[part].get("_name_or_path") for part in NETWORKS]
    merged = [run.merge.get(name) for name in ("base", "adapted")]
    checkpoint = checkpoint or run.extension.get("base")
    if any(is_hub_id(name, with_owner=True) for name in merged):
        origins = merged
    elif is_hub_id(checkpoint, with_owner=True):  # of a folder, the configuration knows what that one went on from
        origins = [checkpoint]
    # A configuration may name anything: the Hub refuses a card with a strange name.
    return list(dict.fromkeys(name for name in origins if is_hub_id(name, with_owner=True)))


def _card_data(repo_id, token):
    """The metadata of a parent's card; nothing where it cannot be had, `None` where there is no such repository."""
    try:
        api = HfApi(token=token)
        url = hf_hub_url(repo_id, layout.CARD, endpoint=api.endpoint)
        size = api.get_hf_file_metadata(url=url, token=token).size or 0
        if size > layout.LARGEST_TEXT:
            raise ValueError(f"it has {size:,} bytes, and at most {layout.LARGEST_TEXT:,} are read")
        path = hf_hub_download(repo_id, layout.CARD, token=token, endpoint=api.endpoint)
        block = metadata_block(layout.read_bytes(Path(path), layout.LARGEST_TEXT).decode("utf-8"))
        data = read_metadata(block[0]) if block else {}
        return data if isinstance(data, dict) else {}
    except RepositoryNotFoundError as error:
        return {} if isinstance(error, GatedRepoError) else None
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
        for name in ("mask_prob", "sampling_temperature", "gen_weight", "disc_weight", "embedding_sharing")
    }
    switches = ("exclude_original", "mask_whole_words")  # off in the paper: a word of them where they are on
    objective |= {f"`{name}`": "yes" for name in switches if getattr(complete, name)}
    given = {name: value for name, value in run.results.get("settings", {}).items() if value is not None}
    run_settings = {f"`{_plain(name)}`": _plain(value) for name, value in given.items()}
    return [*sizes.items(), *objective.items(), *run_settings.items()]


def _plain(value):
    """A value as text in a table: nothing in the name of a file is Markdown or HTML."""
    text = " ".join(str(value).split())[:LONGEST_SETTING]
    return re.sub(r"[\\`*\[\]|<>~&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _results(folder, run, config, weights):
    evaluations = _evaluations(run.log)
    lines = [f"<!-- electra-rtd results of {weights} -->", "## Training", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in _settings(config, run)]
    if run.merge:
        lines += ["", merged_line(run.merge)]
    if run.extension:
        lines += ["", extended_line(run.extension)]
    lines += ["", "## Results", ""]
    if evaluations:
        first, last = evaluations[0], evaluations[-1]
        constants = _constants(last, first, config)
        lines += [
            "On held-out text, corrupted alike each time (`eval_seed`). The last column is what an answer gets that "
            "reads nothing: what is not better than that is no success.",
            "",
            f"| | step {first.get('step', 0)} | step {last.get('step', 0)} | constant answer |",
            "| --- | ---: | ---: | ---: |",
        ]
        lines += [
            f"| {about} | {first[f'eval_{name}']:.4f} | {last[f'eval_{name}']:.4f} | {constants.get(name, '')} |"
            for name, about in METRICS.items()
            if is_number(first.get(f"eval_{name}")) and is_number(last.get(f"eval_{name}"))
        ]
        if plot_losses(run.log, folder / layout.CURVES):
            lines += ["", f"![losses against steps]({layout.CURVES})"]
    else:
        lines += ["No figures were recorded with this state."]
    return "\n".join([*lines, "<!-- end of electra-rtd results -->"])


def merged_line(merge):
    """The sentence about weights that were merged: `merge` is that of a [`RunRecord`]; `str`, Markdown."""
    base, adapted = (_code(merge[name]) for name in ("base", "adapted"))
    share = round(1 - merge["alpha"], 6)
    chosen = f" The shares were chosen on {_code(merge['chosen']['labels'])}." if "labels" in merge["chosen"] else ""
    return (
        f"These weights were merged, not trained: {share:g} of {base} and {merge['alpha']:g} of {adapted}, weight by "
        f"weight, by `electra-rtd merge`.{chosen}"
    )


def extended_line(extension):
    """The sentence about a vocabulary that was extended: `extension` is that of a [`RunRecord`]; `str`, Markdown."""
    before, after = (extension[side] for side in ("before", "after"))
    lengths = [f"{side['tokens'] / side['words']:.2f}" for side in (before, after)]
    shares = [f"{100 * side['unknown'] / max(side['tokens'], 1):.2g} %" for side in (before, after)]
    some = " ".join(map(_code, extension["entries"][:10]))
    return (
        f"Its vocabulary is that of {_code(extension['base'])} and {len(extension['entries']):,} entries from the "
        f"domain's text ({some}, ...), added by `electra-rtd extend-vocab`. On that text a word had {lengths[0]} "
        f"tokens, and has {lengths[1]} now; of the tokens {shares[0]} were unknown, {shares[1]} are now."
    )


def _code(name):
    """A name in a sentence, as code: nothing in it ends that, or the line."""
    return f"`{' '.join(str(name).replace('`', chr(39)).split())[:LONGEST_SETTING]}`"


def _constants(last, first, config):
    """What constant answers get at the last evaluation, as text."""
    figures = {name: last.get(f"eval_{name}") for name in ("replaced_share", "lucky_hits")}
    figures["frequency_loss"] = first.get("eval_frequency_loss")  # of the text: `adapt` logs it once
    vocab_size = ElectraRTDConfig.from_dict(config).vocab_size
    return {name: f"{value:.4f}" for name, value in constant_answers(figures, vocab_size).items()}


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
        if is_number(evaluations[-1].get(f"eval_{name}"))
    ]


def _evaluations(log):
    return [row for row in log if is_number(row.get("eval_loss"))]


def _as_list(value):
    return [] if value is None else value if isinstance(value, list) else [value]
