"""The words of a report: `texts.en.yaml` and `texts.ko.yaml`."""

from ..language import read_texts


TEXTS = read_texts(__file__)
