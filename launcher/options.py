"""Parsers of commands: an option can be written with - for _, and one that is not there is named, with the nearest."""

import argparse
import difflib
import sys


# Our option, and what other tools call it, or one types in a hurry. The first that the command has is named.
OTHER_NAMES = {
    "learning_rate": "lr",
    "weight_decay": "wd decay",
    "warmup_ratio": "warmup warmup_proportion",
    "warmup_steps": "warmup warmup_ratio warmup_proportion",
    "per_device_train_batch_size": "b bs batch batch_size train_batch_size",
    "per_device_eval_batch_size": "eval_batch_size test_batch_size",
    "gradient_accumulation_steps": "grad_accum accumulation_steps",
    "num_train_epochs": "e epoch epochs num_epochs train_epochs",
    "epochs": "e epoch num_epochs train_epochs num_train_epochs",
    "learning_rates": "lr lrs learning_rate rate rates",
    "batch_size": "b bs batch per_device_train_batch_size train_batch_size",
    "labels": "train_file data dataset file input label_file train",
    "before": "base model baseline checkpoint",
    "layer_decay": "layerwise_decay layerwise_lr_decay layer_wise_decay decay lr_decay",
    "seeds": "seed n_seeds num_seeds",
    "max_steps": "steps num_steps train_steps num_train_steps max_train_steps",
    "eval_strategy": "evaluation_strategy",
    "use_cpu": "cpu no_cuda",
    "train_file": "train data dataset dataset_name data_file train_data train_data_file input text corpus files",
    "validation_file": "valid valid_file dev_file eval_file eval_data_file test_file",
    "text_column": "column column_name text_field",
    "max_seq_length": "max_len max_length seq_len seq_length block_size",
    "max_length": "max_len max_seq_length seq_len seq_length block_size",
    "mask_prob": "mlm_probability mlm_prob mask_ratio masking_prob",
    "tokenizer": "tokenizer_name vocab_file",
    "checkpoint": "m model model_name model_name_or_path pair",
    "run": "checkpoint model dir folder output_dir",
    "file": "input train_file files",
    "output_dir": "o out output out_dir save_dir dir folder",
    "local_dir": "o out output output_dir dir folder",
    "html": "o out output page",
    "overwrite": "force overwrite_output_dir",
    "resume": "continue resume_from resume_training",
    "example": "sample demo",
    "commit_message": "m message",
    "revision": "branch commit",
    "lang": "language",
}


class CommandParser(argparse.ArgumentParser):
    """The parser of one command.

    What is wrong with the options themselves is said first: who typed `--train_fiel` did give the text to train on.
    Abbreviations are not taken: what `--eval` is short for differs between releases of transformers.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{"formatter_class": ManualPage, **options, "allow_abbrev": False})

    def add(self, name, **options):
        """An option that can be written with `-` for `_`."""
        self.add_argument(name, *{name.replace("_", "-")} - {name}, **options)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[override]  # which is one of overloads
        """As argparse's, but whatever belongs to no option is an error."""
        args = sys.argv[1:] if args is None else args
        self._check_options(args)
        parsed, stray = super().parse_known_args(args, namespace)
        if stray:
            self.error(f"{' '.join(stray)} belongs to no option. What has blanks in it is put in quotation marks.")
        return parsed, stray

    def _check_options(self, args):
        actions = {option: action for action in self._actions for option in action.option_strings}
        given = [name for name in map(_option_name, _before_double_dash(args)) if name]
        unknown = [self._unknown(name, actions) for name in dict.fromkeys(given) if name not in actions]
        if unknown:
            self.error("\n".join([*unknown, f"`{self.prog} --help` lists the options."]))
        lists = [actions[name] for name in given if actions[name].nargs in ("+", "*")]
        for action in lists:
            if lists.count(action) > 1:  # argparse would take the last, and forget the others
                self.error(f"{action.option_strings[0]} is given twice: give all its values after one of them.")

    def _unknown(self, name, actions):
        """What is said about an option that is not there."""
        plain = name.lstrip("-").replace("-", "_")
        positional = [action.dest for action in self._actions if not action.option_strings]
        if plain in positional:
            return f"{name} is no option: give it without a name, `{self.prog} {plain.upper()}`."
        options = {option.lstrip("-").replace("-", "_"): option for option in reversed(actions)}  # the one with _ wins
        denied = options.get(plain.removeprefix("no_"))
        if denied and actions[denied].nargs == "?":
            return f"{name} is no option. Did you mean {denied} false?"
        called = (ours for ours, theirs in OTHER_NAMES.items() if ours in options and plain in theirs.split())
        guess = next(called, None) or nearest(plain, options)
        if guess:
            return f"{name} is no option. Did you mean {options[guess]}?"
        if not name.startswith("--"):
            return f"{name} is no option. A value that begins with - is written --option=-value; a text, after --."
        return f"{name} is no option."


class ManualPage(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the lines of the description, and shows the defaults that say something."""

    def __init__(self, prog):
        super().__init__(prog, max_help_position=28, width=110)

    def _get_help_string(self, action):
        says_nothing = action.nargs == 0 or action.default in (None, False, [])
        return action.help if says_nothing else super()._get_help_string(action)


def nearest(word, words):
    """The word that was probably meant: `str`, or `None` where none is close."""
    begun = [known for known in words if known.startswith(word)]
    return begun[0] if len(begun) == 1 else next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.7)), None)


def _before_double_dash(args):
    return args[: args.index("--")] if "--" in args else args


def _option_name(arg):
    """The option that an argument names, or `None` for a value: as argparse tells them apart."""
    name = arg.partition("=")[0]
    if not name.startswith("-") or name == "-" or " " in name:
        return None
    try:
        float(arg)  # a negative number
    except ValueError:
        return name
    return None
