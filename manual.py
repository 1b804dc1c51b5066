"""The manual page of each command: what `--help` says above the options."""

from electra_rtd_launcher import WAYS_TO_START


ADAPT = f"""
Adapt an ELECTRA pair to a domain's text by replaced token detection.

{WAYS_TO_START}
The example adapts a small Korean pair that is part of the package to a sample of technical documentation: about two
minutes, into electra-rtd-sample/, which is replaced at each call. It ends with what the pair catches now and did not
before, and with what its encoder knows of labelled text (where scikit-learn is installed). Other options change it
(--example --num_train_epochs 3).

Generator. Where none was published, it is cut from the discriminator: its embeddings and first layers, a new head.
--generator can also name a BERT of the same vocabulary (bert-base-uncased for google/electra-*); --generator_layers
takes its first layers alone. docs/pairs.md says how to choose.

Learning rate. The defaults (5e-5, warm-up over the first tenth of the steps) are for going on from a released
pair: at the rates of pretraining (5e-4 small, 2e-4 base) it can lose quality, as a public report found
(google-research/electra#111). `electra-rtd pretrain` has those rates.

Forgetting. With --replay_file GENERAL a share of every epoch (--replay_share, 0.1) is general text, such as the pair
was pretrained on. Some of it is held out, so that what the pair lost there stands beside what it gained.

Large text. --streaming --max_steps N reads the text while it trains, without a copy on the disk, and --resume goes on
in the middle of it; --dataloader_num_workers are processes that read. --mixture 0.7 0.3 weighs the sources that
--train_file names, and each gets held-out figures of its own. docs/streaming.md says more.

Over the run. --temperature 2.0:1.0 (or --disc_weight, --mask_prob) changes a setting from step to step; held-out text
is always read at the last value. --generator_warmup 0.1, or until-flat, lets the generator learn alone at first,
without the cost of the discriminator; with --freeze generator the discriminator learns alone after it.

Speed. What you leave open is chosen for this machine, one line each that begins with "fast:": batches of like
length, fused AdamW, bf16 where the hardware has it and the first batch's loss agrees with float32 (weights stay
float32), TF32, threads; on a GPU also batches of about 16,000 tokens, where they fit and leave steps enough, attention
without padding, and processes that make batches. What you give wins (--bf16 false, --optim ...); --no_fast chooses
nothing. With --gradient_accumulation_steps the rows of a step stay, and fewer and larger batches make it. Compare
held-out losses between runs that are alike in this: they are means over batches.

In --output_dir you find the adapted pair with its tokenizer, discriminator/ (stock ELECTRA, for fine-tuning),
the Trainer's checkpoints, and adapt_results.json. Options can be written with - for _ (--train-file).
"""

PRETRAIN = """
Pretrain an ELECTRA pair from random weights, by a published recipe.

  electra-rtd pretrain --preset electra-small --print_recipe
  electra-rtd pretrain --preset electra-small --train_file corpus/ --output_dir fresh
  electra-rtd pretrain --preset koelectra-base-v3 --tokenizer monologg/koelectra-base-v3-discriminator \\
    --train_file articles.jsonl --document_column article --output_dir fresh

Presets. electra-small, electra-base and electra-large are those of the paper (Clark et al. 2020, table 6);
koelectra-small-v3 and koelectra-base-v3 those of KoELECTRA; mini is how the pair in this package was made, as far as
one run can; tiny is to try things out. --print_recipe shows every number with its source. What you give wins.

Shorter runs. --max_steps N shortens the warm-up in proportion; --num_train_epochs N counts passes over the text in
place of steps. The learning rate stays: it fits the preset's batch.

Batch. A step has as many sequences as the preset says, over all processes together: where one device cannot hold its
share at once, gradient accumulation makes up for it. --per_device_train_batch_size N says how many it holds.

Vocabulary. Without --tokenizer a WordPiece vocabulary is trained on the text, with every character that fits. The
electra presets read lower case without marks, as Google's models do; for Korean text give --do_lower_case false, or
take a koelectra preset.

Packing. Sentences that follow each other fill rows of full length, in two segments, as in Google's
build_pretraining_dataset.py, but no token is cut off. A document is a file, what stands between empty lines of a .txt
file, or what --document_column says; no row holds text of two. --packing no leaves one sentence a row.

docs/pretraining.md has the recipes side by side.
"""

EVALUATE = """
Does it pay? Fine-tune encoders on your labelled rows, and say which is better, worse, or that nobody can tell.

  electra-rtd evaluate --labels reviews.csv --before monologg/koelectra-small-v3-discriminator \\
    --after adapted/discriminator
  electra-rtd evaluate --labels reviews.csv --before base --after adapted --train_rows 50 200 1000
  electra-rtd evaluate --labels reviews.csv --before base --after adapted --probe    # in seconds

Labels: one text and a label; two texts and a label; two texts (or one) and a number; or JSON lines with tokens and
tags. The columns are found by their names, or given.

Each encoder is fine-tuned as ELECTRA's authors do it (a lower rate for each layer further down, warm-up over a tenth
of the steps), at each rate of a small grid; the validation rows choose. Then all seeds run at that rate. A seed has
the same rows, order, new head and dropout for every encoder, so that differences are paired. What comes out: means,
differences with their 95 % intervals, and a verdict. Naive Bayes on pieces of words stands beside them: who is
below it has learnt little.

Epochs. 10 up to 6,000 rows, and so many that there are 100 steps; 3 above, as Google's recipe for larger tasks. Large
encoders on a CPU take hours: the bar says how long. --probe, fewer --seeds or --epochs, one of --learning_rates take
less; so does a GPU.

Every run is kept in --output_dir as soon as it is done. After Ctrl-C the same command goes on from there, and one with
more seeds, rates, rows or encoders does what is new. Options can be written with - for _ (--label-column).
"""

EXPORT = """
Write one network of a pair as a stock ELECTRA checkpoint, which loads without any code of ours.

  electra-rtd export --checkpoint adapted --output_dir discriminator
  electra-rtd export --checkpoint adapted --output_dir encoder --as_encoder
"""

VERIFY = """
Check a checkpoint without running any of it: files, configuration, weights, tokenizer, code, exports.

  electra-rtd verify adapted
  electra-rtd verify user/name --revision v1

Exit status: 0 where there is no error, 1 where there is one.
"""

PUSH = """
Publish a checkpoint in one commit, after it was verified: model, code, tokenizer, stock exports and model card.

  electra-rtd push adapted user/name --dry_run
  electra-rtd push adapted user/name --private

Only what changed is sent. A README that a person wrote is kept. What was interrupted can be run again.
Log in with `hf auth login`, or set HF_TOKEN.
"""

PULL = """
Take a checkpoint from the Hub, all of it from one commit, and refuse it if it is not sound.

  electra-rtd pull user/name --local_dir adapted
  electra-rtd pull --locked --local_dir adapted    # exactly what electra_rtd.lock.json in it says, or fail

Exit status: 0 where it is there, 1 where the checkpoint has errors, 2 where it could not be had.
"""

DIFF = """
Compare two checkpoints: configuration, tokenizer, code, and the weights module by module.

  electra-rtd diff adapted adapted-2
  electra-rtd diff user/name@v1 user/name@main

The number before a module is the norm of the change over the norm of the module's weights in the first checkpoint.
Exit status: 0 where nothing differs, 1 where something does.
"""

MERGE = """
Part of the way back to the base: the weights (1 - alpha) * BASE + alpha * ADAPTED, as a checkpoint.

  electra-rtd merge base adapted --alpha 0.7 --output_dir merged
  electra-rtd merge base adapted --alpha auto --labels dev.csv --output_dir merged

Two pairs, or two stock checkpoints of one kind (discriminators, generators, encoders; ELECTRA or BERT) of the same
sizes and the same vocabulary. Of a pair and a stock discriminator, the pair's discriminator counts. With --alpha 0
the result is BASE, with 1 ADAPTED. The result is stored in the type of the weights of BASE, with its tokenizer; a
merged pair has discriminator/ (stock ELECTRA, for fine-tuning), and merge.json says what was merged.

With --alpha auto each of --alphas is fine-tuned on development labels, as `electra-rtd evaluate` does it, and the
smallest is taken that the best one does not beat by more than chance: 0, the base as it is, where no other is better.
The runs are kept in a folder beside --output_dir, named like it with -alphas behind: after Ctrl-C the same command
goes on. Test on other labels than these: they chose.
"""

INSPECT = """
See what a pair makes of text: what is masked, what the generator puts there, what the discriminator catches.

  electra-rtd inspect --checkpoint adapted "파이썬으로 배우는 데이터 분석"
  electra-rtd inspect --checkpoint adapted --file held_out.txt --html page.html
  electra-rtd inspect --checkpoint adapted --suspicious "오늘 학교에 감다"    # what looks odd in it, as it is

The corruption is that of evaluation: the same text is always masked alike. The page needs no network and no server.
"""

REPORT = """
One page of a run: curves, held-out text before and after, tokens, calibration, settings. It needs no network.

  electra-rtd report --run adapted
  electra-rtd report --run adapted --html report.html --png report.png

Needs matplotlib: pip install matplotlib.
"""

EXTEND = """
Give a pair the words of a domain that its vocabulary splits, before it is adapted.

  electra-rtd extend-vocab --checkpoint pair --train_file corpus.txt --num_tokens 500 --output_dir extended
  electra-rtd adapt --checkpoint extended --train_file corpus.txt --output_dir adapted

New entries are WordPiece entries like the others: beginnings of words, or pieces inside them, each the one that saves
most tokens on the text, and characters that were [UNK]. Text in which none of them occurs is read as before, and
nothing readable becomes [UNK]. All ids stay; the vocabulary grows.

Both networks get rows for them, the mean of the rows of their old parts: a beginning, which training has to finish.
What is printed says how many steps that takes. Encoders fine-tuned before have the old vocabulary: start again from
discriminator/ in --output_dir, or of the adapted pair.

The vocabulary must be WordPiece, as those of ELECTRA are; BPE and Unigram ones are refused.
"""
