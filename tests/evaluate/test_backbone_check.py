import dataclasses
import functools
import itertools
import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import groupcam
from groupcam.__main__ import main
from groupcam.evaluate import backbone_check, backbone_sweep
from groupcam.evaluate.backbone_check import check_backbone, made_up_picture
from groupcam.evaluate.backbone_sweep import (
    check_steps,
    measure,
    size_steps,
    sweep_names,
)
from groupcam.models import Backbone, default_target_layer
from groupcam.models.families import ArchitectureSize, CheckedBackbone, parameters_of, read_checks
from groupcam.models.libraries import TimmLibrary
from groupcam.saliency import Explanation, GroupCamConfig
from groupcam.steps import finish
from tests.support import as_backbone

# Stands in for the real worker: what happens depends on the name. Each run leaves a line behind.
FAKE_WORKER = """
    import dataclasses, json, os, signal, sys, time
    from pathlib import Path

    name = sys.argv[-1]
    with Path({log!r}).open("a") as log:
        print(name, file=log)
    if name == "raises":
        raise ValueError("no such attention")
    if name == "hangs":
        time.sleep(600)
    if name == "exits":
        os._exit(3)
    if name == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "segfaults":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "babbles":
        print("this is not the result")
        sys.exit()
    print("Building ...")  # what a library prints before the result does no harm
    print(json.dumps({{"family": "fake", "name": name, "grid": "7 x 7"}}))
"""


@dataclasses.dataclass
class FakeWorker:
    """A command for the sweep, and the names that it was started with."""

    command: Sequence[str]
    log: Path

    @property
    def started(self) -> list[str]:
        return sorted(self.log.read_text().splitlines()) if self.log.exists() else []


@pytest.fixture
def worker(tmp_path: Path) -> FakeWorker:
    log, script = tmp_path / "started", tmp_path / "worker.py"
    script.write_text(textwrap.dedent(FAKE_WORKER.format(log=str(log))))
    return FakeWorker((sys.executable, str(script)), log)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def sweep(
    names: Sequence[str], folder: Path, worker: FakeWorker, timeout_s: float = 60
) -> dict[str, CheckedBackbone]:
    rows = finish(check_steps(names, folder, jobs=2, timeout_s=timeout_s, command=worker.command))
    assert [row.name for row in rows] == list(names)
    return {row.name: row for row in rows}


# --- the sweep -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "verdict", "reason"),
    [
        ("raises", "crashed", "exit code 1: ValueError: no such attention"),
        ("exits", "crashed", "exit code 3: without a word"),
        ("segfaults", "crashed", "SIGSEGV: without a word"),
        ("babbles", "crashed", "exit code 0: without a word"),
        ("is killed", "out of memory", "was killed, as systems do .* memory runs out"),
    ],
)
def test_process_that_fails_is_a_row_and_the_sweep_goes_on(
    name: str, verdict: str, reason: str, folder: Path, worker: FakeWorker
) -> None:
    rows = sweep([name, "good"], folder, worker)

    assert rows[name].verdict == verdict
    assert re.fullmatch(reason, rows[name].reason)
    assert rows["good"] == CheckedBackbone("fake", "good", grid="7 x 7")


def test_process_that_hangs_is_ended(folder: Path, worker: FakeWorker) -> None:
    started = time.monotonic()

    rows = sweep(["hangs", "good"], folder, worker, timeout_s=2)

    assert time.monotonic() - started < 30
    assert (rows["hangs"].verdict, rows["hangs"].reason) == ("timed out", "took more than 2 s")
    assert rows["good"].verdict == "ok"


def test_second_run_takes_up_only_what_is_missing_or_not_ok(
    folder: Path, worker: FakeWorker
) -> None:
    first = sweep(["good", "exits"], folder, worker)

    second = sweep(["good", "exits", "new"], folder, worker)

    assert worker.started == ["exits", "exits", "good", "new"]
    assert second["good"] == first["good"]
    assert sweep(["good"], folder, worker)["good"].verdict == "ok"
    assert len(worker.started) == 4


def test_results_of_other_versions_are_not_taken_over(
    folder: Path, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(["good"], folder, worker)
    monkeypatch.setattr("timm.__version__", "0.0.1")

    sweep(["good"], folder, worker)

    assert worker.started == ["good", "good"]


def test_line_cut_off_by_an_interruption_is_done_again(folder: Path, worker: FakeWorker) -> None:
    sweep(["good", "other"], folder, worker)
    (journal,) = folder.iterdir()
    text = journal.read_text()
    journal.write_text(text[:-20])

    rows = sweep(["good", "other"], folder, worker)

    assert len(worker.started) == 3
    assert {row.verdict for row in rows.values()} == {"ok"}
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_sweep_that_is_closed_ends_its_processes_and_keeps_what_is_done(
    folder: Path, worker: FakeWorker
) -> None:
    steps = check_steps(
        ["good", "hangs", "never"], folder, jobs=1, timeout_s=60, command=worker.command
    )
    assert [next(steps), next(steps)] == [(0, 3), (1, 3)]
    deadline = time.monotonic() + 30
    while "hangs" not in worker.started and time.monotonic() < deadline:
        time.sleep(0.05)

    steps.close()

    assert time.monotonic() < deadline
    assert worker.started == ["good", "hangs"]
    sweep(["good"], folder, worker)
    assert worker.started == ["good", "hangs"]


def test_cores_are_shared_out_among_the_processes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groupcam.evaluate.backbone_sweep.cores", lambda: 12)
    answer = (
        "import json, os;"
        "print(json.dumps({'family': '', 'name': 'x', 'reason': os.environ['OMP_NUM_THREADS']}))"
    )

    (row,) = finish(check_steps(["x"], folder, jobs=5, command=(sys.executable, "-c", answer)))

    assert row.reason == "2"


# --- sizes -----------------------------------------------------------------------------------


def test_sizes_that_were_counted_before_an_interruption_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {("timm", "a"): ("timm/a_one", "timm/a_two")}
    counted: list[str] = []

    def measure(name: str) -> ArchitectureSize:
        counted.append(name)
        return ArchitectureSize(name, "a", 7)

    monkeypatch.setattr(backbone_sweep, "families", lambda: members)
    monkeypatch.setattr(backbone_sweep, "measure", measure)
    steps = size_steps(folder)
    assert list(itertools.islice(steps, 2)) == [(0, 2), (1, 2)]
    steps.close()

    sizes = finish(size_steps(folder))

    assert counted == ["timm/a_one", "timm/a_two"]
    assert [size.name for size in sizes] == counted


def test_network_that_cannot_be_built_has_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: object, architecture: str, tag: str | None) -> nn.Module:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(TimmLibrary, "build", build)

    assert measure("timm/resnet18") == ArchitectureSize("timm/resnet18", "resnet", None)


def test_encoder_without_a_head_is_no_classifier() -> None:
    assert not measure("timm/gemma4_vit_167m_enc").is_classifier
    assert measure("timm/gemma4_vit_167m").is_classifier


def test_sweep_takes_the_smallest_classifier_of_a_timm_family_and_all_of_torchvision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = {
        ("timm", "a"): ("timm/a_large", "timm/a_small", "timm/a_unknown", "timm/a_headless"),
        ("timm", "b"): ("timm/b_unknown",),
        ("timm", "c"): ("timm/c_headless",),
        ("torchvision", "a"): ("torchvision/a_large", "torchvision/a_small"),
    }
    sizes = {"large": 9, "small": 4, "headless": 1, "unknown": None}
    monkeypatch.setattr(backbone_sweep, "families", lambda: members)
    rows = [
        ArchitectureSize(name, family, sizes[kind], is_classifier=kind != "headless")
        for (_, family), names in members.items()
        for name in names
        for kind in [name.partition("_")[2]]
    ]

    names = sweep_names(rows)

    assert names == [
        "timm/a_small",
        "timm/b_unknown",
        "timm/c_headless",
        *members["torchvision", "a"],
    ]


# --- one backbone ----------------------------------------------------------------------------


def test_picture_is_the_same_every_time_and_has_contrast() -> None:
    picture = made_up_picture()

    np.testing.assert_array_equal(picture, made_up_picture())
    assert picture.shape == (300, 400, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 40


def test_unknown_backbone_is_a_row_with_the_reason() -> None:
    row = check_backbone("timm/resnet05")

    assert row.verdict == "failed"
    assert row.reason.startswith("building: A backbone must be named LIBRARY/ARCHITECTURE")


@pytest.fixture
def tiny(tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """Any name is built as the tiny network."""
    monkeypatch.setattr(backbone_check, "load_backbone", lambda *_args, **_options: tiny_cnn)
    return tiny_cnn


def test_row_says_what_the_network_is_like(tiny: Backbone) -> None:
    row = check_backbone("timm/resnet18")

    assert row.seconds is not None
    assert dataclasses.replace(row, seconds=None) == CheckedBackbone(
        family="resnet",
        name="timm/resnet18",
        parameters=(3 * 9 + 1) * 8 + (8 * 9 + 1) * 12 + (12 + 1) * 3,
        input_size="32 x 32",
        target_layer=default_target_layer(tiny).name,
        layout="NCHW",
        grid="16 x 16",
        channels=12,
        passes=row.passes,
        verdict="ok",
    )
    assert row.passes in range(3, 11)


def spoil_explanations(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Explanation], Explanation]
) -> None:
    def explain(
        backbone: Backbone, image: np.ndarray, config: GroupCamConfig, *, class_index: int
    ) -> Explanation:
        return spoil(groupcam.explain(backbone, image, config, class_index=class_index))

    monkeypatch.setattr(backbone_check, "explain", explain)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda saliency_map: saliency_map * torch.nan, "map is not finite"),
        (lambda saliency_map: saliency_map * 2, "map reaches from 0.0 to 2.0, not 0 to 1"),
        (lambda saliency_map: saliency_map - 1, "map reaches from -1.0 to 0.0, not 0 to 1"),
        (lambda saliency_map: saliency_map * 0, "map is flat, and no reason is given"),
        (lambda saliency_map: saliency_map[:5], "map is (5, 32), not (32, 32)"),
    ],
    ids=["NaN", "above 1", "below 0", "flat", "size"],
)
@pytest.mark.usefixtures("tiny")
def test_map_that_breaks_a_law_is_a_failure(
    spoil: Callable[[Tensor], Tensor], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_explanations(
        monkeypatch,
        lambda result: dataclasses.replace(result, saliency_map=spoil(result.saliency_map)),
    )

    row = check_backbone("timm/resnet18")

    assert (row.verdict, row.reason) == ("failed", f"explaining: {reason}")
    assert row.grid == "16 x 16"  # what was found before stays


def blank(explanation: Explanation) -> Explanation:
    return dataclasses.replace(
        explanation,
        saliency_map=torch.zeros_like(explanation.saliency_map),
        blank_reason=f"Nothing speaks for {explanation.class_index}.",
    )


@pytest.mark.usefixtures("tiny")
def test_blank_maps_of_all_classes_are_ok_and_the_last_reason_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[int] = []

    def spoil(explanation: Explanation) -> Explanation:
        shown.append(explanation.class_index)
        return blank(explanation)

    spoil_explanations(monkeypatch, spoil)

    row = check_backbone("timm/resnet18")

    assert sorted(shown) == [0, 1, 2]
    assert (row.verdict, row.reason) == ("ok", f"Nothing speaks for {shown[-1]}.")


@pytest.mark.usefixtures("tiny")
def test_blank_map_of_the_top_class_gives_way_to_the_map_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[int] = []

    def spoil(explanation: Explanation) -> Explanation:
        shown.append(explanation.class_index)
        if explanation.class_index == int(explanation.logits.argmax()):
            return blank(explanation)
        saliency_map = torch.linspace(0, 1, 32 * 32).view(32, 32)
        return dataclasses.replace(explanation, saliency_map=saliency_map, blank_reason=None)

    spoil_explanations(monkeypatch, spoil)

    row = check_backbone("timm/resnet18")

    assert (row.verdict, row.reason) == ("ok", "")
    assert len(shown) == 2


def test_batch_norms_are_calibrated_so_that_the_picture_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution, norm = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8)
        nn.init.normal_(convolution.weight, std=1e-2)
        network = nn.Sequential(
            nn.Sequential(convolution, norm, nn.ReLU()), nn.Flatten(), nn.Linear(8 * 15 * 15, 3)
        )
    monkeypatch.setattr(
        backbone_check, "load_backbone", lambda *_args, **_options: as_backbone(network)
    )
    at_layer: list[float] = []
    norm.register_forward_hook(lambda *args: at_layer.append(float(args[-1].detach().std())))

    row = check_backbone("timm/resnet18")

    assert (row.verdict, row.reason) == ("ok", "")
    assert at_layer[-1] > 5 * at_layer[0]
    assert not norm.training


def test_cells_in_other_places_than_the_picture_are_a_failure(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = default_target_layer(tiny)
    mirrored = tiny.network.get_submodule(layer.name).register_forward_hook(
        lambda _module, _inputs, output: output.flip(3)
    )

    row = check_backbone("timm/resnet18")

    mirrored.remove()
    assert row.verdict == "failed"
    assert row.reason.startswith(f"checking the layout: '{layer.name}'")


def test_network_without_logits_has_no_classifier_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimmLibrary, "build", lambda *_args, **_options: torch.nn.Identity())

    row = check_backbone("timm/resnet18")

    assert (row.verdict, row.parameters) == ("no classifier head", parameters_of("timm/resnet18"))
    assert "got (1, 3, 224, 224)" in row.reason


def test_network_that_does_not_look_at_the_picture_is_a_failure(tiny: Backbone) -> None:
    for parameter in tiny.network.parameters():
        parameter.data.zero_()

    row = check_backbone("timm/resnet18")

    assert (row.verdict, row.target_layer) == ("failed", "")
    assert row.reason.startswith("finding a layer: ")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (MemoryError("no room"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("mat1 and mat2\nshapes " + 999 * "x"), "failed"),
    ],
    ids=["memory", "allocator", "any"],
)
def test_error_of_a_network_is_one_short_line(
    error: Exception, verdict: str, tiny: Backbone
) -> None:
    def fail(*_args: object) -> None:
        raise error

    tiny.network.register_forward_hook(fail)

    row = check_backbone("timm/resnet18")

    assert row.verdict == verdict
    assert row.reason.startswith("finding a layer: ")
    assert "\n" not in row.reason
    assert len(row.reason) <= 400


# --- the command -----------------------------------------------------------------------------


def test_command_checks_real_networks_and_writes_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["timm/test_mambaout", "timm/test_maxvit"]

    assert main(["backbones", "--check", "timm/test_m*", "--out", str(tmp_path)]) == 0

    rows = read_checks(tmp_path / "checked_backbones.csv")
    assert [(row.name, row.verdict, row.reason) for row in rows] == [(n, "ok", "") for n in names]
    assert [row.layout for row in rows] == ["NHWC", "NCHW"]
    assert all(row.grid == "5 x 5" and row.passes and row.seconds for row in rows)
    text = capsys.readouterr().out
    assert all(name in text for name in names)
    assert text.endswith("\n2 checked: 2 ok\n")


def test_command_says_which_backbones_are_not_ok(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = functools.partial(check_steps, command=(sys.executable, "-c", "raise SystemExit(3)"))
    monkeypatch.setattr("groupcam.cli.backbones.check_steps", steps)

    assert main(["backbones", "--check", "timm/resnet18"]) == 2

    output, errors = capsys.readouterr()
    assert "exit code 3" in output
    assert errors.count("\n") == 1
    assert "'timm/resnet18'" in errors


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--jobs", "2"], "--jobs must stand beside --check"),
        (["--timeout", "2"], "--timeout must stand beside --check"),
        (["--out", "folder"], "--out must stand beside --check"),
        (["--check", "--jobs", "0"], "must be a whole number above 0; got '0'"),
        (["--check", "--timeout", "-1"], "must be a number above 0; got '-1'"),
        (["--check", "--timeout", "nan"], "must be a number above 0; got 'nan'"),
        (["--check", "tf_eficientnet_lite0"], "'timm/tf_efficientnet_lite0'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_option_is_one_line(
    options: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backbones", *options]) == 2

    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert part in errors
    assert errors.count("\n") == 1
