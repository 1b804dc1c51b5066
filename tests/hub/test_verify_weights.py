"""The weights: all of them there, finite, of the shapes and types that the configuration says, and no others."""

import json
import shutil
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from electra_rtd.hub_tools import verify_checkpoint
from electra_rtd.hub_tools.checks import weights


CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
NO_CARD = ("no-card", "README.md")
QUERY = "discriminator.electra.encoder.layer.1.attention.self.query.weight"


def change_tensor(function, name=QUERY):
    return lambda tensors: tensors.update({name: function(tensors[name]).contiguous()})


def poison(value):
    def change(tensor):
        tensor[-1, -1] = value
        return tensor

    return change


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda tensors: tensors.pop(QUERY), "weights-missing", f"lacks {QUERY}: loading would draw"),
        (lambda tensors: tensors.update(extra=torch.ones(1)), "weights-unexpected", "has not: extra"),
        (change_tensor(lambda tensor: tensor[:-1]), "weights-shape", "(31, 32), config.json asks for (32, 32)"),
        (change_tensor(poison(float("nan"))), "weights-not-finite", f"{QUERY} holds NaN or Inf"),
        (change_tensor(poison(float("inf"))), "weights-not-finite", "Take an earlier state"),
        (change_tensor(poison(-float("inf"))), "weights-not-finite", "diverged"),
        (change_tensor(lambda tensor: tensor.long()), "weights-dtype", "holds torch.int64, not floating-point"),
        (change_tensor(lambda tensor: tensor.bool()), "weights-dtype", "holds torch.bool"),
        (change_tensor(lambda tensor: tensor.to(torch.float8_e4m3fn)), "weights-dtype", "torch.float8_e4m3fn, not"),
    ],
)
def test_weights_of_another_model_or_a_broken_one_are_an_error(pair_copy, change, code, says, errors, edit_weights):
    edit_weights(pair_copy, change)
    assert errors(pair_copy) == [(code, WEIGHTS)]
    (finding,) = verify_checkpoint(pair_copy).errors
    assert says in finding.message


def test_a_message_about_many_tensors_stays_short(pair_copy, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: [tensors.pop(name) for name in sorted(tensors)[:12]])
    text = message(pair_copy, "weights-missing")
    assert "and 7 more" in text and text.count("discriminator.") == 5


def test_mixed_types_are_a_warning(pair_copy, message, warnings, edit_weights):
    edit_weights(pair_copy, change_tensor(lambda tensor: tensor.half()))
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", WEIGHTS)]
    assert "1 of torch.float16" in message(pair_copy, "weights-dtype")


def test_another_type_than_the_configuration_says_is_a_warning(pair_copy, message, warnings, edit_json, edit_weights):
    edit_weights(pair_copy, lambda tensors: tensors.update({name: value.half() for name, value in tensors.items()}))
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", CONFIG)]
    assert message(pair_copy, "weights-dtype") == "says torch.float32, the weights are torch.float16."
    edit_json(pair_copy, lambda content: content.update(dtype=None))
    assert warnings(pair_copy) == [NO_CARD]


@pytest.mark.parametrize(
    "content", [lambda data: data[:-8], lambda data: b"garbage" * 99, lambda data: b"", lambda data: data[:4]]
)
def test_a_damaged_file_is_an_error(pair_copy, content, errors, message, write):
    write(pair_copy / WEIGHTS, content((pair_copy / WEIGHTS).read_bytes()))
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert "is not safetensors, or is cut off" in message(pair_copy, "weights-unreadable")


def test_a_file_without_the_format_that_old_releases_ask_for_is_an_error(pair_copy, errors, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: None, metadata=("a", "b"))
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert '`format: "pt"`' in message(pair_copy, "weights-unreadable")


def shards(folder):
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def test_a_missing_shard_is_an_error(sharded, errors, message):
    lost = shards(sharded)[1]
    (sharded / lost).unlink()
    assert ("weights-unreadable", lost) in errors(sharded)
    assert "named by the index, but is not there" in message(sharded, "weights-unreadable")


def test_a_tensor_in_two_shards_is_an_error(sharded, errors, message, edit_weights):
    first, second = shards(sharded)[:2]
    tensor, value = next(iter(load_file(sharded / first).items()))
    edit_weights(sharded, lambda tensors: tensors.update({tensor: value}), second)
    assert errors(sharded) == [("weights-unreadable", second)]
    assert f"holds {tensor}, which {first} holds too" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize("index", [INDEX, "other/model.safetensors.index.json", "model.safetensors.index.fp16.json"])
@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b.safetensors", "weights.txt", "x.bin", ""]
)
def test_an_index_names_safetensors_of_its_own_folder_only(sharded, index, shard, errors, message, edit_json, write):
    """A shard of another kind would be read as a pickle."""
    write(sharded / index, (sharded / INDEX).read_bytes())
    edit_json(sharded, lambda content: content["weight_map"].update({QUERY: shard}), index)
    assert errors(sharded) == [("weights-unreadable", index)]
    assert f"names {shard!r}, which is no safetensors file of this folder" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{", '{"weight_map": null}']
)
def test_an_index_that_is_none_is_an_error(sharded, content, errors, write):
    write(sharded / INDEX, content)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


@pytest.mark.parametrize("shard", ["other.safetensors", "model-00001-of-00002.safetensors.safetensors"])
def test_an_index_of_shards_of_another_name_is_an_error(sharded, shard, errors, edit_json):
    edit_json(sharded, lambda content: content["weight_map"].update({QUERY: shard}), INDEX)
    shutil.copy(sharded / shards(sharded)[0], sharded / shard)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


def test_one_file_and_an_index_at_once_are_an_error(pair_copy, sharded, errors):
    for name in [INDEX, *shards(sharded)]:
        shutil.copy(sharded / name, pair_copy / name)
    assert errors(pair_copy) == [("two-weights", INDEX)]


@pytest.mark.parametrize("equal", [True, False])
def test_tied_tensors_may_be_stored_twice_if_they_are_equal(
    make_model, tokenizer, tmp_path, equal, errors, edit_weights
):
    model = make_model(embedding_sharing="tied")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    names = [f"{part}.electra.embeddings.word_embeddings.weight" for part in ("discriminator", "generator")]

    def store_both(tensors):
        stored = next(tensors[name] for name in names if name in tensors)
        tensors.update({name: stored.clone() for name in names})
        tensors[names[0]][0, 0] += 0 if equal else 1

    edit_weights(tmp_path, store_both)
    assert errors(tmp_path) in ([[]] if equal else [[("weights-tying", WEIGHTS)], [("weights-tying", WEIGHTS)] * 2])


# --------------------------------------------------------------------------- what loaders of all releases make of them


def write_other_weights(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    tensors = {key: value + 1 for key, value in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / name, metadata={"format": "pt"})


def test_a_file_without_any_tensor_is_an_error(pair_copy, errors, edit_weights):
    edit_weights(pair_copy, lambda tensors: {})
    assert errors(pair_copy) == [("weights-missing", WEIGHTS)]


@pytest.mark.parametrize(
    "name",
    [
        "model.fp16.safetensors",
        "pytorch_model.safetensors",
        "adapter_model.SAFETENSORS",
        "discriminator/x.safetensors",
    ],
)
def test_a_second_file_of_weights_that_a_loader_may_take_is_an_error(exported, name, errors):
    write_other_weights(exported, name)
    assert errors(exported) == [("two-weights", name)]


def test_weights_in_a_folder_of_their_own_are_a_warning_but_for_the_trainers(pair_copy, warnings):
    write_other_weights(pair_copy, "fp16/model.safetensors")
    write_other_weights(pair_copy, "checkpoint-5/model.safetensors")
    assert warnings(pair_copy) == [NO_CARD, ("other-weights", "fp16/model.safetensors")]


def test_a_shard_that_the_index_does_not_name_is_an_error(sharded, errors):
    save_file({"a": torch.ones(1)}, sharded / "model-00099-of-00099.safetensors", metadata={"format": "pt"})
    assert errors(sharded) == [("two-weights", "model-00099-of-00099.safetensors")]


def swapped(rows):
    files = sorted(set(rows.values()))
    return {tensor: files[files.index(file) - 1] for tensor, file in rows.items()}


def without_most(rows):
    one_of_each = {file: tensor for tensor, file in rows.items()}
    return {tensor: file for file, tensor in one_of_each.items()}


@pytest.mark.parametrize(
    "change",
    [
        swapped,
        without_most,  # each shard is named, most of its tensors are not
        lambda rows: {tensor.replace("discriminator", "x"): file for tensor, file in rows.items()},
        lambda rows: {**rows, "more": next(iter(rows.values()))},
    ],
)
def test_an_index_that_says_anything_else_than_the_shards_hold_is_an_error(
    sharded, change, errors, message, set_fields
):
    """Releases before 5 load what the index names: 0 of 85 tensors, with a warning."""
    content = json.loads((sharded / INDEX).read_text())
    set_fields(sharded, INDEX, weight_map=change(content["weight_map"]))
    assert errors(sharded) == [("weights-unreadable", INDEX)]
    assert "save the model again" in message(sharded, "weights-unreadable")


@pytest.mark.parametrize("fields", [{"weight_map": {}}, {"metadata": None}, {"metadata": "x"}])
def test_an_index_that_loaders_stumble_over_is_an_error(sharded, fields, errors, set_fields):
    set_fields(sharded, INDEX, **fields)
    assert errors(sharded) == [("weights-unreadable", INDEX)]


@pytest.mark.parametrize("sharing", ["none", "tied", "gdes"])
def test_an_index_as_it_is_saved_says_what_the_shards_hold(make_model, tokenizer, tmp_path, sharing, warnings):
    make_model(embedding_sharing=sharing).save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save_pretrained(tmp_path)
    assert warnings(tmp_path) == [NO_CARD]


def test_weights_that_loading_would_round_are_an_error(pair_copy, errors, message, warnings, edit_weights, set_fields):
    set_fields(pair_copy, dtype="float16")
    assert errors(pair_copy) == [("weights-dtype", WEIGHTS)]
    assert "loading would round" in message(pair_copy, "weights-dtype")
    set_fields(pair_copy, dtype="float32")
    edit_weights(pair_copy, lambda tensors: {name: value.bfloat16() for name, value in tensors.items()})
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", CONFIG)]  # exact


def test_mixed_types_without_a_type_in_the_configuration_are_an_error(
    pair_copy, errors, warnings, edit_weights, set_fields
):
    edit_weights(pair_copy, lambda tensors: {n: v.half() if "generator" in n else v for n, v in tensors.items()})
    assert warnings(pair_copy) == [NO_CARD, ("weights-dtype", WEIGHTS)]
    set_fields(pair_copy, dtype=None)
    assert errors(pair_copy) == [("weights-dtype", WEIGHTS)]


def test_float64_is_an_error_because_release_4_loads_it_as_float32(pair_copy, errors, edit_weights):
    edit_weights(pair_copy, lambda tensors: {name: value.double() for name, value in tensors.items()})
    assert {code for code, _ in errors(pair_copy)} == {"weights-dtype"}


def test_a_table_of_too_many_tensors_is_not_even_read(pair_copy, monkeypatch, errors, message):
    monkeypatch.setattr(weights, "LARGEST_HEAD", 10_000)
    monkeypatch.setattr(weights, "safe_open", lambda *arguments, **options: pytest.fail("read"))
    head = json.dumps({f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(500)})
    (pair_copy / WEIGHTS).write_bytes(struct.pack("<Q", len(head)) + head.encode() + b" ")
    assert errors(pair_copy) == [("weights-unreadable", WEIGHTS)]
    assert "no pair has so many tensors" in message(pair_copy, "weights-unreadable")


def test_tensors_that_are_not_expected_are_named_and_not_compared(pair_copy, errors, message, edit_weights):
    edit_weights(pair_copy, lambda tensors: {f"t{number}": torch.ones(0) for number in range(1000)})
    assert sorted(errors(pair_copy)) == [("weights-missing", WEIGHTS), ("weights-unexpected", WEIGHTS)]
    assert "and 995 more" in message(pair_copy, "weights-unexpected")


def test_an_index_of_many_lost_shards_is_told_in_a_few_lines(sharded, errors, set_fields):
    shards = {f"t{number}": f"model-{number:05}-of-01000.safetensors" for number in range(1000)}
    set_fields(sharded, INDEX, weight_map=shards)
    assert len(errors(sharded)) == 5
