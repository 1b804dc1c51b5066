"""Does a run survive? Kills, damage, signals, processes, streams: each WHAT is a module that measures one of them.

`python -m benchmarks.reliability WHAT...` writes `results/reliability-WHAT-cpu.json`, and its section of
docs/reliability.md. A module of this package has two functions:

- `measure(options)`: does the work, and returns its figures, a `dict` for JSON. `options.size` is `"whole"` (what the
  page shows) or `"small"` (about a minute: to see that it works), `options.work` a folder of its own, which is empty,
  `options.seed` and `options.threads` numbers. Under the key `failures` stands, in words, what should hold and did
  not: a `list[str]`, empty where all is well.
- `tables(figures)`: the same in Markdown, `str`.
"""
