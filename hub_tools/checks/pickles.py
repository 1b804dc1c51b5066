"""What a file written by `torch.save` would run, read off without running it."""

import pickletools
import zipfile

import torch


# The names in what a Trainer of any supported release writes: training_args.bin, optimizer.pt, scheduler.pt,
# scaler.pt and rng_state.pth. Names, not modules: one module can hold a harmless class beside a function that is not.
TRAINER_NAMES = {
    "_codecs": {"encode"},
    "accelerate.state": {"PartialState"},
    "accelerate.utils.dataclasses": {"DistributedType"},
    "collections": {"OrderedDict", "defaultdict"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "torch": {
        "BFloat16Storage",
        "ByteStorage",
        "DoubleStorage",
        "FloatStorage",
        "HalfStorage",
        "IntStorage",
        "LongStorage",
        "Size",
        "bfloat16",
        "device",
        "float16",
        "float32",
    },
    "torch._utils": {"_rebuild_parameter", "_rebuild_tensor_v2"},
    "transformers.trainer_pt_utils": {"AcceleratorConfig"},
    "transformers.trainer_utils": {
        "FSDPOption",
        "HubStrategy",
        "IntervalStrategy",
        "SaveStrategy",
        "SchedulerType",
    },
    "transformers.training_args": {"OptimizerNames", "TrainingArguments"},
}
# Opcodes that take a name from somewhere else than their own argument: `torch.save` writes protocol 2 and has none.
UNREADABLE_OPCODES = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
ZIP_START = b"PK\x03\x04"  # by which `torch.load` knows a zip archive; `zipfile` finds one behind anything else, too
UNKNOWN = "something unknown: it is not a file of `torch.save`"
LARGEST_PICKLE = 64 * 2**20  # bytes; tensors lie beside the pickle, which describes them


def what_it_runs(path):
    """What loading a pickled state would call, beyond what a Trainer writes.

    Args:
        path (`Path`): a file of `torch.save`.

    Returns:
        `str`: the first foreign name, or why the file cannot be judged; empty where there is nothing foreign.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(ZIP_START)) != ZIP_START:
                return UNKNOWN
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()  # not by name: of two entries with one name, readers take different ones
            names = [entry.filename.lower() for entry in entries]  # `torch.load` finds DATA.PKL, too
            if any("/code/" in name or name.endswith("constants.pkl") for name in names):
                return "TorchScript code"
            pickles = [entry for entry in entries if entry.filename.lower().endswith(".pkl")]
            if not pickles or sum(entry.file_size for entry in pickles) > LARGEST_PICKLE:
                return "something unknown: it holds no pickle as `torch.save` writes it"
            contents = [archive.read(entry) for entry in pickles]
        # A crafted archive has two tables of contents: what counts is what the reader behind `torch.load` finds.
        reader = torch._C.PyTorchFileReader(str(path))
        if reader.get_record("data.pkl") not in contents or "constants.pkl" in reader.get_all_records():
            return "something hidden: what `torch.load` would read is not what the archive shows"
        return next(filter(None, map(_foreign_name, contents)), "")
    except Exception:  # damaged, compressed in a strange way, encrypted, and whatever else readers raise at such files
        return UNKNOWN


def _foreign_name(content):
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in UNREADABLE_OPCODES:
                return f"a name that cannot be read off ({opcode.name})"
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                if name not in TRAINER_NAMES.get(module, ()):
                    return f"`{module}.{name}`"
    except ValueError as error:
        return f"something unknown: the pickle is damaged ({error})"
    return ""
