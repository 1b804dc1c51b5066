"""A run looked at: one page of curves, figures and settings."""


def report_run(run, *, html=None, png=None, lang=None):
    return []
