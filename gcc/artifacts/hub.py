"""Download from and upload to the Hugging Face Hub, through the library `huggingface_hub`, which is an optional dependency."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from gcc.errors import ArtifactError, GccError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

INSTALL = "pip install 'gan-gcc[hub]'"
PATTERN = re.compile(r"hf:/{1,2}(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<folder>[^/@]+))?")
"""An address on the Hub. `pathlib` collapses its two slashes to one, so one is accepted, too."""


@dataclass(frozen=True)
class Address:
    """An address on the Hub.

    Attributes:
        repository: such as `user/name`.
        revision: a branch, a tag or a commit; None for the newest.
        folder: a folder in the repository; empty for the whole repository.
    """

    repository: str
    revision: str | None = None
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse a text such as `hf://user/name`, `hf://user/name@v1` or `hf://user/name/A2B`.

        Raises:
            ArtifactError: the text is not an address.

        >>> Address.parse("hf://user/name@v1/A2B")
        Address(repository='user/name', revision='v1', folder='A2B')
        """
        match = PATTERN.fullmatch(text)
        if match is None or match["folder"] in (".", ".."):
            raise ArtifactError(f"{text!r} is not an address on the Hugging Face Hub: expected hf://user/name or hf://user/name@revision")
        return cls(match["repository"], match["revision"], match["folder"] or "")

    def __str__(self) -> str:
        revision, folder = self.revision and f"@{self.revision}", self.folder and f"/{self.folder}"
        return f"hf://{self.repository}{revision or ''}{folder}"


def is_address(location: str | Path) -> bool:
    """Return whether a location is an address on the Hub, not a path on this machine.

    >>> is_address("hf://user/name"), is_address(Path("hf://user/name")), is_address("runs/hf")
    (True, True, False)
    """
    return str(location).startswith("hf:/")


def fetch(address: Address, patterns: Sequence[str]) -> Path:
    """Download files of a repository, and return its folder in the local cache.

    Args:
        address: the repository and its revision.
        patterns: glob patterns of the files' paths in the repository, where `*` also stands for slashes; no other files are downloaded.

    Raises:
        GccError: `huggingface_hub` is not installed.
        ArtifactError: the address does not exist, or cannot be reached.
    """
    hub = _hub()
    with explained_hub_errors(str(address)):
        return Path(hub.snapshot_download(address.repository, revision=address.revision, allow_patterns=[*patterns]))


def upload(folder: Path, files: Sequence[Path], repository: str, *, private: bool) -> str:
    """Upload files of a folder to a repository, and return its URL; the repository is created if it does not exist.

    Args:
        folder: the folder of the files.
        files: the files, as paths inside the folder.
        repository: such as `user/name`.
        private: whether a new repository is visible to its owner only.

    Raises:
        GccError: `huggingface_hub` is not installed.
        ArtifactError: the Hub cannot be reached, or refuses.
    """
    hub = _hub()
    with explained_hub_errors(f"hf://{repository}"):
        url = hub.create_repo(repository, private=private, exist_ok=True)
        patterns = [escape(file.as_posix()) for file in files]
        hub.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=patterns, commit_message="Upload by gan-gcc")
    return str(url)


def _hub() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise GccError(f"the Hugging Face Hub needs huggingface_hub: {INSTALL} ({error})") from error
    return HfApi(library_name="gan-gcc")


@contextmanager
def explained_hub_errors(address: str) -> Iterator[None]:
    """Turn the library's errors about an address into an `ArtifactError` of one line.

    Raises:
        ArtifactError: the library raised an error.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ArtifactError(f"{address} requires you to accept its terms: accept them on its page, and log in: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ArtifactError(f"there is no {address}, or it is private: check the name, or log in: hf auth login") from error
    except RevisionNotFoundError as error:
        raise ArtifactError(f"{address} has no such revision: expected a branch, a tag or a commit of the repository") from error
    except LocalEntryNotFoundError as error:
        raise ArtifactError(f"{address} cannot be reached, and is not in the local cache: check the connection") from error
    except HFValidationError as error:
        raise ArtifactError(f"{address} is not the name of a repository: expected user/name ({first_line(error)})") from error
    except HfHubHTTPError as error:
        denied = error.response is not None and error.response.status_code in (401, 403)
        remedy = "log in with a token that may write there: hf auth login" if denied else "try again later"
        raise ArtifactError(f"the Hub refuses {address} ({first_line(error)}): {remedy}") from error
    except Exception as error:  # The HTTP client, and so its exceptions, depends on the version of the library.
        raise ArtifactError(f"{address} cannot be reached ({type(error).__name__}): {first_line(error)}") from error
