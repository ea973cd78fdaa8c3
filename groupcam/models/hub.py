"""Weights files of the model hubs: is one here already, and if not, fetch it.

Nothing in this module reads what is inside a file.
"""

import hashlib
import io
import logging
import re
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import (
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError
from tqdm import tqdm

from groupcam.errors import WeightsUnavailableError

Progress = Callable[[str, int, int], None]  # (what is done, bytes done, bytes in all or 0)

REACH_TIMEOUT_S = 10.0  # for a hub's first answer, and for each later piece of a file
CHUNK_BYTES = 1 << 20
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # torch hub's habit: resnet50-11ad3fa6.pth

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """A weights file on the Hugging Face hub: the first of `filenames` that the repository has."""

    repository: str
    filenames: tuple[str, ...]

    @property
    def host(self) -> str:
        """Name of the server, for messages."""
        return urllib.parse.urlsplit(hf_hub_url(self.repository, self.filenames[0])).netloc

    def cached(self) -> Path | None:
        """Return the file if it is in the local hub cache; never asks the network."""
        for filename in self.filenames:
            path = try_to_load_from_cache(self.repository, filename)
            if isinstance(path, str):
                return Path(path)
        return None

    def download(self, progress: Progress | None = None) -> Path:
        """Return the file, fetched into the hub cache.

        Raises:
            WeightsUnavailableError: the hub is not reached, or the download breaks off.
        """
        description = f"Downloading {self.repository}"
        try:
            filename = self._existing_filename()
            path = hf_hub_download(
                self.repository,
                filename,
                etag_timeout=REACH_TIMEOUT_S,
                tqdm_class=_reporting_bar(description, progress),
            )
        # The hub client's own errors, its transport's and the disk's share no base class.
        except Exception as error:
            raise WeightsUnavailableError(_download_failed(self.host, error)) from error
        return Path(path)

    def _existing_filename(self) -> str:
        """Return the first file name that exists.

        The hub client's download retries for about half a minute when no server answers; asking
        for the metadata first, without retries, tells that at once.
        """
        for filename in self.filenames[:-1]:
            try:
                get_hf_file_metadata(hf_hub_url(self.repository, filename), timeout=REACH_TIMEOUT_S)
            except EntryNotFoundError:
                continue
            return filename
        get_hf_file_metadata(
            hf_hub_url(self.repository, self.filenames[-1]), timeout=REACH_TIMEOUT_S
        )
        return self.filenames[-1]


@dataclass(frozen=True)
class UrlFile:
    """A weights file at a web address, kept where torch hub keeps its checkpoints."""

    url: str

    @property
    def host(self) -> str:
        """Name of the server, for messages."""
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def path(self) -> Path:
        """Where torch hub looks for the file."""
        name = Path(urllib.parse.urlsplit(self.url).path).name
        return Path(torch.hub.get_dir()) / "checkpoints" / name

    def cached(self) -> Path | None:
        """Return the file if torch hub has it already; never asks the network."""
        return self.path if self.path.is_file() else None

    def download(self, progress: Progress | None = None) -> Path:
        """Return the file, fetched into torch hub's folder; a broken download leaves nothing.

        Raises:
            WeightsUnavailableError: the server is not reached, the download breaks off, or the
                content is not what the hash in the file's name promises.
        """
        description = f"Downloading {self.path.name}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
                partial = Path(folder) / self.path.name
                self._fetch(partial, description, progress)
                partial.replace(self.path)
        except OSError as error:
            raise WeightsUnavailableError(_download_failed(self.host, error)) from error
        return self.path

    def _fetch(self, target: Path, description: str, progress: Progress | None) -> None:
        """Write the address's content to `target`; OSError if it is cut short or altered."""
        digest = hashlib.sha256()
        done = 0
        with (
            urllib.request.urlopen(self.url, timeout=REACH_TIMEOUT_S) as answer,
            target.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(description, done, total)
        if total and done != total:
            raise OSError(f"only {done} of {total} bytes arrived")
        expected = HASH_IN_NAME.search(target.name)
        if expected and not digest.hexdigest().startswith(expected[1]):
            raise OSError(f"the content's SHA-256 does not begin with {expected[1]}")


WeightsFile = HubFile | UrlFile


def _download_failed(host: str, error: Exception) -> str:
    """Return the sentence for a download that failed."""
    logger.info("Download from %s failed", host, exc_info=error)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"The weights could not be downloaded from {host} ({reason.rstrip('.')})."


def _reporting_bar(description: str, progress: Progress | None) -> type["tqdm[Any]"]:
    """Return a tqdm class that draws nothing and hands its counts to `progress`."""

    class ReportingBar(tqdm):  # type: ignore[type-arg]  # tqdm is generic in its stubs only
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            kwargs.update(file=io.StringIO(), disable=False)
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            if progress is not None:
                progress(description, int(self.n), int(self.total or 0))
            return drawn

    return ReportingBar
