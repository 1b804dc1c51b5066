"""RTDSampleCallback: held-out text in the terminal, TensorBoard and W&B, without an effect on training."""

import io
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from electra_rtd.train_tools import RTDMetricsCallback, RTDSampleCallback
from electra_rtd.train_tools.callbacks import samples
from electra_rtd.train_tools.callbacks.samples import COLUMNS, markdown_table
from electra_rtd.train_tools.inspector.inspector_texts import TEXTS
from electra_rtd.train_tools.inspector.pieces import piece_of_ids, pieces_of_text
from electra_rtd.train_tools.inspector.reading import read_pieces


SENTENCES = [
    "나는 오늘 학교에 간다 . 우리 의사가 약을 본다 .",
    "너는 내일 병원에서 책을 읽는다 .",
    "산은 크다 . 강은 작다 .",
]


@pytest.fixture
def rows(tokenizer):
    return Dataset.from_list([dict(tokenizer(text)) for text in SENTENCES * 4])


@pytest.fixture
def make_trainer(make_model, make_arguments, rows, tokenizer):
    def make(callbacks, model=None, **arguments):
        return Trainer(
            model=model if model is not None else make_model(dropout=0.1),
            args=make_arguments(**arguments),
            train_dataset=rows,
            eval_dataset=rows.select(range(3)),
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    return make


def headings(output):
    return [line for line in output.splitlines() if "RTD sample" in line]


def test_each_training_log_shows_the_texts_with_epoch_step_and_a_closing_line(make_trainer, capsys):
    make_trainer([RTDSampleCallback(SENTENCES, lang="en")]).train()
    output = capsys.readouterr().out
    assert [heading.split(" ─")[0] for heading in headings(output)] == [
        "RTD sample · epoch 0.67 · step 2",
        "RTD sample · epoch 1.33 · step 4",
        "RTD sample · epoch 2.00 · step 6",
    ]
    assert output.count("tokens wrong;") == 6  # two of the three sentences, three times


def test_the_view_says_what_the_model_says(make_trainer, make_model, tokenizer, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")  # wide enough for one block
    model = make_model()
    make_trainer([RTDSampleCallback(SENTENCES[0], lang="en")], model, max_steps=2, learning_rate=0.0).train()
    lines = capsys.readouterr().out.splitlines()
    batch = tokenizer(SENTENCES[0], return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**batch)
    inside = slice(1, -1)  # without [CLS] and [SEP]

    def shown(label):
        return next(line for line in lines if line.startswith(label)).removeprefix(label).split()

    assert shown("original ") == tokenizer.convert_ids_to_tokens(batch["input_ids"][0])[inside]
    assert shown("generator reads ") == tokenizer.convert_ids_to_tokens(output.masked_input_ids[0])[inside]
    read = tokenizer.convert_ids_to_tokens(output.disc_input_ids[0])
    labels, calls = output.disc_labels[0].tolist()[inside], output.disc_predictions[0].tolist()[inside]
    assert shown("discriminator reads ") == [
        f"«{token}»" if label else token for token, label in zip(read[inside], labels, strict=True)
    ]
    signs = {(0, 0): "·", (0, 1): "!", (1, 0): "✗", (1, 1): "✓"}
    verdicts = "".join(shown("says replaced "))  # `✗ 3%` is two words
    assert [sign for sign in verdicts if sign in "·!✗✓"] == [signs[one] for one in zip(labels, calls, strict=True)]
    wrong = sum(label != call for label, call in zip(labels, calls, strict=True))
    caught = sum(label and call for label, call in zip(labels, calls, strict=True))
    assert f"{wrong} of {len(labels)} tokens wrong; {caught} of {sum(labels)} replaced tokens caught" in lines


@pytest.mark.parametrize("metrics", [True, False])
def test_a_run_with_the_callback_equals_one_without_bit_for_bit(make_trainer, make_model, metrics, capsys):
    def run(callbacks):
        torch.manual_seed(3)
        trainer = make_trainer(callbacks, make_model(dropout=0.1), eval_strategy="steps", eval_steps=3)
        trainer.train()
        timed = ("_runtime", "_per_second", "train_tokens")
        log = [
            {name: value for name, value in row.items() if not name.endswith(timed)}
            for row in trainer.state.log_history
        ]
        return log, trainer.model.state_dict(), torch.get_rng_state()

    others = [RTDMetricsCallback()] if metrics else []
    log, weights, random_state = run(others)
    seen_log, seen_weights, seen_random_state = run([*others, RTDSampleCallback(SENTENCES, every=1)])
    assert "RTD" in capsys.readouterr().out
    assert seen_log == log
    assert all(torch.equal(seen_weights[name], weight) for name, weight in weights.items())
    assert torch.equal(seen_random_state, random_state)


def test_a_view_asks_each_network_once(make_trainer, make_model, capsys):
    model, asked = make_model(), []
    for name in ("generator", "discriminator"):
        encoder = getattr(model, name).electra
        encoder.register_forward_hook(lambda module, *_, name=name: None if module.training else asked.append(name))
    make_trainer([RTDSampleCallback(SENTENCES, every=2)], model, max_steps=2).train()
    assert asked == ["generator", "discriminator"]


def test_each_module_keeps_its_mode(make_trainer, make_model):
    model = make_model()

    class SetModes(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            model.train()
            model.generator.eval()  # as somebody does who freezes it

    seen = []

    class SeeModes(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            seen.append((model.training, model.generator.training, model.discriminator.training))

    make_trainer([SetModes(), RTDSampleCallback(SENTENCES, every=1), SeeModes()], model, max_steps=2).train()
    assert seen == [(True, False, True)] * 2


def test_every_n_steps_where_asked(make_trainer, capsys):
    make_trainer([RTDSampleCallback(SENTENCES, every=4, rows=1, lang="en")], logging_steps=1).train()
    assert [heading.split("step ")[1][0] for heading in headings(capsys.readouterr().out)] == ["4"]


def test_without_examples_it_takes_the_evaluation_data_and_says_so_before_there_is_any(make_trainer, capsys, caplog):
    trainer = make_trainer([RTDSampleCallback(lang="en")], eval_strategy="steps", eval_steps=4)
    trainer.train()
    assert caplog.text.count("RTDSampleCallback shows nothing: no evaluation has been yet") == 1
    output = capsys.readouterr().out
    assert [heading.split("step ")[1][0] for heading in headings(output)] == ["6"]
    assert output.count("나 ##는 오늘".replace(" ", "")) == 0 and "학교" in output


def test_tokenized_rows_show_as_their_text_does(make_model, tokenizer):
    model, text = make_model(), SENTENCES[1]
    ids = tokenizer(text)["input_ids"]
    [reading] = read_pieces(model, tokenizer, [piece_of_ids([*ids, tokenizer.pad_token_id], tokenizer)])
    assert [token.token for token in reading.tokens] == tokenizer.convert_ids_to_tokens(ids)[1:-1]
    assert reading.text == "너는 내일 병원에서 책을 읽는다 ."


def test_tensorboard_gets_the_texts(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))  # releases from 5 on
    arguments = {"report_to": ["tensorboard"]}
    if "logging_dir" in TrainingArguments.__dataclass_fields__:
        arguments["logging_dir"] = str(tmp_path / "board")
    make_trainer([RTDSampleCallback(SENTENCES, lang="en")], **arguments).train()
    events = EventAccumulator(str(next(tmp_path.rglob("events.*")).parent)).Reload()
    texts = events.Tensors("rtd_samples/text_summary")
    assert [event.step for event in texts] == [2, 4, 6]
    written = texts[0].tensor_proto.string_val[0].decode()
    assert "| original | 나 | \\#\\#는 | 오늘 | 학교 |" in written and "tokens wrong" in written


class Wandb:
    """What the Trainer's integration holds of the module, as far as a table needs it."""

    run = SimpleNamespace()

    def __init__(self):
        self.logged = []

    def Table(self, columns, data):
        assert all(len(row) == len(columns) for row in data)
        return SimpleNamespace(columns=columns, data=data)

    def log(self, row):
        self.logged.append(row)


def test_wandb_gets_a_table(make_trainer, capsys):
    class WandbCallback(TrainerCallback):  # named as the reporter of `transformers`
        def __init__(self):
            self._wandb = Wandb()

    reporter = WandbCallback()
    make_trainer([reporter, RTDSampleCallback(SENTENCES)]).train()
    assert [row["train/global_step"] for row in reporter._wandb.logged] == [2, 4, 6]
    table = reporter._wandb.logged[0]["rtd_samples"]
    assert table.columns == list(COLUMNS)
    first = dict(zip(table.columns, table.data[0], strict=True))
    assert (first["step"], first["text"], first["place"], first["token"]) == (2, 0, 0, "나")
    assert 0 < first["probability"] < 1 and first["verdict"] in ("right", "false_alarm", "caught", "missed")


def test_markdown_of_tokens_cannot_break_its_table(make_model, tokenizer):
    [reading] = read_pieces(make_model(), tokenizer, [piece_of_ids(tokenizer("산 | 강 *")["input_ids"], tokenizer)])
    lines = markdown_table(reading, TEXTS["en"]).splitlines()
    columns = len(reading.tokens) + 1
    assert all(line.replace("\\|", "").count("|") == columns + 1 for line in lines)


def test_an_output_that_lacks_the_signs_does_not_end_the_run(make_trainer, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp949"))
    make_trainer([RTDSampleCallback(SENTENCES, lang="ko")], max_steps=2).train()
    sys.stdout.flush()
    assert "나 ##는 오늘" in " ".join(written.getvalue().decode("cp949").split())


def test_the_tokenizer_is_saved_as_it_was(make_trainer, make_tokenizer, make_model, capsys):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.enable_padding(length=9, pad_id=7, pad_token="[PAD]")
    before = tokenizer.backend_tokenizer.to_str()
    pieces_of_text("산 강 바다", tokenizer, 4)
    assert tokenizer.backend_tokenizer.to_str() == before
    assert tokenizer.backend_tokenizer.truncation is None


def test_a_model_that_reads_less_gets_less(make_trainer, make_model, capsys):
    short = {"max_position_embeddings": 16}
    model = make_model(generator=short, discriminator=short)
    long = [" ".join(["산"] * 40), {"input_ids": [31, *[1] * 40, 32]}]
    trainer = make_trainer([RTDSampleCallback(long, lang="en")], model, max_steps=2)
    trainer.train_dataset = trainer.train_dataset.filter(lambda row: len(row["input_ids"]) <= 16)
    trainer.train()
    assert capsys.readouterr().out.count("of 14 tokens wrong") == 2


def test_padding_of_the_examples_is_not_shown(make_trainer, tokenizer, capsys):
    ids = tokenizer(SENTENCES[1])["input_ids"]
    padding = [tokenizer.pad_token_id] * 100
    examples = [{"input_ids": padding + ids}, {"input_ids": ids + padding}]
    make_trainer([RTDSampleCallback(examples, lang="en")], max_steps=2).train()
    assert capsys.readouterr().out.count(f"of {len(ids) - 2} tokens wrong") == 2


def test_ids_above_the_tokenizers_have_a_name(make_model, tokenizer):
    model = make_model(
        generator={"vocab_size": 400}, discriminator={"vocab_size": 400}, replace_prob=0.0, random_token_prob=1.0
    )
    readings = read_pieces(
        model, tokenizer, [piece_of_ids(tokenizer(text)["input_ids"], tokenizer) for text in SENTENCES]
    )
    names = {token.generator_read for reading in readings for token in reading.tokens if token.masked}
    assert any(name.startswith("[") and 80 <= int(name[1:-1]) < 400 for name in names if name[1:-1].isdigit())
    assert "|" in markdown_table(readings[0], TEXTS["en"])


def test_under_fsdp_it_shows_nothing_and_says_why(tokenizer, make_model, monkeypatch, capsys, caplog):
    callback, args = RTDSampleCallback(SENTENCES), SimpleNamespace()
    # As a launcher leaves it, whose settings never reach the arguments.
    monkeypatch.setattr(samples, "AcceleratorState", lambda: SimpleNamespace(distributed_type=DistributedType.FSDP))
    state = SimpleNamespace(is_world_process_zero=True, global_step=2, epoch=0.1)
    for _ in range(2):
        callback.on_log(args, state, None, logs={"loss": 1.0}, model=make_model(), processing_class=tokenizer)
    assert capsys.readouterr().out == ""
    assert caplog.text.count("FSDP") == 1


def test_other_processes_print_nothing(make_model, tokenizer, capsys):
    state = SimpleNamespace(is_world_process_zero=False, global_step=2, epoch=0.1)
    RTDSampleCallback(SENTENCES).on_log(
        SimpleNamespace(), state, None, logs={"loss": 1.0}, model=make_model(), processing_class=tokenizer
    )
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "`every` is 0"),
        ({"rows": 0}, "`rows` is 0"),
        ({"lang": "fr"}, "`lang` is 'fr'"),
        ({"examples": []}, "holds no text"),
        ({"examples": ["", "  "]}, "holds no text"),
        ({"examples": [{"label": 1}]}, "holds no text"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        RTDSampleCallback(**arguments)


def test_long_rows_are_cut_to_what_one_looks_at(make_trainer, tokenizer, capsys):
    long = {"input_ids": tokenizer("산 " * 90, truncation=True, max_length=100)["input_ids"]}
    make_trainer([RTDSampleCallback([long], lang="en")], max_steps=2).train()
    assert "of 62 tokens wrong" in capsys.readouterr().out  # 64, and [CLS] and [SEP] are not counted


def test_the_real_wandb_takes_the_table(make_trainer, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed: its table is tested with a stand-in alone")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    make_trainer([RTDSampleCallback(SENTENCES)], report_to=["wandb"]).train()
    wandb = sys.modules["wandb"]
    assert "rtd_samples" in dict(wandb.run.summary)
    wandb.finish()
