"""The Hugging Face Hub: what is at an address there, and what goes there, through the library `huggingface_hub`, which is an extra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcc.errors import ArtifactError, GccError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

INSTALL = "pip install 'gan-gcc[hub]'"
PATTERN = re.compile(r"hf:/{1,2}(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<folder>[^/@]+))?")
"""An address; of its two slashes one is lost where it is taken for a path."""


@dataclass(frozen=True)
class Address:
    """A place on the Hub.

    Attributes:
        repository: such as `user/name`.
        revision: a branch, a tag or a commit; none for the newest.
        folder: in the repository; empty for all of it.
    """

    repository: str
    revision: str | None = None
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address of a text such as `hf://user/name`, `hf://user/name@v1` or `hf://user/name/A2B`.

        Raises:
            ArtifactError: it is none.

        >>> Address.parse("hf://user/name@v1/A2B")
        Address(repository='user/name', revision='v1', folder='A2B')
        """
        match = PATTERN.fullmatch(text)
        if match is None or match["folder"] in (".", ".."):
            raise ArtifactError(f"{text!r} is no address on the Hugging Face Hub: expected hf://user/name, with @revision where it matters")
        return cls(match["repository"], match["revision"], match["folder"] or "")

    def __str__(self) -> str:
        revision, folder = self.revision and f"@{self.revision}", self.folder and f"/{self.folder}"
        return f"hf://{self.repository}{revision or ''}{folder}"


def is_address(place: str | Path) -> bool:
    """Return whether a place is one on the Hub, rather than on this machine.

    >>> is_address("hf://user/name"), is_address(Path("hf://user/name")), is_address("runs/hf")
    (True, True, False)
    """
    return str(place).startswith("hf:/")


def fetch(address: Address, names: Sequence[str]) -> Path:
    """Return the folder in the Hub's cache on this machine that the repository lies in, after files have been fetched to it.

    Args:
        address: the place.
        names: of the files, in the repository or in a folder in it; no others are fetched.

    Raises:
        GccError: the library is not installed.
        ArtifactError: there is no such place, or it cannot be reached.
    """
    hub = _hub()
    with reached(str(address)):
        found = hub.snapshot_download(address.repository, revision=address.revision, allow_patterns=_patterns(names))
    return Path(found)


def upload(folder: Path, names: Sequence[str], repository: str, *, private: bool) -> str:
    """Put files of a folder into a repository, which is made where there is none, and return its address in a browser.

    Args:
        folder: where they are.
        names: of the files, in the folder or in a folder in it.
        repository: such as `user/name`.
        private: whether a new repository is seen by its owner alone.

    Raises:
        GccError: the library is not installed.
        ArtifactError: the Hub cannot be reached, or refuses.
    """
    hub = _hub()
    with reached(f"hf://{repository}"):
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=_patterns(names), commit_message="Upload by gan-gcc")
    return str(made)


def _patterns(names: Sequence[str]) -> list[str]:
    return [*names, *(f"*/{name}" for name in names)]


def _hub() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise GccError(f"the Hugging Face Hub is reached through huggingface_hub: {INSTALL} ({error})") from error
    return HfApi(library_name="gan-gcc")


@contextmanager
def reached(place: str) -> Iterator[None]:
    """Explain what goes wrong with a place on the Hub.

    Raises:
        ArtifactError: instead of what the library raises.
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
        raise ArtifactError(f"{place} is for those who accept its terms: accept them on its page, and log in: hf auth login") from error
    except RepositoryNotFoundError as error:
        raise ArtifactError(f"there is no {place}, or it is private: check the name, or log in: hf auth login") from error
    except RevisionNotFoundError as error:
        raise ArtifactError(f"{place} has no such revision: expected a branch, a tag or a commit of the repository") from error
    except LocalEntryNotFoundError as error:
        raise ArtifactError(f"{place} cannot be reached, and nothing of it has been fetched before: check the connection") from error
    except HFValidationError as error:
        raise ArtifactError(f"{place} is no name of a repository: expected user/name ({_line(error)})") from error
    except HfHubHTTPError as error:
        refused = error.response is not None and error.response.status_code in (401, 403)
        remedy = "log in with a token that may write there: hf auth login" if refused else "try again later"
        raise ArtifactError(f"the Hub refuses {place} ({_line(error)}): {remedy}") from error
    except Exception as error:  # What the library sends requests with changes with its versions.
        raise ArtifactError(f"{place} cannot be reached ({type(error).__name__}): {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
