"""The results as tables of docs/performance.md. It imports nothing that draws: the GPU's machine writes them too."""

from ..contenders import BY_BOUNDARIES as OURS


GIB = 2**30
LONGEST_NAME, LONGEST_REASON = 90, 300  # characters


def gpu_tables(content):
    """Args: content (`dict`): of the record. Returns: `str`, in Markdown."""
    found = content["found"]
    parts = [_about(content), _checks(found), _goals(found)]
    for title, prefix in (
        ("**Steps**", "step: "),
        ("**Ways of attention within sequences** (ours)", "ways of attention: "),
        ("**Logits at a time** (ours)", "bounds of the vocabulary head: "),
        ("**Tokens a step**", "tokens a step: "),
        ("**Compiled layers** (ours)", "compiled layers: "),
        ("**Compiled layers with CUDA graphs** (ours)", "compiled layers with CUDA graphs: "),
    ):
        entries = {name.removeprefix(prefix): entry for name, entry in found.items() if name.startswith(prefix)}
        if entries:
            parts.append(f"{title}\n\n{_lanes(entries)}")
    parts += [_profile(name, entry) for name, entry in found.items() if name.startswith("profile: ")]
    parts += [_trainer(name, entry) for name, entry in found.items() if name.startswith("Trainer: ")]
    return "\n\n".join(part for part in parts if part)


def _about(content):
    facts, found = content["facts"], content["found"]
    memory = f", {facts['memory_gib']} GiB" if "memory_gib" in facts else ""
    lines = [
        f"{facts['device']}{memory}, torch {facts['torch']}, CUDA {facts['cuda'] or 'none'}, transformers "
        f"{facts['transformers']}, accelerate {facts['accelerate']}, Python {facts['python']}. Steps are in bfloat16.",
        f"Text: {facts['text']}.",
        "Commands: " + "; ".join(dict.fromkeys(f"`{run['command']}`" for run in content["runs"])) + ".",
    ]
    product = found.get("the card: matrix product", {}).get("figures")
    if product:
        share = f", {product['of_the_data_sheet']:.0%} of the data sheet" if product["of_the_data_sheet"] else ""
        lines.append(
            f"A product of {product['size']:,} x {product['size']:,} in bfloat16: "
            f"{product['flops_per_second'] / 1e12:,.1f} TFLOP/s{share}."
        )
    codes = dict.fromkeys(entry["code"] for entry in found.values())
    if len(codes) > 1:
        lines.append(f"Measured with {len(codes)} states of the code: {', '.join(codes)}.")
    return "\n".join(lines)


def _checks(found):
    checks = {name.removeprefix("check: "): entry for name, entry in found.items() if entry["is_check"]}
    if not checks:
        return ""
    rows = [[name, entry["status"], _cell(entry.get("reason", ""))] for name, entry in checks.items()]
    failed = [name for name, entry in checks.items() if entry["status"] == "failed"]
    warning = "**A check failed: the timings below are not to be trusted.**\n\n" if failed else ""
    return warning + table(["check", "result", "reason"], rows)


def _goals(found):
    """What was set as a goal for a GPU, where the cases that it is about were measured."""
    lanes = {
        name.removeprefix("step: "): (entry["figures"]["lanes"][OURS], entry["figures"]["data_sheet_rate"])
        for name, entry in found.items()
        if name.startswith("step: ") and OURS in entry.get("figures", {}).get("lanes", {})
    }
    rows = []
    for name, (lane, data_sheet_rate) in lanes.items():
        if name.startswith("base, rows of 512") and data_sheet_rate:
            share = lane["useful_flops_per_second"] / data_sheet_rate
            rows.append([f"share of the data sheet's peak: {name}", "at least 50%", f"{share:.1%}"])
        if "ragged" in name and "mlm" in lane["against"]:
            rows.append([f"two networks against MLM of one: {name}", "above 1", _spread(lane["against"]["mlm"], 2)])
    waits = [lane["synchronisations"]["count"] for lane, _ in lanes.values() if lane["synchronisations"]]
    if waits:
        rows.append(["synchronisations a step", "at most 2", f"{min(waits)} to {max(waits)}"])
    return f"**Goals** ({OURS})\n\n{table(['goal', 'set', 'measured'], rows)}" if rows else ""


def _lanes(entries):
    rows = []
    for name, entry in entries.items():
        if entry["status"] != "measured":
            rows.append([name, *["n/a"] * 9, _cell(f"{entry['status']}: {entry['reason']}")])
            continue
        figures = entry["figures"]
        for number, (who, lane) in enumerate(figures["lanes"].items()):
            remarks = figures["notes"] if number == 0 else []
            rows.append([name, *_lane(who, lane, figures["data_sheet_rate"]), _cell("; ".join(remarks))])
        rows += [[name, who, *["n/a"] * 8, _cell(f"left out: {why}")] for who, why in figures["failed"].items()]
    header = ["batches", "who", "tokens/s", "with padding", "ms a step", "x plain", "x MLM", "of the peak"]
    return table([*header, "peak GiB", "waits a step", "remarks"], rows)


def _lane(who, lane, data_sheet_rate):
    share, memory, waits = "n/a", "n/a", "n/a"
    if data_sheet_rate:
        share = f"{lane['useful_flops_per_second'] / data_sheet_rate:.1%}"
    if lane["peak_memory"] is not None:
        memory = f"{lane['peak_memory'] / GIB:.1f}"
    if lane["synchronisations"] is not None:
        waits = str(lane["synchronisations"]["count"])
    return [
        who,
        f"{lane['tokens_per_second']:,.0f}",
        f"{lane['with_padding_per_second']:,.0f}",
        _spread(lane["milliseconds"], 1),
        _spread(lane["against"].get("plain"), 2),
        _spread(lane["against"].get("mlm"), 2),
        share,
        memory,
        waits,
    ]


def _profile(name, entry):
    if entry["status"] != "measured":
        return f"**{name}**: {entry['status']}, {entry['reason']}"
    figures = entry["figures"]
    lines = f"**{name}**: {figures['seconds'] * 1000:.1f} ms a step"
    if "busy_share" in figures:
        lines += f", busy {figures['busy_share']:.0%} of it, {figures['launches']:,.0f} launches"
    rows = [
        [f"`{_cell(top['name'])[:LONGEST_NAME]}`", f"{top['milliseconds']:.2f}", f"{top['calls']:g}"]
        for top in figures["top"]
    ]
    return f"{lines}\n\n{table(['kernel', 'ms a step', 'calls a step'], rows)}"


def _trainer(name, entry):
    if entry["status"] != "measured":
        return f"**{name}**: {entry['status']}, {entry['reason']}"
    figures = entry["figures"]
    rows = [[setting, f"{milliseconds:.1f}"] for setting, milliseconds in figures["milliseconds"].items()]
    rows += [[setting, f"left out: {why}"] for setting, why in figures["failed"].items()]
    return f"**{name}**, {figures['steps']} steps each\n\n{table(['settings', 'ms a step'], rows)}"


def table(header, rows):
    """Args: header (`list[str]`); rows (`list[list[str]]`). Returns: `str`, in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text):
    return " ".join(text.split()).replace("|", "\\|")[:LONGEST_REASON]


def _spread(values, digits):
    if values is None:
        return "n/a"
    return f"{values['median']:.{digits}f} ({values['p10']:.{digits}f} to {values['p90']:.{digits}f})"
