"""What both networks make of a text: the figures behind every view, the terminal, and `electra-rtd inspect`."""

import io
import json
import unicodedata

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from electra_rtd.cli import main
from electra_rtd.train_tools.inspector import inspect_texts, print_readings, write_page
from electra_rtd.train_tools.inspector import reading as reading_module
from electra_rtd.train_tools.inspector.pieces import piece_of_ids, pieces_of_text
from electra_rtd.train_tools.inspector.reading import at_temperature, find_suspicious, in_eval_mode, read_pieces
from electra_rtd.train_tools.inspector.terminal_view import text_view


TEXT = "나는 오늘 학교에 간다.  너는\n내일 병원에서 약을 먹는다 ☕"
NFD = unicodedata.normalize("NFD", "산 학교에 강")


@pytest.fixture
def reading(make_model, tokenizer):
    [reading] = read_pieces(make_model(), tokenizer, pieces_of_text(TEXT, tokenizer, 64))
    return reading


@pytest.fixture
def output(make_model, tokenizer):
    with torch.no_grad():
        return make_model()(**tokenizer(TEXT, return_tensors="pt"))


def test_a_reading_says_what_the_model_says(reading, output, tokenizer):
    tokens = reading.tokens
    assert [token.masked for token in tokens] == output.masked_positions[0].tolist()[1:-1]
    assert [token.replaced for token in tokens] == [label == 1 for label in output.disc_labels[0].tolist()[1:-1]]
    ids = [tokenizer.convert_tokens_to_ids(token.discriminator_read) for token in tokens]
    assert ids == output.disc_input_ids[0].tolist()[1:-1]
    ids = [tokenizer.convert_tokens_to_ids(token.generator_read) for token in tokens]
    assert ids == output.masked_input_ids[0].tolist()[1:-1]
    probabilities = torch.sigmoid(output.logits[0])[1:-1].tolist()
    assert [token.probability for token in tokens] == pytest.approx(probabilities, abs=1e-6)
    called = [token.called_replaced for token in tokens]
    assert called == [call == 1 for call in output.disc_predictions[0].tolist()[1:-1]]


def test_the_candidates_are_the_generators_best_at_masked_tokens_alone(make_model, reading, output, tokenizer):
    with torch.no_grad():
        logits = make_model().generator(output.masked_input_ids).logits[0]
    best = logits.softmax(dim=-1).topk(5)
    for place, token in enumerate(reading.tokens, start=1):
        names = tokenizer.convert_ids_to_tokens(best.indices[place]) if token.masked else []
        values = best.values[place].tolist() if token.masked else []
        assert [one.token for one in token.candidates] == names
        assert [one.probability for one in token.candidates] == pytest.approx(values, abs=1e-5)


def test_words_are_those_of_the_original_text(reading):
    assert [reading.text[word.start : word.end] for word in reading.words] == TEXT.split()
    assert [token for word in reading.words for token in word.tokens] == list(reading.tokens)


def test_the_closing_figures_count_the_verdicts(reading):
    verdicts = [token.verdict for token in reading.tokens]
    assert reading.replaced == sum(token.replaced for token in reading.tokens) > 0
    assert reading.caught == verdicts.count("caught")
    assert reading.wrong == verdicts.count("missed") + verdicts.count("false_alarm")
    assert reading.as_dict()["wrong"] == reading.wrong


def test_a_batch_of_pieces_reads_as_each_alone_and_neither_padding_side_matters(make_model, make_tokenizer):
    model, tokenizer = make_model(), make_tokenizer()
    tokenizer.padding_side = "left"
    pieces = [pieces_of_text(text, tokenizer, 64)[0] for text in (TEXT, "산", "강은 크다 .")]
    together = read_pieces(model, tokenizer, pieces)
    for piece, reading in zip(pieces, together, strict=True):
        [alone] = read_pieces(model, tokenizer, [piece])
        assert [token.discriminator_read for token in alone.tokens] == [
            token.discriminator_read for token in reading.tokens
        ]
        assert [token.probability for token in alone.tokens] == pytest.approx(
            [token.probability for token in reading.tokens], abs=1e-5
        )


@pytest.mark.parametrize(
    "text", [TEXT, " \n나는  산\t강 ", "산강바다" * 40, unicodedata.normalize("NFD", "산 학교에 강")]
)
def test_long_texts_come_in_pieces_that_make_up_the_text(make_model, tokenizer, text):
    pieces = pieces_of_text(text, tokenizer, 8)
    assert "".join(piece.text for piece in pieces) == text
    assert all(len(piece.input_ids) <= 8 for piece in pieces)
    [whole] = inspect_texts((make_model(), tokenizer), [text]).readings
    assert whole.text == text
    for token in whole.tokens:
        assert 0 <= token.start < token.end <= len(text) and text[token.start : token.end].strip()
    if len(pieces) > 1:
        model = make_model(generator={"max_position_embeddings": 8}, discriminator={"max_position_embeddings": 8})
        [joined] = inspect_texts((model, tokenizer), [text]).readings
        assert [(token.token, token.start, token.end) for token in joined.tokens] == [
            (token.token, token.start, token.end) for token in whole.tokens
        ]


def test_a_text_without_tokens_has_no_pieces(tokenizer):
    assert pieces_of_text("  \n", tokenizer, 64) == [] and read_pieces(None, tokenizer, []) == []


def test_tokens_of_ids_stand_where_their_text_stands(tokenizer):
    piece = piece_of_ids(tokenizer("나는 학교에서 xyz 간다")["input_ids"], tokenizer)
    assert piece.text == "나는 학교에서 [UNK] 간다"
    shown = [piece.text[start:end] for start, end in filter(None, piece.places)]
    assert shown == ["나", "는", "학교", "에서", "[UNK]", "간다"]


def test_suspicious_shows_the_discriminator_the_text_as_it_is(make_model, tokenizer):
    model = make_model()
    [reading] = find_suspicious(model, tokenizer, pieces_of_text(TEXT, tokenizer, 64))
    batch = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        expected = torch.sigmoid(model.discriminator(**batch).logits)[0, 1:-1].tolist()
    assert [token.probability for token in reading.tokens] == pytest.approx(expected, abs=1e-6)
    assert reading.temperature is None and reading.replaced == 0
    assert not any(token.masked or token.discriminator_read != token.token for token in reading.tokens)


def test_suspicious_asks_the_generator_about_odd_tokens_one_at_a_time(make_model, tokenizer):
    model = make_model()
    [reading] = find_suspicious(model, tokenizer, pieces_of_text(TEXT, tokenizer, 64), top_k=3)
    assert any(token.called_replaced for token in reading.tokens)
    for place, token in enumerate(reading.tokens, start=1):
        if not token.called_replaced:
            assert token.candidates == ()
            continue
        ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
        ids[0, place] = tokenizer.mask_token_id
        with torch.no_grad():
            best = model.generator(ids).logits[0, place].softmax(dim=-1).topk(3)
        assert [one.token for one in token.candidates] == tokenizer.convert_ids_to_tokens(best.indices)


def test_where_many_tokens_are_odd_the_oddest_get_candidates(make_model, tokenizer, monkeypatch):
    monkeypatch.setattr(reading_module, "ODD_TOKENS", 1)
    [reading] = find_suspicious(make_model(), tokenizer, pieces_of_text(TEXT, tokenizer, 64))
    assert sum(token.called_replaced for token in reading.tokens) > 1
    [asked] = [token for token in reading.tokens if token.candidates]
    assert asked.probability == max(token.probability for token in reading.tokens)


def test_a_temperature_holds_for_its_reading_alone(make_model, tokenizer):
    model = make_model()
    with at_temperature(model, 0.01):
        assert model.config.sampling_temperature == 0.01
        [cold] = read_pieces(model, tokenizer, pieces_of_text(TEXT, tokenizer, 64))
    assert model.config.sampling_temperature == 1.0
    for token in cold.tokens:
        if token.masked:  # so cold that the first choice is taken
            assert token.discriminator_read == token.candidates[0].token


def test_reading_restores_the_mode_also_after_an_error(make_model):
    model = make_model().train()
    model.generator.eval()
    with pytest.raises(RuntimeError), in_eval_mode(model):
        assert not model.training
        raise RuntimeError
    assert model.training and not model.generator.training and model.discriminator.electra.training


def test_each_temperature_that_is_asked_for_is_there(make_model, tokenizer):
    inspection = inspect_texts((make_model(), tokenizer), [TEXT, "산"], more_temperatures=(0.5, 2.0))
    assert inspection.temperature == 1.0
    assert [list(document) for document in inspection.documents] == [[0.5, 1.0, 2.0]] * 2
    masked = [[token.masked for token in reading.tokens] for reading in inspection.documents[0].values()]
    assert masked[0] == masked[1] == masked[2]  # the same places, other samples


@pytest.mark.parametrize(
    ("texts", "arguments", "message"),
    [
        ([], {}, "no text"),
        (["  "], {}, "no text"),
        (["산"], {"temperature": 0.0}, "`temperature` is 0.0"),
        (["산"], {"more_temperatures": (-1.0,)}, "`temperature` is -1.0"),
        (["산"], {"top_k": 0}, "`top_k` is 0"),
    ],
)
def test_wrong_arguments_are_named(make_model, tokenizer, texts, arguments, message):
    with pytest.raises(ValueError, match=message):
        inspect_texts((make_model(), tokenizer), texts, **arguments)


# ---- The terminal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("lang", ["ko", "en"])
def test_no_line_is_wider_than_the_terminal_and_tokens_stand_in_columns(reading, width, lang):
    console = Console(file=io.StringIO(), width=width)
    console.print(text_view(reading, number=1, of=1, width=width, lang=lang))
    lines = console.file.getvalue().splitlines()
    assert all(cell_len(line.rstrip()) <= width for line in lines)


def test_the_view_needs_no_colours_to_be_read(make_model, tokenizer):
    reading = inspect_texts((make_model(), tokenizer), [TEXT]).readings[0]
    console = Console(file=io.StringIO(), width=200, no_color=True)
    console.print(text_view(reading, number=1, of=1, width=200, lang="en"))
    shown = console.file.getvalue()
    for token in reading.tokens:
        if token.replaced:
            assert f"«{token.discriminator_read}»" in shown
    marks = {"caught": "✓", "missed": "✗", "false_alarm": "!"}
    verdicts = next(line for line in shown.splitlines() if line.startswith("says replaced"))
    for verdict, mark in marks.items():
        assert verdicts.count(mark) == sum(token.verdict == verdict for token in reading.tokens)


def test_a_text_as_it_is_has_the_signs_and_the_legend_of_its_own_view(make_model, tokenizer, capsys):
    inspection = inspect_texts((make_model(), tokenizer), [TEXT], suspicious=True)
    assert any(token.called_replaced for token in inspection.readings[0].tokens)
    print_readings(inspection.readings, lang="en")
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("? odd   · nothing odd")
    assert not any(word in shown for word in ("caught", "missed", "false alarm", "replaced", "!", "✓", "✗"))
    assert shown.count("? odd") == 1 + sum(token.called_replaced for token in inspection.readings[0].tokens)


# ---- The command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table(saved_pair, capsys):
    assert main(["inspect", "--checkpoint", str(saved_pair), TEXT, "--lang", "en"]) == 0
    output = capsys.readouterr().out
    assert "text 1 of 1" in output and "tokens wrong" in output and "the generator's best" in output


def test_json_is_what_the_library_returns(saved_pair, capsys, make_model, tokenizer):
    assert main(["inspect", "--checkpoint", str(saved_pair), TEXT, "--json", "--top-k", "3"]) == 0
    [printed] = json.loads(capsys.readouterr().out)
    assert printed["text"] == TEXT and len(printed["tokens"]) > 10
    assert {len(token["candidates"]) for token in printed["tokens"]} == {0, 3}
    assert all(TEXT[token["start"] : token["end"]] == token["text"] for token in printed["tokens"])
    assert printed == inspect_texts(saved_pair, [TEXT], top_k=3).readings[0].as_dict()


def test_files_and_standard_input_hold_one_text_a_row(saved_pair, tmp_path, monkeypatch, capsys):
    file = tmp_path / "texts.txt"
    file.write_text("산은 크다\n\n강은 작다\n바다\n", encoding="utf-8")
    main(["inspect", "--checkpoint", str(saved_pair), "--file", str(file), "--json", "--limit", "2"])
    captured = capsys.readouterr()
    assert [one["text"] for one in json.loads(captured.out)] == ["산은 크다", "강은 작다"]
    monkeypatch.setattr("sys.stdin", io.StringIO("산\n\n강\n"))
    main(["inspect", "--checkpoint", str(saved_pair), "-", "--json", "--suspicious"])
    printed = json.loads(capsys.readouterr().out)
    assert [one["text"] for one in printed] == ["산", "강"] and printed[0]["temperature"] is None


def test_what_the_limit_leaves_out_is_said(saved_pair, capsys, caplog):
    main(["inspect", "--checkpoint", str(saved_pair), "산", "강", "바다", "--limit", "1", "--json"])
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert "2 texts are left out: --limit is 1" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give text"),
        (["--limit", "0", "산"], "--limit is 0"),
        (["--temperature", "-1", "산"], "--temperature is -1.0"),
        (["--html", "nowhere/page.html", "산"], "cannot be written"),
    ],
)
def test_wrong_input_is_named_and_nothing_is_left(saved_pair, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "--checkpoint", str(saved_pair), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_pair_or_without_tokenizer_is_named(pair_copy, capsys):
    (pair_copy / "tokenizer.json").unlink()
    assert main(["inspect", "--checkpoint", str(pair_copy), "산"]) == 2
    assert "no fast tokenizer" in capsys.readouterr().err
    assert main(["inspect", "--checkpoint", str(pair_copy / "nothing"), "산"]) == 2


def test_json_stands_alone_on_standard_output(saved_pair, tmp_path, capsys):
    page = tmp_path / "page.html"
    main(["inspect", "--checkpoint", str(saved_pair), "산", "--json", "--html", str(page)])
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["text"] == "산" and str(page) in captured.err


def test_bytes_that_are_no_utf8_are_read_as_a_question_mark(make_model, tokenizer):
    [reading] = inspect_texts((make_model(), tokenizer), ["나는 \udcff 간다"]).readings
    assert reading.text == "나는 ? 간다"


def test_a_text_without_tokens_is_a_reading_like_the_others(make_model, tokenizer):
    readings = inspect_texts((make_model(), tokenizer), ["나는 간다", "\u200b"]).readings
    assert [reading.text for reading in readings] == ["나는 간다", "\u200b"]
    assert [reading.temperature for reading in readings] == [1.0, 1.0]


def test_a_page_replaces_the_last_one_whole(saved_pair, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["inspect", "--checkpoint", str(saved_pair), TEXT, "--html", str(page), "--lang", "ko"]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    first = page.read_text(encoding="utf-8")
    assert '<html lang="ko"' in first
    write_page(inspect_texts(saved_pair, [TEXT], suspicious=True), page, model_name="x", lang="en")
    assert '<html lang="en"' in page.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
