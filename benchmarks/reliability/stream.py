"""A large corpus through the streaming path, with its memory watched, and gone on with in the middle.

The corpus is generated, and removed afterwards: shards of JSON lines, some compressed. Its words are long and stand in
the vocabulary as they are, so that tokenizing takes about a quarter of the time that it takes for real text: of memory
that says no less, since rows, blocks and what is tokenized at once are counted in tokens and characters.
"""

import gzip
import hashlib
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from electra_rtd.train_tools.streaming.rows import StreamedRows, StreamPlan
from electra_rtd.train_tools.streaming.shards import find_source
from electra_rtd.train_tools.streaming.source_rows import Encoding


SIZES = {"whole": 5_000_000_000, "small": 40_000_000}  # bytes of text in JSON, before compression
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl")  # of the shards, in turn
SHARDS, PIECES, PIECE_LINES = 8, 40, 8000
WORDS, LETTERS = 4000, (8, 16)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LANES, BATCH, LENGTH = 2, 64, 128
BUFFERS = {"whole": 10_000, "small": 500}  # rows
LOOKED_AT = (0.01, 0.25, 0.5, 0.75, 1.0)  # of the pass
MOST_GROWTH = 1.1  # of the memory at its end, against that at a quarter of the pass
AGAIN = 400  # batches that are read twice, from the middle on


def measure(options):
    """Args: options: see the package. Returns: `dict`."""
    size = SIZES[options.size]
    free = shutil.disk_usage(options.work).free
    if free < 1.5 * size:
        raise ValueError(f"{options.work} has {free / 1e9:.1f} GB of room: {1.5 * size / 1e9:.1f} GB are needed.")
    began = time.perf_counter()
    draw = random.Random(options.seed)
    words = _words(draw)
    texts, tokens, on_disk = _write_corpus(options.work / "corpus", size, words, draw)
    generated = time.perf_counter() - began
    plan = StreamPlan(
        sources=(find_source([str(options.work / "corpus")]),),
        weights=(1.0,),
        encoding=Encoding(_tokenizer(words), LENGTH, packs=True),
        buffer=BUFFERS[options.size],
        batch=BATCH,
        lanes=LANES,
        seed=options.seed,
    )
    try:
        figures = _read(plan, texts)
    finally:
        shutil.rmtree(options.work / "corpus")
    figures |= {
        "bytes": size,
        "buffer": plan.buffer,
        "bytes_on_disk": on_disk,
        "texts": texts,
        "tokens_of_pass": tokens,
    }
    figures["seconds_to_generate"] = round(generated, 1)
    at = {point["share"]: point["mib"] for point in figures["points"]}
    growth = at[1.0] / at[0.25]
    figures["growth"] = round(growth, 3)
    failures = []
    if growth > MOST_GROWTH:
        failures.append(f"memory at the end is {growth:.2f} times that at a quarter of the corpus")
    if figures["tokens"] < tokens:
        failures.append(f"{figures['tokens']:,} tokens were read, and the corpus has {tokens:,}")
    if not figures["goes_on_alike"]:
        failures.append("from the state in the middle other rows came than before")
    return {**figures, "failures": failures}


def tables(figures):
    """Args: figures (`dict`): of [`measure`]. Returns: `str`."""
    rows = [
        f"| {point['share']:.0%} | {point['mib']:,.0f} | {point['largest_mib']:,.0f} | {point['seconds']:,.0f} |"
        for point in figures["points"]
    ]
    again = "the same rows" if figures["goes_on_alike"] else "other rows"
    note = [figures["note"], ""] if "note" in figures else []
    return "\n".join(
        [
            f"{figures['bytes'] / 1e9:.1f} GB of generated JSON lines ({figures['bytes_on_disk'] / 1e9:.1f} GB on the "
            f"disk: {SHARDS} shards, plain, gzip and zstd), {figures['texts']:,} texts of long words that the "
            f"vocabulary holds, tokenized and packed to {LENGTH} tokens in {LANES} worker processes, shuffled in "
            f"blocks of {figures['buffer']:,} rows; no network is trained on them. {figures['tokens']:,} tokens in "
            f"{figures['rows']:,} rows were read ({figures['tokens_of_pass']:,} in one pass; the first lane to end "
            "begins the next).",
            "",
            "| read | MiB of all processes | MiB of the largest | seconds |",
            "| ---: | ---: | ---: | ---: |",
            *rows,
            "",
            *note,
            "MiB are proportional set sizes (shared pages counted once), from `/proc`. The state taken at half of "
            f"the pass has {figures['state_bytes']:,} bytes; begun anew from it, the next {figures['again']:,} "
            f"batches are {again} as those that followed the first time.",
        ]
    )


def _read(plan, texts):
    with tempfile.TemporaryDirectory() as folder:
        rows = StreamedRows(plan, 2**40, folder)
        loader = torch.utils.data.DataLoader(
            rows,
            batch_sampler=_InOrder(plan.batch),
            num_workers=plan.lanes,
            collate_fn=list,
        )
        batches = iter(loader)
        workers = [worker.pid for worker in batches._workers]
        points, began, tokens, number = [], time.perf_counter(), 0, 0
        middle, then = None, []
        while len(points) < len(LOOKED_AT):
            batch = next(batches)
            number += 1
            tokens += sum(len(row["input_ids"]) for row in batch)
            if middle is not None and len(then) < AGAIN:
                then.append(_digest(batch))  # and not the rows, which would count as memory of the stream
            if number % 20:
                continue
            share = min(1.0, sum(_seen(rows, lane, number, texts) for lane in range(plan.lanes)) / texts)
            if share >= LOOKED_AT[len(points)]:
                sizes = [_mib(pid) for pid in ("self", *workers)]
                seconds = round(time.perf_counter() - began, 1)
                point = {"share": LOOKED_AT[len(points)], "mib": sum(sizes), "largest_mib": max(sizes)}
                points.append({**point, "seconds": seconds, "batches": number})
                print(points[-1], flush=True)
                if points[-1]["share"] == 0.5:
                    middle = (number, {lane: rows.state_of(lane, number // plan.lanes) for lane in range(plan.lanes)})
        del batches, loader
    with tempfile.TemporaryDirectory() as folder:
        first, states = middle
        again = StreamedRows(plan, 2**40, folder, starts=states)
        places = (range((first + step) * plan.batch, (first + step + 1) * plan.batch) for step in range(len(then)))
        digests = [_digest(again.__getitems__(list(place))) for place in places]
    return {
        "points": points,
        "rows": number * plan.batch,
        "tokens": tokens,
        "again": len(then),
        "goes_on_alike": digests == then,
        "state_bytes": len(json.dumps(states)),
    }


def _digest(batch):
    return hashlib.sha256(json.dumps(batch).encode()).hexdigest()


class _InOrder:
    """Batches of places, one behind the other, without an end."""

    def __init__(self, size):
        self._size = size

    def __iter__(self):
        first = 0
        while True:
            yield list(range(first, first + self._size))
            first += self._size


def _seen(rows, lane, number, texts):
    """Texts of the pass that a lane has read, up to a block."""
    state = rows.state_of(lane, number // rows.plan.lanes)
    if state is None:
        return 0
    place = state["sources"][0]["text"]
    return texts if place["pass"] else place["seen"]


def _mib(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _words(draw):
    return ["".join(chr(0xAC00 + draw.randrange(11_172)) for _ in range(draw.randint(*LETTERS))) for _ in range(WORDS)]


def _tokenizer(words):
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL, *words]))}
    backend = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", **names)


def _write_corpus(folder, size, words, draw):
    """Shards of pieces that are made, and compressed, once: gzip and zstd files may be put together of parts.

    Returns: `tuple[int, int, int]`: texts, words, bytes on the disk.
    """
    folder.mkdir(parents=True)
    pieces = [_piece(words, draw) for _ in range(PIECES)]
    texts = tokens = 0
    for shard in range(SHARDS):
        ending = ENDINGS[shard % len(ENDINGS)]
        written = 0
        with open(folder / f"part-{shard:03d}{ending}", "wb") as file:
            while written < size / SHARDS:
                plain, packed, words_of_piece = pieces[draw.randrange(PIECES)]
                file.write(packed.get(ending, plain))
                written += len(plain)
                texts, tokens = texts + PIECE_LINES, tokens + words_of_piece
    return texts, tokens, sum(file.stat().st_size for file in folder.iterdir())


def _piece(words, draw):
    """Lines as bytes, plain and compressed, and how many words they have."""
    lines, number = [], 0
    for _ in range(PIECE_LINES):
        some = draw.choices(words, k=draw.randint(10, 30))
        number += len(some)
        lines.append(json.dumps({"text": " ".join(some)}, ensure_ascii=False) + "\n")
    plain = "".join(lines).encode()
    packed = {".jsonl.gz": gzip.compress(plain, 1), ".jsonl.zst": bytes(pa.compress(plain, "zstd", asbytes=True))}
    return plain, packed, number
