"""Does adapting pay? `make study`: arms are trained, fine-tuned on labels, and compared; docs/study.md shows it.

`plan.py` says what is done, in the order of its worth, and `course.py` does it, piece by piece, until its time is
over; a second call goes on. Every piece is in the file of results as soon as it is finished.
"""
