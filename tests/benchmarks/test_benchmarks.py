"""Benchmarks measure what they say: who steps when, ratios, useful operations, equal losses, the page's own words."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops, machine, report, scaling, step, watching
from benchmarks.batches import draw_batches, join_rows
from benchmarks.contenders import Contender, mlm, ours, plain
from benchmarks.contenders.common import Setup, pad_rows, stock_pair
from benchmarks.flops import MatrixProduct, data_sheet_rate, mlm_flops, rtd_flops
from benchmarks.rounds import paired_ratio, run_rounds, start_workers
from benchmarks.shapes import SHAPES, pair_configs
from benchmarks.text import SHARED, default_text, read_rows
from electra_rtd import ElectraRTDForPreTraining, modeling_electra_rtd, objective_electra_rtd, unpadding_electra_rtd


needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared texts are not beside this checkout")


@pytest.fixture
def setup(tokenizer, tmp_path, ids):
    tokenizer.save_pretrained(tmp_path)
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return Setup("tiny", ids.vocab_size, str(tmp_path), config_fields=no_dropout)


@pytest.fixture
def rows(ids):
    lengths = torch.randint(3, 30, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    return [[ids.cls, *ids.ordinary[: length - 2], ids.sep] for length in lengths]


# ---- Who steps when -------------------------------------------------------------------------------------------------


class Recorder:
    def __init__(self, name, log, fails_at=None):
        self.name, self.log, self.fails_at = name, log, fails_at

    def step(self, rows):
        if rows == self.fails_at:
            raise RuntimeError("out of memory")
        self.log.append((self.name, rows))
        return {"seconds": rows}


def test_contenders_step_in_turn_on_the_batches_of_one_round_and_warm_up_does_not_count():
    log = []
    workers = {name: Recorder(name, log) for name in "ABC"}
    reports, failed = run_rounds(workers, {name: [10, 11, 12] for name in "ABC"}, rounds=2, warmup=1)
    assert log == [(name, batch) for batch in (10, 11, 12) for name in "ABC"]
    assert reports == {name: [{"seconds": 11}, {"seconds": 12}] for name in "ABC"}
    assert failed == {}


def test_one_that_fails_is_left_out_with_the_reason_and_the_others_go_on():
    log = []
    workers = {"A": Recorder("A", log, fails_at=11), "B": Recorder("B", log)}
    reports, failed = run_rounds(workers, {name: [10, 11, 12] for name in "AB"}, rounds=3)
    assert list(reports) == ["B"] and len(reports["B"]) == 3
    assert failed == {"A": "out of memory"}
    assert log == [("A", 10), ("B", 10), ("B", 11), ("B", 12)]


def test_ratios_are_taken_within_a_round_and_not_between_summaries():
    # The machine halves its speed in every round; ours is twice as fast in four rounds, ten times in one.
    reference = [16.0, 8.0, 4.0, 2.0, 1.0]
    values = [32.0, 16.0, 8.0, 4.0, 10.0]
    ratio = paired_ratio(values, reference)
    assert ratio["median"] == 2.0
    assert ratio["p10"] == 2.0
    assert ratio["p90"] == pytest.approx(6.8)  # a tenth of the way before the last of 2, 2, 2, 2, 10


@pytest.mark.slow
def test_each_worker_is_a_process_of_its_own_that_reports_its_tokens_time_memory_and_losses(setup, rows):
    shared = {name: getattr(setup, name) for name in ("shape", "vocab_size", "tokenizer")}
    chosen = {name: step.available()[name] for name in ("ours",)}
    workers, failed = start_workers(chosen, shared, threads=1)
    try:
        assert failed == {}
        found = workers["ours"].step(rows[:4])
    finally:
        for worker in workers.values():
            worker.close()
    assert found["real_tokens"] == sum(map(len, rows[:4]))
    assert found["padded_tokens"] == 4 * max(map(len, rows[:4]))
    assert found["seconds"] > 0 and found["peak_memory"] > 0
    losses = found["losses"]
    assert losses["loss"] == pytest.approx(losses["mlm_loss"] + 50 * losses["disc_loss"], rel=1e-5)


@pytest.mark.slow
def test_a_worker_that_cannot_be_built_is_left_out_with_the_reason(setup):
    missing = {"a package": Contender("electra_pytorch")}  # without its environment
    setup = {name: getattr(setup, name) for name in ("shape", "vocab_size", "tokenizer")}
    assert start_workers(missing, setup, threads=1) == (
        {},
        {"a package": "ModuleNotFoundError: No module named 'electra_pytorch'"},
    )


# ---- Nobody is fast by computing something else ---------------------------------------------------------------------


def test_plain_computes_the_losses_of_ours_at_the_same_masked_positions_and_samples(setup, rows):
    model = ours.build(setup).model.eval()
    generator, discriminator = (network.eval() for network in stock_pair(setup))
    batch = pad_rows(rows[:8], setup.load_tokenizer().pad_token_id)
    with torch.no_grad():
        expected = model(**batch)
        masked = expected.masked_positions
        found = plain.rtd_losses(
            generator,
            discriminator,
            **batch,
            masked=masked,
            masked_input_ids=expected.masked_input_ids,
            sample=lambda logits: expected.disc_input_ids[masked],
        )
    assert masked.sum() > 8
    for name in ("mlm_loss", "disc_loss", "loss"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_plain_masks_as_many_of_each_row_as_ours(setup, rows, ids):
    batch = pad_rows(rows, ids.pad)
    candidates = ~torch.isin(batch["input_ids"], torch.tensor(ids.special))
    expected = modeling_electra_rtd.choose_masked_positions(candidates, 0.15, torch.rand(candidates.shape))
    found = plain.draw_mask(candidates)
    assert torch.equal(found.sum(dim=1), expected.sum(dim=1))
    assert not (found & ~candidates).any()


def test_plain_masks_fifteen_percent_of_each_row_rounded_up_and_each_candidate_as_often_as_the_others():
    lengths = torch.arange(201)
    candidates = torch.arange(200) < lengths[:, None]
    expected = [math.ceil(round(0.15 * length, 6)) for length in range(201)]
    assert plain.draw_mask(candidates).sum(dim=1).tolist() == expected
    torch.manual_seed(0)
    row = torch.tensor([True] * 7 + [False] * 3).repeat(7_000, 1)
    often = plain.draw_mask(row).sum(dim=0)  # two of seven candidates in each row
    assert often.sum() == 14_000 and not often[7:].any()
    assert (often[:7] - 2_000).abs().max() < 200  # five standard deviations


def test_collating_is_not_a_part_of_the_timed_step(setup, rows, monkeypatch):
    contender, clock = mlm.build(setup), SimpleNamespace(now=0.0)
    monkeypatch.setattr(flops, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def takes(seconds, run):
        def slow(argument):
            clock.now += seconds
            return run(argument)

        return slow

    contender.collate = takes(100.0, contender.collate)
    contender.train_on = takes(1.0, contender.train_on)
    assert contender.step(rows[:4])["seconds"] == 1.0


def test_gumbel_sampling_follows_the_softmax():
    torch.manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0])
    shares = plain.gumbel_sample(logits.repeat(20_000, 1)).bincount(minlength=3) / 20_000
    torch.testing.assert_close(shares, logits.softmax(dim=0), atol=0.02, rtol=0)


@pytest.mark.parametrize("piece", ours.PIECES)
def test_ours_without_a_piece_computes_the_same_expectations(setup, rows, monkeypatch, piece):
    # What a switch patches is put back afterwards.
    monkeypatch.setattr(modeling_electra_rtd, "UnpaddedBatch", modeling_electra_rtd.UnpaddedBatch)
    monkeypatch.setattr(objective_electra_rtd, "sample_tokens", objective_electra_rtd.sample_tokens)
    monkeypatch.setattr(objective_electra_rtd, "LOGITS_AT_ONCE", {"cpu": 7 * setup.vocab_size})  # several parts
    elsewhere = objective_electra_rtd.LOGITS_AT_ONCE_ELSEWHERE
    monkeypatch.setattr(objective_electra_rtd, "LOGITS_AT_ONCE_ELSEWHERE", elsewhere)
    monkeypatch.setattr(unpadding_electra_rtd, "cut_by_length", unpadding_electra_rtd.cut_by_length)
    monkeypatch.setattr(unpadding_electra_rtd.UnpaddedBatch, "at", unpadding_electra_rtd.UnpaddedBatch.at)
    batch = pad_rows(rows, setup.load_tokenizer().pad_token_id)
    whole = ours.build(setup)
    with torch.no_grad():
        expected = whole.model.eval()(**batch)  # before the switch, which patches the module
        without = ours.build(Setup(**{**vars(setup), "piece": piece}))
        found = without.model.eval()(**batch)
    # In eval mode positions do not depend on the piece; samples may.
    torch.testing.assert_close(found.mlm_loss, expected.mlm_loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.disc_loss, expected.disc_loss, rtol=0.05, atol=0.05)
    assert torch.equal(found.masked_positions, expected.masked_positions)


def test_a_step_moves_every_weight_that_has_a_gradient_and_reports_the_loss_before_it(setup, rows):
    contender = ours.build(setup)
    before = {name: values.clone() for name, values in contender.model.named_parameters()}
    first = contender.step(rows[:4])["losses"]["loss"]
    # Keys' biases shift all scores of a query alike: their gradient is 0.
    still = [name for name, values in contender.model.named_parameters() if torch.equal(values, before[name])]
    assert all(name.endswith("key.bias") or "token_type" in name for name in still), still
    assert all(values.grad is None for values in contender.model.parameters())
    assert first == pytest.approx(4.38 + 50 * 0.693, rel=0.1)  # log of 80 tokens, log of two classes


# ---- Useful operations ----------------------------------------------------------------------------------------------


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("length", [12, 32])
def test_the_formula_of_useful_operations_is_what_torch_counts_where_nothing_is_padded(setup, ids, length):
    rows = [[ids.cls, *ids.ordinary[: length - 2], ids.sep]] * 3
    contender = ours.build(setup)
    for network in (contender.model.generator, contender.model.discriminator):
        network.set_attn_implementation("eager")  # the counter does not know the fused product of a CPU
    batch = pad_rows(rows, ids.pad)
    expected = counted(lambda: contender.losses(batch)["loss"].backward())
    assert rtd_flops(*setup.configs(), [length] * 3) == expected


def test_the_formula_of_masked_language_modelling_counts_its_head_at_masked_positions(setup):
    generator, discriminator = setup.configs()
    lengths = [12, 32]  # 2 and 5 masked tokens
    more = pair_configs("tiny", setup.vocab_size + 10)[1]
    assert mlm_flops(more, lengths) - mlm_flops(discriminator, lengths) == 3 * 2 * (2 + 5) * 16 * 10
    assert rtd_flops(generator, discriminator, lengths) > mlm_flops(generator, lengths)


def test_padding_is_of_no_use(setup):
    configs = setup.configs()
    assert step.useful_flops("ours", configs, [[2, 5, 3], [2, 5, 6, 7, 3]]) == rtd_flops(*configs, [3, 5])
    assert step.useful_flops("mlm", configs, [[2, 5, 3]]) == mlm_flops(configs[1], [3])


def test_the_matrix_product_counts_two_operations_a_multiplication():
    report = MatrixProduct("float32", torch.device("cpu"), size=64).step()
    assert report["flops"] == 2 * 64**3
    assert report["seconds"] > 0


def test_the_rate_of_an_unknown_card_is_not_guessed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    assert data_sheet_rate("bfloat16") == 989.5e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card of tomorrow")
    assert data_sheet_rate("bfloat16") is None


# ---- Batches --------------------------------------------------------------------------------------------------------


def padded_share(batches):
    padded = sum(len(batch) * max(map(len, batch)) for batch in batches)
    return 1 - sum(len(row) for batch in batches for row in batch) / padded


def test_batches_of_like_length_pad_less_than_ragged_ones(rows):
    ragged, grouped = (draw_batches(rows, scenario, 8, 8) for scenario in ("ragged", "like-length"))
    assert padded_share(ragged) > 0.3
    assert padded_share(grouped) < 0.7 * padded_share(ragged)  # 64 rows make groups of 16: two batches each
    assert {len(batch) for batch in ragged + grouped} == {8}


def test_an_epoch_has_every_row_once_and_the_next_epoch_another_order(rows):
    rows = [[*row[:-1], number, row[-1]] for number, row in enumerate(rows)]
    for scenario in ("ragged", "like-length"):
        batches = draw_batches(rows, scenario, 8, 16)
        first, second = ([row for batch in half for row in batch] for half in (batches[:8], batches[8:]))
        assert sorted(first) == sorted(second) == sorted(rows)
        assert first != second


def test_full_rows_have_no_padding_and_keep_all_tokens_in_order(rows, ids):
    full = join_rows(rows, 20)
    assert all(len(row) == 20 and row[0] == ids.cls and row[-1] == ids.sep for row in full)
    stream = [token for row in rows for token in row[1:-1]]
    joined = [token for row in full for token in row[1:-1]]
    assert joined == stream[: len(joined)] and len(stream) - len(joined) < 18


def test_ours_on_batches_of_like_length_stands_among_the_random_ones_only():
    assert "ours, like-length" in step.choose_contenders(None, "ragged")
    assert "ours, like-length" not in step.choose_contenders(None, "like-length")
    assert "ours, like-length" not in step.choose_contenders(None, "full")


def test_what_is_other_on_a_gpu_alone_is_measured_there_or_by_name():
    assert "ours, by boundaries" not in step.choose_contenders(None, "ragged")
    assert "ours, by boundaries" in step.choose_contenders(None, "ragged", "cuda")
    assert list(step.choose_contenders(["ours, by boundaries"], "full")) == ["ours, by boundaries"]


def test_text_asked_for_is_read_and_described_without_paths(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("나는 학교에 간다.\n너는 책을 읽는다.\n", encoding="utf-8")
    (tmp_path / "words").mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "나는", "학교에", "간다", "."]
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    text = read_rows(SimpleNamespace(text=[str(file)], vocab=str(tmp_path / "words" / "vocab.txt")))
    assert text.rows[0] == [2, 5, 6, 7, 8, 3]
    assert text.description == "2 sentences of mine.txt; vocabulary words/vocab.txt"


@needs_shared
def test_the_shared_texts_are_the_default():
    assert default_text() == [str(SHARED / "ko_techdocs/*.txt.gz"), str(SHARED / "ko_general/*.parquet")]


# ---- Scaling --------------------------------------------------------------------------------------------------------


def test_the_fit_finds_the_exponent_of_a_power_law():
    assert scaling.fit_exponent([1, 2, 4, 8], [3 * value**1.5 for value in (1, 2, 4, 8)]) == pytest.approx(1.5)
    assert scaling.fit_exponent([1, 2, 4, 8], [3, 3, 3, 3]) == pytest.approx(0, abs=1e-9)


def test_each_sweep_holds_still_what_it_does_not_sweep():
    for name, (_, points) in scaling.SWEEPS.items():
        tokens = {sum(point.lengths) for point in points}
        swept = {"width": "width", "depth": "depth", "vocabulary": "vocab"}.get(name)
        for field in ("width", "depth", "vocab"):
            assert len({getattr(point, field) for point in points}) == (len(points) if field == swept else 1), name
        assert len(tokens) == (len(points) if name == "tokens in the batch" else 1), name
        assert [point.value for point in points] == sorted(point.value for point in points)


def test_padded_lengths_have_the_share_of_padding_and_the_tokens_asked_for():
    for share in (0.0, 0.25, 0.5, 0.75):
        lengths = scaling.padded_lengths(share)
        assert sum(lengths) == scaling.REAL_TOKENS and len(lengths) == scaling.ROWS
        assert 1 - sum(lengths) / (len(lengths) * max(lengths)) == pytest.approx(share, abs=0.01)


def test_predicted_memory_counts_weights_and_grows_with_what_is_swept():
    configs = pair_configs("tiny", 1000)
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(
        *stock_pair(Setup("tiny", 1000, tokenizer="")), mask_token_id=4
    )
    weights = sum(parameter.numel() for parameter in model.parameters())
    one, two = (scaling.predicted_memory(*configs, [32] * rows) for rows in (1, 2))
    assert two - one == one - 16 * weights > 0
    assert scaling.predicted_memory(*configs, [64]) > two  # attention


# ---- The page -------------------------------------------------------------------------------------------------------


PAGE = "# Title\n\nBy hand.\n\n<!-- bench:step-cpu -->\nold\n<!-- /bench:step-cpu -->\n\nBy hand too: \\1.\n"


def test_the_report_replaces_what_stands_between_its_markers_and_nothing_else():
    once = report.replace_between_markers(PAGE, "step-cpu", "| \\1 new |")
    assert once == PAGE.replace("old", "| \\1 new |")
    assert report.replace_between_markers(once, "step-cpu", "| \\1 new |") == once


def test_a_page_without_the_markers_is_refused():
    with pytest.raises(ValueError, match="bench:step-cuda"):
        report.replace_between_markers(PAGE, "step-cuda", "new")


def test_the_page_has_markers_for_every_benchmark_on_both_devices():
    page = report.PAGE.read_text(encoding="utf-8")
    for kind in report.TABLES:
        for device in ("cpu", "cuda"):
            report.replace_between_markers(page, f"{kind}-{device}", "new")


def test_results_become_tables_and_figures_and_those_left_out_say_why(setup, rows, tmp_path):
    reports = {
        name: [
            {
                "seconds": seconds,
                "real_tokens": 100,
                "padded_tokens": 200,
                "peak_memory": 2**20,
                "losses": {"loss": 1.5},
            }
            for seconds in times
        ]
        for name, times in {"ours": (1.0, 2.0), "plain": (3.0, 6.0)}.items()
    }
    figures = step.summarise(
        reports,
        products=[{"flops": 1e9, "seconds": 1.0}] * 2,
        batches={name: [rows[:4], rows[4:8]] for name in reports},
        shape="tiny",
        vocab_size=setup.vocab_size,
    )
    assert figures["ours"]["against"]["plain"]["median"] == pytest.approx(3.0)
    assert figures["ours"]["real_tokens_per_second"] == pytest.approx(200 / 3)
    run = {
        **{"shape": "tiny", "dtype": "float32", "scenario": "ragged", "batch_size": 4, "rounds": 2, "warmup": 0},
        **{"text": "some text", "matrix_product": {"median": 1e9}, "data_sheet_rate": None},
        "machine": {"device": "a CPU", "threads": 1, "torch": "2", "transformers": "5"},
        "contenders": figures,
        "failed": {"txtai": "not installed"},
    }
    table = report.step_tables([run])
    assert "| ours | 67 | 133 | 3.00 (3.00 to 3.00) | n/a |" in table
    assert "left out: not installed" in table
    report._save(report.draw_ratios([run]), tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_a_run_takes_the_place_of_the_one_of_its_kind_and_the_machine_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    described = machine.describe_machine(torch.device("cpu"), 2)
    assert set(described) == {"device", "cores", "threads", "python", "torch", "transformers"}
    for seconds, shape in ((1, "small"), (2, "base"), (3, "small")):
        machine.write_run("step", torch.device("cpu"), {"shape": shape, "seconds": seconds}, key=("shape",))
    runs = json.loads((tmp_path / "step-cpu.json").read_text())
    assert runs == [{"shape": "base", "seconds": 2}, {"shape": "small", "seconds": 3}]


def test_every_shape_builds():
    for shape in SHAPES:
        generator, discriminator = pair_configs(shape, 100)
        assert generator.embedding_size == discriminator.embedding_size
        assert generator.intermediate_size == 4 * generator.hidden_size


def test_the_cost_of_a_view_is_what_steps_with_one_take_longer():
    summary = watching.summarise(with_view=[1.1, 1.3], without=[1.0, 1.0])
    assert summary["view_seconds"] == pytest.approx(0.2) and summary["view_in_steps"] == pytest.approx(0.2)
    assert summary["overhead"] == pytest.approx({"50": 0.004, "500": 0.0004})
