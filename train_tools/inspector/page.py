def render(documents, *, at, model_name, lang=None):
    return "x"
