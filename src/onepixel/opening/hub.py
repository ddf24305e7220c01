"""Models by their name on the Hugging Face hub, `hf://OWNER/NAME[@REVISION][/FILE]`, fetched as data."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from onepixel.errors import ModelFileError, UsageError
from onepixel.printable import one_line

SCHEME = "hf://"
NAME = re.compile(r"hf://(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>[\w./ -]+))?")
FETCHED = ("*.json", "*.safetensors", "*.onnx", "*.onnx_data", "pytorch_model.bin")
"""No code, and none of the same weights for other frameworks."""


@dataclass(frozen=True)
class HubName:
    """A repository, and what of it."""

    repository: str
    revision: str | None
    file: str | None


def hub_name(words: str) -> HubName:
    """Read `hf://OWNER/NAME[@REVISION][/FILE]`.

    Raises
    ------
    UsageError
        If it is something else.
    """
    found = NAME.fullmatch(words)
    file = found["file"] if found else None
    if found is None or (file is not None and ".." in Path(file).parts):
        raise UsageError(f"Expected hf://OWNER/NAME[@REVISION][/FILE] but got {one_line(words, 100)!r}.")
    return HubName(f"{found['owner']}/{found['name']}", found["revision"], file)


def fetched(words: str) -> tuple[Path, str | None]:
    """The folder in the local cache, and the file that was named; what is there already is not fetched again.

    Raises
    ------
    UsageError
        If huggingface_hub is not installed, or there is no such repository.
    ModelFileError
        If it cannot be fetched.
    """
    wanted = hub_name(words)
    # Read when the library starts.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise UsageError('hf:// needs huggingface_hub: pip install "onepixel[hub]".') from error
    patterns = ["*.json", wanted.file] if wanted.file else list(FETCHED)
    try:
        folder = Path(
            snapshot_download(
                wanted.repository,
                revision=wanted.revision,
                allow_patterns=patterns,
                cache_dir=os.environ.get("HF_HUB_CACHE"),
                local_files_only=os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"),
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError, LocalEntryNotFoundError) as error:
        raise UsageError(f"There is no {one_line(words, 100)} that can be reached from here.") from error
    except Exception as error:
        raise ModelFileError(f"{one_line(words, 100)} cannot be fetched: {one_line(error, 120)}.") from error
    if wanted.file is not None and not (folder / wanted.file).is_file():
        raise UsageError(f"There is no file {one_line(wanted.file, 60)} in {wanted.repository}.")
    return folder, wanted.file
