"""Weights files of the model hubs: is one here already, and if not, fetch it.

Nothing in this module reads what is inside a file.
"""

import contextlib
import logging
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import torch
from huggingface_hub import (
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    get_session,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

from groupcam.errors import WeightsUnavailableError
from groupcam.language import say
from groupcam.models import downloads
from groupcam.models.downloads import Watch

# Called with (what is done, bytes done, bytes in all or 0), several times a second even while
# nothing arrives. What it raises stops the download: `groupcam.errors.Cancelled` is meant for that.
Progress = Callable[[str, int, int], None]

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")  # torch hub's habit: resnet50-11ad3fa6.pth
SHA256 = re.compile(r"[0-9a-f]{64}")

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

        The hub's client only finds the file and files it. Its own download (huggingface_hub
        2.4.0) begins anew after every failure, reports every 10 MB, cannot be stopped while the
        server is silent, and does not compare the content with its SHA-256.

        Raises:
            WeightsUnavailableError: the hub is not reached, refuses, breaks off or sends other
                content than it promised; or the disk is full.
            Cancelled: `progress` raised it (as it may anything else). What has arrived is kept,
                and the next download continues there.
        """
        watch = _watch(say("status.downloading", name=self.repository), progress)
        try:
            return downloads.persist(lambda: self._fetch(watch), watch)
        # The hub client's errors and the disk's are OSErrors, its transport's are not.
        except (httpx2.HTTPError, OSError, EntryNotFoundError) as error:
            cache = Path(constants.HF_HUB_CACHE)
            raise WeightsUnavailableError(_failure(self.host, cache, error, watch)) from error

    def is_altered(self, path: Path, sha256: str) -> bool:
        """Return whether a file, given with its SHA-256, is not what the hub's client stored."""
        promised = path.resolve().name  # as `_fetch` says
        return SHA256.fullmatch(promised) is not None and promised != sha256

    def discard(self, path: Path) -> None:
        """Remove a file that `cached` or `download` gave, so that it will be fetched anew.

        Raises:
            OSError: it cannot be removed.
        """
        blob = path.parent / path.readlink() if path.is_symlink() else None
        path.unlink()
        if blob is not None and blob.parent.name == "blobs":
            blob.unlink(missing_ok=True)

    def _fetch(self, watch: Watch) -> Path:
        """Return the file, put where the hub's client keeps contents, then linked by the client.

        The client keeps a content as `blobs/ETAG` in the repository's folder (documented: "Manage
        your cache", Blobs) and downloads nothing that lies there.
        """
        filename, metadata = watch.wait_for(self._existing_file)
        if metadata.etag is None or metadata.commit_hash is None:
            raise OSError("the answer lacks a hub's ETag and commit: is a proxy in between?")
        folder = repo_folder_name(repo_id=self.repository, repo_type="model")
        blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / metadata.etag
        with downloads.one_at_a_time(blob, watch):
            if not blob.is_file():
                downloads.fetch(
                    get_session(),
                    hf_hub_url(self.repository, filename),
                    blob,
                    watch,
                    headers=build_hf_headers(),
                    # Files of some size are named by their SHA-256, small ones by git's SHA-1.
                    sha256=metadata.etag if SHA256.fullmatch(metadata.etag) else "",
                )
        linked = watch.wait_for(
            lambda: hf_hub_download(self.repository, filename, etag_timeout=downloads.STALL_S)
        )
        return Path(linked)

    def _existing_file(self) -> tuple[str, HfFileMetadata]:
        """Return the first file name that exists, and what the hub tells of that file."""
        *others, last = self.filenames
        for filename in others:
            with contextlib.suppress(EntryNotFoundError):
                return filename, self._metadata(filename)
        return last, self._metadata(last)

    def _metadata(self, filename: str) -> HfFileMetadata:
        return get_hf_file_metadata(
            hf_hub_url(self.repository, filename), timeout=downloads.STALL_S
        )


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
        """Return the file, fetched into torch hub's folder.

        Raises:
            WeightsUnavailableError: the server is not reached, refuses, breaks off, or its content
                is not what the hash in the file's name promises; or the disk is full.
            Cancelled: `progress` raised it (as it may anything else). What has arrived is kept,
                and the next download continues there.
        """
        watch = _watch(say("status.downloading", name=self.path.name), progress)
        try:
            return downloads.persist(lambda: self._fetch(watch), watch)
        except (httpx2.HTTPError, OSError) as error:
            folder = self.path.parent
            raise WeightsUnavailableError(_failure(self.host, folder, error, watch)) from error

    def is_altered(self, path: Path, sha256: str) -> bool:
        """Return False: like torch hub, take whatever has been put under the file's name."""
        return False

    def discard(self, path: Path) -> None:
        """Remove a file that `cached` or `download` gave, so that it will be fetched anew.

        Raises:
            OSError: it cannot be removed.
        """
        path.unlink()

    def _fetch(self, watch: Watch) -> Path:
        promised = HASH_IN_NAME.search(self.path.name)
        with downloads.one_at_a_time(self.path, watch), httpx2.Client() as client:
            if not self.path.is_file():
                downloads.fetch(
                    client, self.url, self.path, watch, sha256=promised[1] if promised else ""
                )
        return self.path


WeightsFile = HubFile | UrlFile


def _watch(description: str, progress: Progress | None) -> Watch:
    """Return a watch that reports to `progress`, if there is one."""
    return Watch(lambda done, total: progress(description, done, total) if progress else None)


def _failure(host: str, folder: Path, error: Exception, watch: Watch) -> str:
    """Return the sentence for a download that failed."""
    logger.info("Download from %s failed", host, exc_info=error)
    if isinstance(error, OSError) and error.errno in downloads.DISK_FULL:
        size = f" ({_megabytes(watch.total)})" if watch.total else ""
        return (
            f"The weights{size} must fit on the disk of '{folder}'; it is full, so what had "
            "arrived was removed. Free some space there, or set HF_HOME and TORCH_HOME to folders "
            "on another disk."
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"The weights could not be stored in '{folder}' ({error.strerror})."
    kept = ""
    if watch.done and not isinstance(error, downloads.AlteredContentError):
        kept = f" {_megabytes(watch.done)} have arrived and are kept: the next try continues there."
    return f"The weights could not be downloaded from {host} ({_reason(error)}).{kept}"


def _reason(error: Exception) -> str:
    """Return why a download failed, in a few words."""
    status = downloads.status_of(error)
    if status in (401, 403):
        return (
            f"HTTP Error {status}: access is refused, as to weights that are gated or private; ask "
            "for access on their page, then log in by `hf auth login` or HF_TOKEN"
        )
    if status == 404:
        return "HTTP Error 404: there is no such file"
    if status is not None:
        return f"HTTP Error {status}: the server is out of order or refuses"
    if isinstance(error, httpx2.TimeoutException):
        return f"no answer for {downloads.STALL_S:g} s"
    if isinstance(error, downloads.AlteredContentError):
        return f"{error}: it was altered on its way and has been removed"
    first_line = next(iter(str(error).strip().splitlines()), "")
    return first_line.rstrip(".") or type(error).__name__


def _megabytes(count: int) -> str:
    """Return a number of bytes in MB."""
    return f"{count / 1e6:.1f} MB"
