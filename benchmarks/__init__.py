"""Measurements of speed and memory, one command each (`make bench-step`, ...); docs/performance.md shows the results.

Not part of the wheel. Run from the root of a checkout, where the package is installed as editable:
`python -m benchmarks.step --help`.
"""
