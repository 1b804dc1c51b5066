"""What a file written by `torch.save` would run, read off without running it."""

import io
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
LARGEST_PICKLE = 4 * 2**20  # bytes, unpacked; tensors lie beside the pickle, which describes them
MOST_PICKLED = 16 * 2**20  # bytes, of all files of a checkpoint
LARGEST_DIRECTORY = 4 * 2**20  # bytes of an archive's table of contents, of 46 or more an entry
DIRECTORY_END = b"PK\x05\x06"
DIRECTORY_END_64 = b"PK\x06\x06"
LONGEST_END = 2**16 + 98  # bytes: both of these, with the longest comment


def open_archive(file):
    """A zip archive whose table of contents has a size that can be read.

    Args:
        file (binary file)

    Returns:
        `ZipFile`

    Raises:
        BadZipFile: it is none, or larger.
    """
    file.seek(max(file.seek(0, io.SEEK_END) - LONGEST_END, 0))
    end = file.read()
    at, at_64 = end.rfind(DIRECTORY_END), end.rfind(DIRECTORY_END_64)
    size = int.from_bytes(end[at + 12 : at + 16], "little")
    size_64 = int.from_bytes(end[at_64 + 40 : at_64 + 48], "little")
    if (at_64 < 0 and size > LARGEST_DIRECTORY) or (at_64 >= 0 and size_64 > LARGEST_DIRECTORY):
        raise zipfile.BadZipFile(f"more than {LARGEST_DIRECTORY} bytes of table of contents")
    return zipfile.ZipFile(file)


def judge(path, most=LARGEST_PICKLE):
    """What loading a pickled state would call, beyond what a Trainer writes.

    Args:
        path (`Path`): a file of `torch.save`.
        most (`int`): bytes of pickles that may still be read.

    Returns:
        `tuple`: a `str`, the first foreign name, or why the file cannot be judged, empty where there is nothing
        foreign; and an `int`, the bytes of pickles that were read
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(ZIP_START)) != ZIP_START:
                return UNKNOWN, 0
            with open_archive(file) as archive:
                entries = archive.infolist()  # not by name: of two entries with one name, readers take different ones
                names = [entry.filename.lower() for entry in entries]  # `torch.load` finds DATA.PKL, too
                if any("/code/" in name or name.endswith("constants.pkl") for name in names):
                    return "TorchScript code", 0
                pickles = [entry for entry in entries if entry.filename.lower().endswith(".pkl")]
                size = sum(entry.file_size for entry in pickles)  # no reader unpacks more than is said here
                if not pickles or size > min(most, LARGEST_PICKLE):
                    return "something unknown: it holds no pickle as `torch.save` writes it", 0
                contents = [archive.read(entry) for entry in pickles]
        # A crafted archive has two tables of contents: what counts is what the reader behind `torch.load` finds.
        reader = torch._C.PyTorchFileReader(str(path))
        if reader.get_record("data.pkl") not in contents or "constants.pkl" in reader.get_all_records():
            return "something hidden: what `torch.load` would read is not what the archive shows", size
        return next(filter(None, map(_foreign_name, contents)), ""), size
    except Exception:  # damaged, compressed in a strange way, encrypted, and whatever else readers raise at such files
        return UNKNOWN, 0


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
