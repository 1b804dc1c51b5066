"""A Hugging Face Hub for tests: a real HTTP server on loopback that the unpatched `huggingface_hub` client talks to.

    with Hub() as hub:
        token = hub.add_user("alice")
        api = HfApi(endpoint=hub.url, token=token)          # or HF_ENDPOINT=hub.url: see `Hub.environment`
        api.create_repo("alice/model")
        api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="alice/model")
        assert hub.files("alice/model")["config.json"] == b"{}"

Two listeners are up: `hub.url` is the Hub, `hub.cdn_url` stands for the storage that the Hub sends clients to for LFS
objects. They differ in their host's name and port, so they are two sites to a client, as in life: a token must not
reach the storage, and the storage refuses a request (400) that carries one.

Xet is not spoken: no answer names it. `HF_HUB_DISABLE_XET=1` is needed where `hf_xet` is installed, because clients
from 1.x on then upload by Xet without asking the server, and it is enough: 0.36, 1.33 and 2.4 go by LFS under it.

Deliberately missing: Xet, git itself, repos other than models, listings in pages, `expand`, discussions other than the
pull request that `create_pr` opens (no merge, no comments), gated access, deleting, moving and duplicating repos,
deleting tags, searching, and the Hub's extra hop of regular files through `/api/resolve-cache`. A card is checked
where the client asks for it (`/api/validate-yaml`, by the PyYAML that `huggingface_hub` brings along), not again in
the commit.
"""

from .hub import Hub


__all__ = ["Hub"]
