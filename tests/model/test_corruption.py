"""`exclude_original` against the softmax without the original; `mask_whole_words` against BERT's loop, written out."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

import electra_rtd
from electra_rtd import ElectraRTDForPreTraining
from electra_rtd.hub_tools import continuation_tokens
from electra_rtd.objective_electra_rtd import choose_masked_positions, sample_tokens


# ---- A sample never equals the original -----------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["floats", "integers"])
def deterministic(request):
    """With whole numbers too, as `full_determinism` asks of torch."""
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("original", [0, 3, 6])
def test_samples_follow_the_softmax_without_the_original(original, temperature):
    logits = torch.tensor([0.3, -1.0, 0.9, 2.5, -0.4, 0.0, 1.1])
    expected = (logits.double() / temperature).exp()
    expected[original] = 0.0
    expected = expected / expected.sum()
    draws = 20_000  # on a grid of uniform numbers each token has its share, but for one draw at either end
    uniform = (torch.arange(draws) + 0.5) / draws
    samples = sample_tokens(logits.expand(draws, 7), temperature, uniform, torch.full((draws,), original))
    shares = samples.bincount(minlength=7).double() / draws
    assert shares[original] == 0
    assert (shares - expected).abs().max() < 2.5 / draws + 1e-6, (shares, expected)


ENDS = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24])  # of what `torch.rand` can draw


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocab_size", [2, 3, 80])
@pytest.mark.parametrize("sure", [30.0, 200.0, 6e4])  # from 104 on everything else is 0 in float32
def test_where_nothing_else_has_a_probability_the_sample_still_differs(sure, vocab_size, dtype):
    logits = torch.randn(vocab_size, vocab_size, generator=torch.Generator().manual_seed(0))
    logits = logits.fill_diagonal_(sure).to(dtype).repeat(len(ENDS), 1)
    originals, uniform = torch.arange(vocab_size).repeat(len(ENDS)), ENDS.repeat_interleave(vocab_size)
    if sure > 104:
        assert torch.equal(sample_tokens(logits, 1.0, uniform), originals), "or this shows nothing"
    samples = sample_tokens(logits, 1.0, uniform, originals)
    assert not (samples == originals).any() and samples.min() >= 0 and samples.max() < vocab_size
    if sure == 200.0 and vocab_size == 80 and dtype == torch.float32:  # and the others differ as much as they did
        fine = (torch.arange(999) + 0.5) / 999
        rows = logits[7].expand(999, 80)
        assert len(sample_tokens(rows, 1.0, fine, torch.full((999,), 7)).unique()) > 40


def test_logits_that_are_not_numbers_give_no_original_and_no_crash():
    originals = torch.tensor([0, 3, 6])
    samples = sample_tokens(torch.full((3, 7), math.nan), 1.0, torch.tensor([0.0, 0.5, 0.9]), originals)
    assert not (samples == originals).any() and samples.max() < 7


def test_sums_that_are_not_flat_over_the_original_do_not_bring_it_back(monkeypatch):
    """Running sums in parallel add in another order at each place: where a zero is added, the sum may still rise."""
    cumsum = torch.Tensor.cumsum

    def uneven(values, dim):
        return cumsum(values, dim) + 1e-3 * torch.arange(1, values.shape[-1] + 1)

    monkeypatch.setattr(torch.Tensor, "cumsum", uneven)
    uniform = (torch.arange(1000) + 0.5) / 1000
    for original in range(5):
        samples = sample_tokens(torch.zeros(1000, 5), 1.0, uniform, torch.full((1000,), original))
        assert not (samples == original).any()


@pytest.mark.parametrize("training", [True, False])
def test_every_masked_token_is_replaced_and_the_generator_learns_the_same(training, make_model, make_batch):
    batch = make_batch((64, 63, 62, 61) * 5 + (7, 3, 2))
    outputs = {}
    for exclude in (False, True):
        model = make_model(mask_prob=0.5, exclude_original=exclude).train(training)
        torch.manual_seed(0)
        outputs[exclude] = model(**batch)
        outputs[exclude].mlm_loss.backward()
        outputs[exclude].gradient = model.generator.electra.embeddings.word_embeddings.weight.grad
    plain, excluding = outputs[False], outputs[True]
    masked = plain.masked_positions
    assert torch.equal(masked, excluding.masked_positions)
    assert torch.equal(plain.masked_input_ids, excluding.masked_input_ids)
    assert plain.mlm_loss == excluding.mlm_loss and plain.gen_acc == excluding.gen_acc
    assert torch.equal(plain.gradient, excluding.gradient)
    assert (plain.disc_labels[masked] == 0).any(), "without lucky hits this shows nothing"
    assert (excluding.disc_labels[masked] == 1).all()
    assert (excluding.disc_labels[(batch["attention_mask"] == 1) & ~masked] == 0).all()


def test_a_collators_masking_is_replaced_everywhere_too(make_model, make_same_rows, ids):
    original = make_same_rows(2, 12)
    labels = torch.full_like(original, -100)
    labels[:, 2:7] = original[:, 2:7]
    output = make_model(exclude_original=True, sampling_temperature=0.1)(original, labels=labels)
    assert torch.equal(output.disc_labels, (labels != -100).long())


def test_evaluation_without_the_original_repeats_in_any_batch(make_model, make_batch):
    model = make_model(exclude_original=True, mask_prob=0.4)
    batch = make_batch((12, 9, 4))
    together = model(**batch).disc_input_ids
    for row, length in enumerate((12, 9, 4)):
        alone = model(batch["input_ids"][row : row + 1, :length]).disc_input_ids
        assert torch.equal(alone[0], together[row, :length])
    assert torch.equal(model(**batch).disc_input_ids, together)


def test_parts_of_any_size_exclude_the_original_alike(make_model, make_batch, monkeypatch):
    model, batch = make_model(exclude_original=True, mask_prob=0.6).train(), make_batch((20, 14, 9))
    steps = []
    for at_once in (2**23, 160):
        monkeypatch.setitem(electra_rtd.objective_electra_rtd.LOGITS_AT_ONCE, "cpu", at_once)
        torch.manual_seed(1)
        steps.append(model(**batch))
        steps[-1].loss.backward()
    assert torch.equal(steps[0].disc_input_ids, steps[1].disc_input_ids)


# ---- Whole words ----------------------------------------------------------------------------------------------------


def words_of(candidates, continues):
    """Places of each word: a candidate, and the candidates right behind it that continue it."""
    words = []
    for place, is_candidate in enumerate(candidates):
        if not is_candidate:
            continue
        if continues[place] and place > 0 and candidates[place - 1]:
            words[-1].append(place)
        else:
            words.append([place])
    return words


def masked_by_berts_loop(candidates, continues, uniform, budget):
    """`create_masked_lm_predictions` of BERT; the shortest word, where its loop would take none."""
    words = sorted(words_of(candidates, continues), key=lambda word: uniform[word[0]])
    if not words:
        return set()
    budget, taken = max(budget, min(map(len, words))), set()
    for word in words:
        if len(taken) + len(word) <= budget:
            taken |= set(word)
    return taken


@settings(max_examples=150, deadline=None, derandomize=True)
@example(kinds=[[0, 3, 3, 0]], seed=0, mask_prob=0.1)  # special, then what continues nothing
@example(kinds=[[2] + [3] * 9], seed=0, mask_prob=0.1)  # one word, far longer than the budget
@given(
    kinds=st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 3]), min_size=1, max_size=60), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
    mask_prob=st.sampled_from([0.01, 0.15, 0.3, 0.5, 1.0]),
)
def test_words_are_those_that_berts_loop_takes(kinds, seed, mask_prob):
    """Kinds: 0 special, 1 padding that continues, 2 starts a word, 3 continues one."""
    rows = torch.ones(len(kinds), max(map(len, kinds)), dtype=torch.long)
    for row, kind in enumerate(kinds):
        rows[row, : len(kind)] = torch.tensor(kind)
    candidates, continues = rows >= 2, (rows == 1) | (rows == 3)
    uniform = torch.rand(rows.shape, generator=torch.Generator().manual_seed(seed))
    masked = choose_masked_positions(candidates, mask_prob, uniform, continues)
    for row in range(len(kinds)):
        budget = math.ceil(round(mask_prob * 100) * int(candidates[row].sum()) / 100)
        arguments = (tensor[row].tolist() for tensor in (candidates, continues, uniform))
        assert set(masked[row].nonzero().flatten().tolist()) == masked_by_berts_loop(*arguments, budget)


def test_where_no_token_continues_a_word_the_masking_is_the_plain_one():
    candidates = torch.rand(6, 50, generator=torch.Generator().manual_seed(0)) < 0.8
    uniform = torch.rand(6, 50, generator=torch.Generator().manual_seed(1))
    nothing = torch.zeros_like(candidates)
    for mask_prob in (0.01, 0.15, 0.4, 1.0):
        plain = choose_masked_positions(candidates, mask_prob, uniform)
        assert torch.equal(choose_masked_positions(candidates, mask_prob, uniform, nothing), plain)


def test_words_of_one_length_are_chosen_uniformly_and_short_ones_fill_the_rest():
    lengths = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2]  # 21 tokens, of which 9 are masked
    continues = torch.tensor([place > 0 for length in lengths for place in range(length)]).expand(6000, 21)
    candidates = torch.ones_like(continues)
    uniform = torch.rand(6000, 21, generator=torch.Generator().manual_seed(0))
    masked = choose_masked_positions(candidates, 0.4, uniform, continues)
    assert (masked.sum(dim=-1) == 9).float().mean() > 0.9, "short words are there to fill the budget"
    counts = masked[:, ~continues[0]].sum(dim=0).double()  # of each word
    for length in (1, 2, 3):
        alike = counts[torch.tensor(lengths) == length]
        expected = alike.mean()
        assert ((alike - expected) ** 2 / expected).sum() < len(alike) + 5 * math.sqrt(2 * len(alike)), counts
    assert counts[2] > 0.5 * counts[0], "long words have their turn"


@pytest.fixture(scope="module")
def whole_words(make_model, tokenizer):
    return make_model(mask_prob=0.4, mask_whole_words=True, continuation_tokens=continuation_tokens(tokenizer))


SENTENCES = ["나는 학교에서 책을 읽는다 .", "환자는 병원에 온다 .", "오늘은 비가 온다 , 내일은 눈이 온다 .", "밥 ?"]


@pytest.mark.parametrize("training", [True, False])
def test_no_word_of_a_sentence_is_masked_in_part(training, whole_words, tokenizer, ids):
    model = whole_words.train(training)
    batch = tokenizer(SENTENCES * 25, padding=True, return_tensors="pt")
    torch.manual_seed(0)
    masked = model(**batch).masked_positions
    model.eval()
    continued = torch.tensor([token.startswith("##") for token in tokenizer.convert_ids_to_tokens(range(80))])
    continues = continued[batch["input_ids"]]
    assert torch.equal(masked[:, 1:][continues[:, 1:]], masked[:, :-1][continues[:, 1:]])
    assert continues[masked].any(), "words of several tokens are masked, or this shows nothing"
    candidates = (batch["attention_mask"] == 1) & ~torch.isin(batch["input_ids"], torch.tensor(ids.special))
    assert not masked[~candidates].any() and masked.any(dim=-1).all()
    assert (masked.sum(-1) <= (0.4 * candidates.sum(-1)).ceil()).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_examples_words_are_masked_alike_whatever_batch_and_padding(side, whole_words, tokenizer):
    alone = [whole_words(**tokenizer(sentence, return_tensors="pt")) for sentence in SENTENCES]
    for order in ([0, 1, 2, 3], [3, 2, 2, 0], [1, 3]):
        rows = [SENTENCES[number] for number in order]
        batch = tokenizer(rows, padding="max_length", max_length=23, padding_side=side, return_tensors="pt")
        output = whole_words(**batch)
        for row, number in enumerate(order):
            attended = batch["attention_mask"][row] == 1
            for name in ("masked_positions", "disc_input_ids"):
                assert torch.equal(output[name][row][attended], alone[number][name][0])


def test_a_collators_labels_win_over_whole_words(whole_words, tokenizer):
    torch.manual_seed(0)
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.5)([tokenizer(text) for text in SENTENCES])
    output = whole_words(**batch)
    assert torch.equal(output.masked_positions, batch["labels"] != -100)


def test_the_pairs_words_come_from_its_tokenizer_and_travel_with_it(pair_folders, tokenizer, tmp_path):
    words = {"mask_whole_words": True, "continuation_tokens": continuation_tokens(tokenizer)}
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(*pair_folders, **words)
    number = int(model.config.continuation_tokens, 16)
    expected = {token_id for token, token_id in tokenizer.get_vocab().items() if token.startswith("##")}
    assert expected and {token_id for token_id in range(200) if number >> token_id & 1} == expected
    model.save_pretrained(tmp_path / "pair")
    loaded = ElectraRTDForPreTraining.from_pretrained(tmp_path / "pair")
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    assert torch.equal(loaded(**batch).masked_positions, model(**batch).masked_positions)
    loaded.resize_token_embeddings(131)  # new tokens begin words
    assert torch.equal(loaded(**batch).masked_positions, model(**batch).masked_positions)


def test_a_pair_without_the_fields_says_nothing_of_words(pair_folders):
    model = ElectraRTDForPreTraining.from_generator_discriminator_pretrained(*pair_folders)
    config = model.config
    assert (config.exclude_original, config.mask_whole_words, config.continuation_tokens) == (False, False, None)


def test_words_switched_on_without_a_tokenizer_are_refused_with_what_to_do(make_config, make_model, make_batch):
    with pytest.raises(ValueError, match=r"`mask_whole_words` needs `continuation_tokens`, which is None.*tokenizer"):
        make_config(mask_whole_words=True)
    for wrong in ("0x1f", "", "words", 7.5, "f" * 50 + "g"):
        with pytest.raises(ValueError, match="needs `continuation_tokens`"):
            make_config(mask_whole_words=True, continuation_tokens=wrong)
    model = make_model()
    model.config.mask_whole_words = True
    with pytest.raises(ValueError, match="needs `continuation_tokens`, which is None"):
        model(**make_batch())


@pytest.mark.parametrize("name", ["exclude_original", "mask_whole_words"])
def test_a_switch_is_true_or_false(name, make_config):
    for wrong in (1, "yes", None):
        with pytest.raises(ValueError, match=rf"`{name}` is {wrong!r}: it must be True or False"):
            make_config(**{name: wrong})


def test_a_vocabulary_of_another_kind_is_refused(make_tokenizer):
    tokens = {"[UNK]": 0, "[MASK]": 1, "##": 2, "###": 3, "a": 4}  # as the headings of Markdown in GPT-2's
    other = PreTrainedTokenizerFast(tokenizer_object=bpe(tokens), mask_token="[MASK]")
    with pytest.raises(ValueError, match=r"WordPiece vocabularies.*BPE"):
        continuation_tokens(other)


def bpe(vocabulary):
    return Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))


def test_words_are_masked_under_inference_mode_and_in_training_after_it(whole_words, tokenizer):
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    electra_rtd.objective_electra_rtd.continuation_table.__wrapped__.cache_clear()
    with torch.inference_mode():
        whole_words(**batch)
    whole_words.train()(**batch).loss.backward()
    whole_words.eval()
