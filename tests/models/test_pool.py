"""Backbones in one place: loaded once, bounded, let go."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import nn

from groupcam.errors import Cancelled, GroupCamError
from groupcam.models import Backbone
from groupcam.models.hub import Progress
from groupcam.models.pool import BackboneKey, BackbonePool, size_of
from tests.support import ROOT, TinyCnn, as_backbone

SIZE = size_of(as_backbone(TinyCnn()))


class Loading:
    """A loader that counts, and can be held up."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, key: BackboneKey, progress: Progress | None) -> Backbone:
        self.names.append(key.name)
        if key.name != "quick":
            assert self.may_go_on.wait(timeout=10)
        if key.name == "broken":
            raise OSError("no such weights")
        return as_backbone(TinyCnn())


@pytest.fixture
def loading() -> Loading:
    return Loading()


def test_size_counts_parameters_and_buffers() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))

    # 6 + 2 and 2 + 2 parameters, 2 + 2 statistics in float32; the count of batches in int64
    assert size_of(as_backbone(network)) == 4 * (8 + 4 + 4) + 8


def test_a_kept_backbone_is_not_loaded_again(loading: Loading) -> None:
    pool = BackbonePool(loading, 10 * SIZE)

    first = pool.load(BackboneKey("one"))

    assert pool.load(BackboneKey("one")) is first
    assert pool.get(BackboneKey("one")) is first
    assert pool.load(BackboneKey("one", None)) is not first  # other weights
    assert loading.names == ["one", "one"]


def test_the_one_not_used_for_longest_goes_when_the_bytes_are_full(loading: Loading) -> None:
    pool = BackbonePool(loading, 3 * SIZE)
    for name in "abc":
        pool.load(BackboneKey(name))
    pool.get(BackboneKey("a"))

    pool.load(BackboneKey("d"))

    assert pool.size_bytes == 3 * SIZE
    assert [name for name in "abcd" if pool.get(BackboneKey(name))] == ["a", "c", "d"]


def test_one_backbone_is_kept_whatever_its_size(loading: Loading) -> None:
    pool = BackbonePool(loading, 1)

    pool.load(BackboneKey("a"))
    kept = pool.load(BackboneKey("b"))

    assert len(pool) == 1
    assert pool.get(BackboneKey("b")) is kept


def test_what_went_is_freed(loading: Loading) -> None:
    pool = BackbonePool(loading, SIZE)
    gone = weakref.ref(pool.load(BackboneKey("a")))

    pool.load(BackboneKey("b"))
    gc.collect()

    assert gone() is None


def test_many_who_ask_at_once_share_one_loading(loading: Loading) -> None:
    pool = BackbonePool(loading, 10 * SIZE)
    loading.may_go_on.clear()
    got: list[Backbone] = []
    threads = [
        threading.Thread(target=lambda: got.append(pool.load(BackboneKey("one")))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    loading.may_go_on.set()
    for thread in threads:
        thread.join(timeout=10)

    assert loading.names == ["one"]
    assert len(got) == 5
    assert all(backbone is got[0] for backbone in got)


def test_a_failure_is_told_and_the_next_call_tries_again(loading: Loading) -> None:
    pool = BackbonePool(loading, SIZE)

    for _ in range(2):
        with pytest.raises(OSError, match="no such weights"):
            pool.load(BackboneKey("broken"))

    assert loading.names == ["broken", "broken"]


def test_who_waits_loads_anew_when_the_first_one_gives_up(loading: Loading) -> None:
    begun, may_give_up = threading.Event(), threading.Event()

    def load(key: BackboneKey, progress: Progress | None) -> Backbone:
        if not begun.is_set():
            begun.set()
            assert may_give_up.wait(timeout=10)
            raise Cancelled("The visitor left.")
        return loading(key, progress)

    pool = BackbonePool(load, 10 * SIZE)
    with ThreadPoolExecutor() as executor:
        first = executor.submit(pool.load, BackboneKey("one"))
        assert begun.wait(timeout=10)
        second = executor.submit(pool.load, BackboneKey("one"))
        may_give_up.set()

        with pytest.raises(Cancelled):
            first.result(timeout=10)
        assert second.result(timeout=10) is pool.get(BackboneKey("one"))


def test_other_names_do_not_wait(loading: Loading) -> None:
    pool = BackbonePool(loading, 10 * SIZE)
    loading.may_go_on.clear()
    slow = threading.Thread(target=pool.load, args=[BackboneKey("slow")])
    slow.start()

    assert pool.load(BackboneKey("quick"))
    assert pool.get(BackboneKey("slow")) is None
    loading.may_go_on.set()
    slow.join(timeout=10)


def test_who_waits_hears_how_far_it_is_and_may_leave() -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def load(key: BackboneKey, progress: Progress | None) -> Backbone:
        assert progress is not None
        progress("Downloading", 3, 4)
        begun.set()
        assert may_go_on.wait(timeout=10)
        return as_backbone(TinyCnn())

    def leave(*report: object) -> None:
        heard.append(report)
        raise Cancelled("The visitor left.")

    heard: list[object] = []
    pool = BackbonePool(load, SIZE)
    with ThreadPoolExecutor() as executor:
        first = executor.submit(pool.load, BackboneKey("one"))
        assert begun.wait(timeout=10)

        with pytest.raises(Cancelled):
            executor.submit(pool.load, BackboneKey("one"), leave).result(timeout=10)

        may_go_on.set()
        assert first.result(timeout=10) is pool.get(BackboneKey("one"))
    assert heard == [("Downloading", 3, 4)]


def test_more_loadings_than_allowed_are_refused(
    loading: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groupcam.models.pool.MOST_LOADING", 1)
    pool = BackbonePool(loading, 10 * SIZE)
    loading.may_go_on.clear()
    with ThreadPoolExecutor() as executor:
        slow = executor.submit(pool.load, BackboneKey("slow"))
        while not loading.names:
            time.sleep(0.01)

        with pytest.raises(GroupCamError, match="At most 1 networks are loaded at once"):
            pool.load(BackboneKey("quick"))

        loading.may_go_on.set()
        assert slow.result(timeout=10)
    assert pool.load(BackboneKey("quick"))


def in_room(pool_of: list[BackbonePool], waits: list[str]) -> Callable[..., Backbone]:
    """Return a loader that asks for room, and notes who had to wait for it."""

    def load(key: BackboneKey, progress: Progress | None) -> Backbone:
        with pool_of[0].room(SIZE, lambda: waits.append(key.name)):
            return as_backbone(TinyCnn())

    return load


def test_networks_still_in_use_bound_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groupcam.models.pool.ROOM_S", 0.0)
    waits: list[str] = []
    pools: list[BackbonePool] = []
    pool = BackbonePool(in_room(pools, waits), SIZE)
    pools.append(pool)
    in_use = [pool.load(BackboneKey(name)) for name in "ab"]

    with pytest.raises(GroupCamError, match="must have room"):
        pool.load(BackboneKey("c"))

    assert waits == ["c"]
    in_use.clear()
    gc.collect()
    assert pool.load(BackboneKey("c"))
    assert len(pool) == 1


def test_one_network_is_built_at_a_time() -> None:
    pool = BackbonePool(lambda key, progress: as_backbone(TinyCnn()), 10 * SIZE)
    waits: list[str] = []

    def build() -> None:
        with pool.room(SIZE, lambda: waits.append("second")):
            waits.append("built")

    with ThreadPoolExecutor() as executor:
        with pool.room(SIZE, lambda: None):
            second = executor.submit(build)
            while not waits:
                time.sleep(0.01)
        second.result(timeout=10)
    assert set(waits[:-1]) == {"second"}
    assert waits[-1] == "built"


def test_room_is_given_back_after_an_error() -> None:
    pool = BackbonePool(lambda key, progress: as_backbone(TinyCnn()), SIZE)
    for _ in range(2):
        with pytest.raises(OSError, match="no memory"), pool.room(SIZE, lambda: None):
            raise OSError("no memory")


SWITCHING = """
import gc
from pathlib import Path
import torch
from groupcam.models import Backbone, Preprocessing, target_layers
from groupcam.models.pool import BackboneKey, BackbonePool
from groupcam.saliency import explain_steps, finish

def load(key, progress):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 1024, 3, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(1024, 1024, 1),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1024, 4096),
    )
    return Backbone.from_module(network, Preprocessing((32, 32)))

def resident():
    gc.collect()
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096

pool = BackbonePool(load, 50 * 2**20)  # two of them
for number in range(30):
    backbone = pool.load(BackboneKey(f"test/{number}"))
    target_layers(backbone)
    del backbone
    if number == 4:
        before = resident()
print(len(pool), resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_thirty_backbones_leave_the_memory_as_it_was() -> None:
    """Each has 21 MB, so 25 that stayed would be 520 MB."""
    answer = subprocess.run(
        [sys.executable, "-c", SWITCHING], cwd=ROOT, capture_output=True, text=True, timeout=120
    )

    assert answer.returncode == 0, answer.stderr
    kept, grown = map(int, answer.stdout.split())
    assert kept == 2
    assert grown < 60 * 2**20
