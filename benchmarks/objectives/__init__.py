"""Objectives of the family on one text: `python -m benchmarks.objectives`; docs/objective.md shows what came out.

`variants.py` says what is compared, `course.py` trains what is not done yet, `measuring.py` reads held-out text and
takes times, and `page.py` writes the table. Every training is in the file of results as soon as it is finished; the
same command goes on.
"""
