"""The course of an evaluation: the grid of rates, the seeds, probes and floors, each done or taken from the store."""

import math
import statistics
from dataclasses import replace

import torch

from ..signals import in_words
from .arguments import FLOOR
from .encoding import encode
from .evaluation import Run
from .fine_tuning import RECIPE, RECIPE_OF_LARGE, WEIGHT_DECAY, default_epochs, fine_tune
from .labels import take_rows
from .metrics import collapsed
from .probe import naive_bayes, probe
from .progress import Progress
from .runs import RunStore, fingerprint, key_of


RULES = 1  # raised when the same settings give other results: runs that were kept before are not taken then


class Course:
    """All runs of one evaluation, each done or taken from the store.

    Args:
        arguments ([`EvaluateArguments`])
        split ([`Split`])
        metric (`str`): that the rates are chosen by, on the validation rows.
        arms (`list` of [`Arm`])
        counts (`list[int]`): of training rows.

    Attributes:
        runs (`list` of [`Run`]), chosen (`dict[str, dict[int, float]]`): arm to training rows to the rate.
    """

    def __init__(self, arguments, split, metric, arms, counts):
        self._arguments, self._metric = arguments, metric
        self._split, self._arms, self._counts = split, arms, counts
        self._store = RunStore(arguments.output_dir)
        self._task = fingerprint(split)
        self._splits = {}
        self._encoded = {}
        self._progress = Progress(*self._plan())
        self.runs: list[Run] = []
        self.chosen: dict[str, dict[int, float]] = {}

    def run(self):
        """Do what is left to do.

        Raises:
            KeyboardInterrupt: with what is kept and how to go on, for a person.
        """
        try:
            with self._progress.shown():
                for rows in self._counts:
                    self._floors(rows)
                    for arm in self._arms:
                        if self._arguments.probe:
                            self._probes(arm, rows)
                        else:
                            self._fine_tunings(arm, rows)
        except KeyboardInterrupt as interrupt:
            done, runs = self._progress.done, self._progress.runs
            raise in_words(
                interrupt,
                f"after {done} of {runs} runs.\n{len(self._store)} runs are kept in {self._store.path}.\n"
                "The same command goes on from there.",
            ) from interrupt

    def settings(self):
        """What all runs have in common: `dict`."""
        arguments = self._arguments
        if arguments.probe:
            return {"seeds": arguments.seeds, "max_length": arguments.max_length}
        return {
            "learning_rates": arguments.rates,
            "seeds": arguments.seeds,
            "grid_seeds": self._grid_seeds,
            "epochs": {str(rows): self._epochs(rows) for rows in self._counts},
            "batch_size": arguments.batch_size,
            "max_length": arguments.max_length,
            "layer_decay": {arm.name: self._decay(arm) for arm in self._arms},
            "weight_decay": WEIGHT_DECAY,
        }

    # ---- What there is to do ----

    @property
    def _grid_seeds(self):
        return min(self._arguments.grid_seeds, self._arguments.seeds) if len(self._arguments.rates) > 1 else 0

    def _plan(self):
        """How many runs there are at most, and what they cost together: rows read times the encoder's size."""
        runs, cost = 0, 0.0
        of_arm = len(self._arguments.rates) * self._grid_seeds + self._arguments.seeds - self._grid_seeds
        for rows in self._counts:
            for arm in self._arms:
                number = len(self._draws(rows)) if self._arguments.probe else of_arm
                runs += number
                cost += number * self._cost(arm, rows)
        return runs, cost

    def _cost(self, arm, rows):
        held_out = len(self._split.validation) + len(self._split.test)
        return arm.size * (held_out + (rows if self._arguments.probe else 3 * rows * self._epochs(rows)))

    def _draws(self, rows):
        """Seeds of what is not fine-tuned: of all rows there is one result."""
        return range(self._arguments.seeds) if rows < len(self._split.train) else [None]

    def _epochs(self, rows):
        return self._arguments.epochs or default_epochs(rows, self._arguments.batch_size)

    def _decay(self, arm):
        return self._arguments.layer_decay or (RECIPE_OF_LARGE if arm.is_large else RECIPE)[1]

    # ---- Runs ----

    def _fine_tunings(self, arm, rows):
        """The grid, then the other seeds at the rate that the validation rows choose."""
        rates, seeds = self._arguments.rates, range(self._arguments.seeds)
        tried = {
            rate: [self._fine_tuning(arm, rows, seed, rate) for seed in seeds[: self._grid_seeds]] for rate in rates
        }
        chosen = rates[0] if len(rates) == 1 else self._choose(arm, tried)
        self.chosen.setdefault(arm.name, {})[rows] = chosen
        others = [self._fine_tuning(arm, rows, seed, chosen) for seed in seeds[self._grid_seeds :]]
        self.runs += [run for runs in tried.values() for run in runs] + others

    def _choose(self, arm, tried):
        """The rate with the best mean; of equal ones, that nearest to ELECTRA's own."""
        usual = (RECIPE_OF_LARGE if arm.is_large else RECIPE)[0]

        def merit(rate):
            scores = [run.validation[self._metric] for run in tried[rate]]
            return statistics.fmean(scores), -abs(math.log(rate / usual))

        return max(tried, key=merit)

    def _fine_tuning(self, arm, rows, seed, rate):
        arguments, epochs, decay = self._arguments, self._epochs(rows), self._decay(arm)
        settings = {
            "learning_rate": rate,
            "decay": decay,
            "epochs": epochs,
            "batch_size": arguments.batch_size,
            "max_length": arguments.max_length,
            "weight_decay": WEIGHT_DECAY,
        }

        def do():
            done = fine_tune(
                arm,
                self._split_of(rows, seed),
                seed=seed,
                **settings,
                encoder_of_rows=self._encode,
                on_rows=lambda read: self._progress.read(arm.size * read),
            )
            return Run(
                arm=arm.name,
                train_rows=rows,
                seed=seed,
                learning_rate=rate,
                way="fine_tuning",
                validation=done.validation,
                scores=done.scores,
                collapsed=done.collapsed,
                seconds=done.seconds,
                cut_off=done.cut_off,
                predictions=done.predictions,
            )

        label = f"{arm.name}, {rows:,} rows, seed {seed}, rate {rate:g}"
        key = self._key("fine_tuning", rows, seed, arm=arm.fingerprint, **settings)
        return self._done(key, arm.name, label, self._cost(arm, rows), do)

    def _probes(self, arm, rows):
        for seed in self._draws(rows):
            split = self._split_of(rows, seed)

            def do(split=split, seed=seed):
                found = probe(
                    arm.encoder(seed or 0),
                    arm.tokenizer,
                    split,
                    max_length=min(self._arguments.max_length, arm.longest),
                    device="cuda" if torch.cuda.is_available() else None,
                    metric=self._metric,
                )
                self._progress.read(self._cost(arm, rows))
                return self._as_run(arm.name, rows, seed, "probe", found, split)

            label = f"{arm.name}, {rows:,} rows, probe" + ("" if seed is None else f", seed {seed}")
            key = self._key(
                "probe", rows, seed, arm=arm.fingerprint, max_length=self._arguments.max_length, by=self._metric
            )
            self.runs.append(self._done(key, arm.name, label, self._cost(arm, rows), do))

    def _floors(self, rows):
        """Naive Bayes, which reads no more than pieces of words, and takes no time worth a bar."""
        for seed in self._draws(rows):
            split = self._split_of(rows, seed)
            key = self._key(FLOOR, rows, seed)
            run = self._store.get(key, FLOOR)
            if run is None:
                found = naive_bayes(split)
                if found is None:  # there is none for this kind of task
                    return
                run = self._as_run(FLOOR, rows, seed, FLOOR, found, split)
                self._store.add(key, run)
            self.runs.append(run)

    def _as_run(self, arm, rows, seed, way, found, split):
        return Run(
            arm=arm,
            train_rows=rows,
            seed=seed,
            learning_rate=None,
            way=way,
            validation=found.validation,
            scores=found.scores,
            collapsed=collapsed(split.test.kind, found.predictions, split.test.targets, split.test.names),
            predictions=found.predictions,
        )

    def _done(self, key, arm, label, cost, do):
        run = self._store.get(key, arm)
        if run is not None:
            self._progress.skip(cost)
            return run
        self._progress.begin(label)
        run = do()
        self._store.add(key, run)
        why = f", COLLAPSED: {run.collapsed}" if run.collapsed else ""
        self._progress.end(label, f"{self._metric} {run.scores[self._metric]:.3f}, {run.seconds:.0f} s{why}")
        return run

    def _key(self, way, rows, seed, **settings):
        return key_of(rules=RULES, way=way, task=self._task, train_rows=rows, seed=seed, **settings)

    # ---- Rows ----

    def _split_of(self, rows, seed):
        """The split with the training rows of a seed."""
        if rows == len(self._split.train):
            return self._split
        if (rows, seed) not in self._splits:
            self._splits[rows, seed] = replace(self._split, train=take_rows(self._split.train, rows, seed))
        return self._splits[rows, seed]

    def _encode(self, labels, tokenizer, max_length, **options):
        """[`encode`], once for each tokenizer: arms of one release share it."""
        named = next(arm.tokenizer_fingerprint for arm in self._arms if arm.tokenizer is tokenizer)
        key = id(labels), named, max_length, *options.items()
        if key not in self._encoded:  # the rows are kept with it, so that no others get their `id`
            self._encoded[key] = labels, encode(labels, tokenizer, max_length, **options)
        return self._encoded[key][1]
