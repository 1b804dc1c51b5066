"""The Trainer's table in a notebook: held-out parts and details beside the losses."""

import sys
from types import SimpleNamespace

import pytest
from transformers import TrainerCallback

from electra_rtd.train_tools import RTDMetricsCallback
from electra_rtd.train_tools.counts import DETAILED


@pytest.fixture
def notebook(monkeypatch):
    """`transformers.utils.notebook`, which shows nothing."""
    pytest.importorskip("IPython", reason="a notebook's table needs IPython: install '.[dev]'")
    from transformers.utils import notebook

    shown = SimpleNamespace(update=lambda content: None)
    monkeypatch.setattr(notebook, "disp", SimpleNamespace(HTML=str, display=lambda content, display_id=None: shown))
    monkeypatch.setitem(sys.modules, "transformers.utils.notebook", notebook)
    return notebook


def table_of(notebook, trainer):
    """Header and rows of the table as training leaves it."""
    kept = []

    class Keep(TrainerCallback):
        def on_log(self, args, state, control, **kwargs):
            self.keep()

        on_evaluate = on_log

        def keep(self):
            bar = next(one for one in trainer.callback_handler.callbacks if hasattr(one, "training_tracker"))
            kept[:] = [list(row) for row in bar.training_tracker.inner_table]

    trainer.add_callback(Keep())
    trainer.train()
    return kept[0], kept[1:]


PARTS = ["Mlm Loss", "Disc Loss", "Gen Acc", "Disc Acc"]


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_a_notebook_shows_the_held_out_parts_beside_both_losses(strategy, make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback()], eval_strategy=strategy, eval_steps=2, max_steps=8)
    header, rows = table_of(notebook, trainer)
    first = "Step" if strategy == "steps" else "Epoch"
    assert header == [first, "Training Loss", "Validation Loss", *PARTS]  # and no times
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    names = ("eval_loss", "eval_mlm_loss", "eval_disc_loss", "eval_gen_acc", "eval_disc_acc")
    assert [row[2:] for row in rows] == [[entry[name] for name in names] for entry in evaluations]
    assert [row[0] for row in rows] == ([2, 4, 6, 8] if strategy == "steps" else [1, 2])


def test_a_notebook_shows_the_details_too(make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback(detailed=True)], eval_strategy="steps", eval_steps=3)
    header, rows = table_of(notebook, trainer)
    assert header[7:] == [" ".join(part.capitalize() for part in name.split("_")) for name in DETAILED]
    assert all(len(row) == len(header) for row in rows) and len(rows) == 2


def test_a_notebook_shows_the_training_parts_where_nothing_is_held_out(make_trainer, notebook):
    bar = notebook.NotebookProgressCallback()
    trainer = make_trainer(callbacks=[bar, RTDMetricsCallback()])
    header, rows = table_of(notebook, trainer)
    assert header == ["Step", "Training Loss", *PARTS]
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    names = ("step", "loss", "mlm_loss", "disc_loss", "gen_acc", "disc_acc")
    assert rows == [[entry[name] for name in names] for entry in logs] and len(rows) == 3
