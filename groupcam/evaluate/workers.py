"""Several processes, on one machine or many, that share one evaluation (torch.distributed, gloo).

torchrun starts them and sets RANK, WORLD_SIZE and the address at which they meet. They talk twice
only: at the start about what is finished, at the end to hand over results. A file system in
common is not needed.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from groupcam.errors import GroupCamError
from groupcam.evaluate.journal import Entry

MEETING = timedelta(minutes=10)  # to find each other, and to hand over results
# Workers need not be equally fast. One that dies is noticed at once, since its connection breaks.
LONGEST_WAIT = timedelta(days=14)


@dataclass(frozen=True)
class Workers:
    """This process among `count`, from 0."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # among those of this machine

    @property
    def is_first(self) -> bool:
        """Return whether this process makes the tables."""
        return self.rank == 0

    def agree_on(self, finished: Collection[Any]) -> set[Any]:
        """Return what is finished according to any worker."""
        if self.count == 1:
            return set(finished)
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, set(finished))
        return set().union(*found)

    def hand_over(self, entries: dict[Any, Entry]) -> dict[Any, Entry]:
        """Return all workers' entries by key on the first worker, its own on the others.

        Waits until every worker has finished its part.

        Raises:
            GroupCamError: a worker is gone.
        """
        if self.count == 1:
            return entries
        try:
            dist.monitored_barrier(timeout=LONGEST_WAIT, wait_all_ranks=True)
            known: list[Any] = [set(entries)]
            dist.broadcast_object_list(known, src=0)
            # What lies in a folder in common is not sent.
            missing = {key: entry for key, entry in entries.items() if key not in known[0]}
            parts: list[Any] | None = [None] * self.count if self.is_first else None
            dist.gather_object(missing, parts)
        except RuntimeError as error:
            raise GroupCamError(
                f"All {self.count} workers must reach the end; one is missing "
                f"({str(error).splitlines()[0]}). Run the same command again: finished pictures "
                "are kept."
            ) from error
        for part in parts or ():
            entries = {**part, **entries}
        return entries


@contextmanager
def joined_workers(backend: str = "gloo") -> Iterator[Workers]:
    """Join the other workers that the environment tells of, or work alone.

    Args:
        backend: of torch.distributed.

    Raises:
        GroupCamError: they cannot be found.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    try:
        dist.init_process_group(backend, timeout=MEETING)
    except (RuntimeError, ValueError) as error:
        raise GroupCamError(
            f"All {count} workers must find each other; {str(error).splitlines()[0]}. Start them "
            "with torchrun."
        ) from error
    try:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        yield Workers(dist.get_rank(), dist.get_world_size(), local_rank)
    finally:
        dist.destroy_process_group()
