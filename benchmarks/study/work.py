"""Makes what a piece of the plan asks for, once: starts, trainings, rates, scores; each goes into the record."""

import os
import shutil
from dataclasses import asdict, replace

import torch

from electra_rtd.hub_tools.loading import load_tokenizer
from electra_rtd.hub_tools.merge import merge_checkpoints
from electra_rtd.train_tools.data import read_text, tokenize_text

from ..rounds import paired_ratio
from .adaptation import Adaptation
from .arms import ARMS, Job, train
from .article import first_parts
from .corpora import prepare_corpus
from .record import digest_of
from .scoring import naive_bayes_scores, score_encoder
from .starts import prepare_start
from .tasks import PRIMARY, RATED_ON, TASKS, task_files
from .training import MAX_LENGTH


class Work:
    """The study's workshop.

    Args:
        form ([`Form`]): small or whole.
        record ([`StudyRecord`]): of results.
        folder (`Path`): for starts, texts, weights; what is lost of it is made anew when it is asked for.
        machine (`dict`): of [`describe_machine`], kept with each result.
        pair (`Path`, *optional*): in the place of the mini pair.
        say (callable): told what begins.
    """

    def __init__(self, form, record, folder, machine, pair=None, say=print):
        self.form, self.record, self.folder, self.machine = form, record, folder, machine
        self.pair, self.say = pair, say
        self._known: set = set()
        self._tokens_a_row: dict = {}

    def start(self, name):
        """Returns: [`Start`]."""
        start = prepare_start(name, self.folder, self.pair)
        if name not in self._known:
            self.record.require_start(name, digest_of(start.pair))
            self._known.add(name)
        return start

    def corpus(self, name, share=1.0):
        """Returns: [`CorpusFiles`]."""
        return prepare_corpus(name, self.folder, share)

    def found(self, name):
        """What the record holds under a name. Returns: `dict` of figures, or `None`."""
        return self.record.content["found"][name]["figures"] if self.record.has(name) else None

    def keep(self, name, figures, seconds):
        """Put figures into the record. Args: name (`str`); figures (`dict`); seconds (`float`): they took."""
        status = {"status": "measured", "is_check": False, "seconds": round(seconds, 1)}
        self.record.add(name, **status, machine=self.machine, figures=figures)

    # ---- Trainings --------------------------------------------------------------------------------------------------

    def tokens_a_row(self, adaptation):
        """Mean tokens of a row of the corpus, as an arm reads it: `float`. They are counted once."""
        key = adaptation.start, adaptation.corpus, adaptation.share, adaptation.arm == "article"
        if key not in self._tokens_a_row:
            lengths = self._lengths(adaptation)
            self._tokens_a_row[key] = sum(lengths) / len(lengths)
        return self._tokens_a_row[key]

    def _lengths(self, adaptation):
        tokenizer = load_tokenizer(self.start(adaptation.start).discriminator)
        texts = read_text([str(self.corpus(adaptation.corpus, adaptation.share).train)]).dataset
        if adaptation.arm == "article":  # cuts off what others read as further rows
            return list(map(len, first_parts(texts, tokenizer)["input_ids"]))
        return list(map(len, tokenize_text(texts, tokenizer, max_length=MAX_LENGTH)["input_ids"]))

    def rows(self, arm):
        """Rows of a batch: `int`."""
        return ARMS[arm].rows or self.form.rows

    def steps(self, adaptation):
        """Steps of the optimiser that a budget is worth.

        As many as read the budget's tokens; at equal time, as many as take the seconds of arm c at this budget, by the
        seconds of a step of both, measured in turn.

        Args: adaptation ([`Adaptation`]). Returns: `int`.
        """
        each = self.rows(adaptation.arm) * self.tokens_a_row(adaptation)
        if adaptation.budget == "tokens" or adaptation.arm == "rtd":
            return max(1, round(adaptation.tokens / each))
        timing = self.timing(adaptation.start, adaptation.corpus, adaptation.arm)
        of_rtd = self.steps(replace(adaptation, arm="rtd", budget="tokens"))
        return max(1, round(of_rtd / timing["step_against_rtd"]["median"]))

    def with_rate(self, adaptation):
        """The same with its learning rate: of arms that are merged, and at equal time, that of arm and corpus.

        Returns: [`Adaptation`]
        """
        if adaptation.rate is not None or not adaptation.trains:
            return adaptation
        return replace(adaptation, rate=self.chosen_rate(adaptation.source))

    def chosen_rate(self, adaptation):
        """The rate of the grid whose training has the best score on validation rows, for each start and arm.

        It is looked for on one corpus of a start, by that one's own task, and used for its other ones.

        Args: adaptation ([`Adaptation`]). Returns: `float`.
        """
        tokens = self.form.tokens_of[adaptation.start]
        plain = Adaptation(adaptation.start, RATED_ON[adaptation.start], adaptation.arm, tokens)
        name, rates = f"rate: {plain.name()}", self.form.rates[adaptation.start]
        if len(rates) == 1:
            return rates[0]
        if self.found(name) is None:
            task, scores = PRIMARY[plain.corpus], {}
            for rate in rates:
                figures = self.score(replace(plain, rate=rate), task, TASKS[task].rows, seeds=1)
                scores[f"{rate:g}"] = figures["runs"][0]["validation"][figures["metric"]]
            best = max(rates, key=lambda rate: scores[f"{rate:g}"])
            self.keep(name, {"of": asdict(plain), "task": task, "validation": scores, "rate": best}, 0.0)
        return self.found(name)["rate"]

    def job(self, adaptation, steps, folder):
        """Returns: [`Job`]."""
        return Job(
            self.start(adaptation.start),
            self.corpus(adaptation.corpus, adaptation.share),
            steps,
            self.rows(adaptation.arm),
            adaptation.rate,
            adaptation.seed,
            folder,
            {**ARMS[adaptation.arm].changes, **dict(adaptation.changes)},
        )

    def encoder(self, adaptation):
        """What is evaluated, trained where it is not there.

        Args: adaptation ([`Adaptation`]): with its rate, where it trains. Returns: `str`, a path for `evaluate`.
        """
        base = str(self.start(adaptation.start).discriminator)
        if not adaptation.trains:
            return f"random:{base}" if adaptation.arm == "random" else base
        folder = self.start(adaptation.start).place / "trainings" / _file_name(adaptation.name())
        if adaptation.alpha is not None:
            if not folder.is_dir():
                merge_checkpoints(base, self.encoder(adaptation.source), adaptation.alpha, folder)
            return str(folder)
        name = f"training: {adaptation.name()}"
        if self.found(name) is None:
            self.say(name)
        trained = train(adaptation.arm, self.job(adaptation, self.steps(adaptation), folder))
        if self.found(name) is None:
            figures = {"of": asdict(adaptation), **asdict(trained)}
            del figures["discriminator"]
            self.keep(name, figures, trained.seconds)
        return trained.discriminator

    # ---- Time -------------------------------------------------------------------------------------------------------

    def timing(self, start, corpus, arm):
        """Seconds of a step of an arm against one of arm c, measured in turn: c, arm, c, arm, ...

        Args: start, corpus, arm (`str`). Returns: `dict`.
        """
        name = f"timing: {start}, {corpus}, {arm}"
        if self.found(name) is None:
            self.say(name)
            seconds, tokens = {"rtd": [], arm: []}, dict.fromkeys(("rtd", arm), 0)
            for number in range(self.form.timed_rounds):
                for each in seconds:
                    folder = self.folder / "timing"
                    shutil.rmtree(folder, ignore_errors=True)
                    adaptation = Adaptation(start, corpus, each, seed=number, rate=self.form.rates[start][0])
                    trained = train(each, self.job(adaptation, self.form.timed_steps, folder))
                    seconds[each].append(trained.seconds / trained.steps)
                    tokens[each] += trained.tokens
            steps = self.form.timed_rounds * self.form.timed_steps
            figures = {
                "seconds_a_step": {each: sum(values) / len(values) for each, values in seconds.items()},
                "tokens_a_step": {each: count / steps for each, count in tokens.items()},
                "step_against_rtd": paired_ratio(seconds[arm], seconds["rtd"]),
                "steps": self.form.timed_steps,
                "rounds": self.form.timed_rounds,
            }
            self.keep(name, figures, sum(map(sum, seconds.values())) * self.form.timed_steps)
        return self.found(name)

    # ---- Scores -----------------------------------------------------------------------------------------------------

    def score(self, adaptation, task, rows, seeds=None):
        """Fine-tune on labels and score on the test rows.

        Args:
            adaptation ([`Adaptation`]); task (`str`): in `TASKS`; rows (`int`): labelled ones.
            seeds (`int`, *optional*): by default those of the form.

        Returns:
            `dict`: `metric`, `runs` of the chosen fine-tuning rate, one a seed, `of`; see [`score_encoder`].
        """
        adaptation, seeds = self.with_rate(adaptation), seeds or self.form.seeds
        name = f"score: {adaptation.name()}; {task}, {rows} rows, {seeds} seeds"
        if self.found(name) is None:
            path = self.encoder(adaptation)
            self.say(name)
            figures, seconds = score_encoder(
                path,
                task,
                task_files(task, self.folder),
                rows,
                seeds,
                self.form.fine_tuning_rates[adaptation.start],
                self.form,
                self.folder / "evaluations",
            )
            targets = {"names": figures.pop("names"), "targets": figures.pop("targets")}
            if self.found(f"targets: {task}") is None:
                self.keep(f"targets: {task}", targets, 0.0)
            self.keep(name, {"of": asdict(adaptation), "task": task, "rows": rows, **figures}, seconds)
        return self.found(name)

    def floor(self, task, rows):
        """What naive Bayes gets on the same rows. Args: task (`str`); rows (`int`). Returns: `dict`."""
        name = f"floor: {task}, {rows} rows, {self.form.seeds} seeds"
        if self.found(name) is None:
            figures, seconds = naive_bayes_scores(task, task_files(task, self.folder), rows, self.form.seeds)
            self.keep(name, {"task": task, "rows": rows, **figures}, seconds)
        return self.found(name)


def set_threads(number):
    """Args: number (`int`): of torch, in this process."""
    torch.set_num_threads(number)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _file_name(name):
    return name.replace(", ", "--").replace(" ", "-").replace("/", "-").replace("%", "")
