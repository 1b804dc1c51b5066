"""Which files are the model: their own imports say it, and everything that needs the list follows them."""

import pytest

from electra_rtd.hub_tools import card, layout
from electra_rtd.hub_tools.code_files import CODE, CODE_EVER, EARLIER_RELEASES, ENTRIES, imported_files, with_imports
from electra_rtd.train_tools.run_folder import RUN_CONTENT


FILES = {
    "model.py": b"import torch\nfrom .one import x\n\n\ndef later():\n    from .two import y\n",
    "one.py": b"from . import three, torch_free as t\nfrom .one import itself\n",
    "two.py": b"from torch.nn import functional\n",
    "three.py": b"from .model import round_and_round\n",
}


def test_imports_are_followed_at_any_depth_and_to_their_end():
    found = with_imports(["model.py"], FILES.get)
    assert found == ["model.py", "one.py", "three.py", "torch_free.py", "two.py"]  # one of them is not there
    assert with_imports(["two.py"], FILES.get) == ["two.py"]


def test_files_are_named_as_transformers_looks_for_them():
    source = b"from ..above import a\nfrom .sub.part import b\nfrom .beside import c\nfrom .beside import d\n"
    assert imported_files(source) == {"../above.py": 1, "sub/part.py": 2, "beside.py": 3}


@pytest.mark.parametrize("source", [b"def (", b"a\0b", b"(" * 5000])
def test_what_is_no_python_is_refused(source):
    with pytest.raises(ValueError, match="is not Python"):
        imported_files(source)


def test_the_list_begins_with_the_files_that_auto_map_names():
    assert ENTRIES == ("configuration_electra_rtd.py", "modeling_electra_rtd.py")
    assert set(ENTRIES) < set(CODE) <= CODE_EVER
    assert all(files.keys() <= CODE_EVER for files in EARLIER_RELEASES.values())


def test_everything_that_handles_code_knows_the_files_of_every_release():
    for name in CODE_EVER:
        assert layout.is_model_file(name) and layout.is_ours(name) and RUN_CONTENT.fullmatch(name), name
    assert not RUN_CONTENT.fullmatch("evil_electra_rtd.py") and not layout.is_ours("evil_electra_rtd.py")


def test_the_card_lists_the_files_that_a_checkpoint_has(pair_copy):
    facts = card._facts(pair_copy, "user/name")
    assert [name for name in CODE if f"| `{name}` | `{layout.sha256(pair_copy / name)}` |" in facts] == list(CODE)
    (pair_copy / CODE[-1]).unlink()
    assert CODE[-1] not in card._facts(pair_copy, "user/name")
