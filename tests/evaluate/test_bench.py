"""The bench: the plain form gives our results, and its numbers mean what they say."""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groupcam import GroupCamConfig, explain, insertion_deletion
from groupcam.__main__ import main
from groupcam.errors import GroupCamError
from groupcam.evaluate.bench import report, rounds
from groupcam.evaluate.bench.contenders import (
    FLOOR,
    OURS,
    OURS_EAGER,
    PUBLISHED,
    Floor,
    Subject,
    count_gflop,
)
from groupcam.evaluate.bench.early import EarlyAreas, early_steps
from groupcam.evaluate.bench.memory import growth_mib
from groupcam.evaluate.bench.pictures import picture_files, read_inputs
from groupcam.evaluate.bench.published import (
    convolved_blur,
    plain_copy,
    published_curves,
    published_group_cam,
)
from groupcam.evaluate.bench.report import (
    SECTION_END,
    SECTION_START,
    readme_section,
    write_readme_section,
)
from groupcam.evaluate.bench.results import (
    BenchResults,
    BenchSettings,
    GrowthPoint,
    NetworkBench,
    Timing,
    load_results,
    ratio,
    save_results,
)
from groupcam.evaluate.bench.rounds import alternate, growth_points
from groupcam.evaluate.bench.speedups import SpeedupCheck, speedup_steps
from groupcam.metrics import CurveProtocol
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency import finish
from groupcam.saliency.perturb import gaussian_blur
from tests.support import ROOT

SMALL = "timm/test_resnet"
RESULTS = ROOT / "assets" / "bench.json"


# --- the plain form ----------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [None, 70.0])
def test_the_plain_form_gives_the_map_of_explain(
    tiny_cnn: Backbone, tiny_inputs: Tensor, percentile: float | None
) -> None:
    config = dataclasses.replace(
        GroupCamConfig.paper(),
        groups=5,
        percentile=percentile,
        blur_kernel_px=9,
        blur_sigma_px=4.0,
    )
    layer = resolve_target_layer(tiny_cnn, "features.4")

    plain = published_group_cam(plain_copy(tiny_cnn), tiny_inputs[:1], layer, config)

    ours = explain(tiny_cnn, tiny_inputs[:1], config, layer.name).saliency_map[0]
    assert ours.max() == 1
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-4)


def test_the_plain_form_gives_the_curves_of_insertion_deletion(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    protocol = CurveProtocol(pixels_per_step=100, blur_kernel_px=9, blur_sigma_px=4.0)
    saliency = torch.rand(1, 32, 32, generator=generator)

    insertion, deletion = published_curves(
        plain_copy(tiny_cnn), tiny_inputs[:1], saliency[0], 1, protocol
    )

    ours = insertion_deletion(tiny_cnn, tiny_inputs[:1], saliency, 1, protocol=protocol)[0]
    torch.testing.assert_close(insertion, ours.insertion, rtol=0, atol=1e-5)
    torch.testing.assert_close(deletion, ours.deletion, rtol=0, atol=1e-5)


def test_the_convolved_blur_is_the_blur(tiny_inputs: Tensor) -> None:
    blurred = convolved_blur(tiny_inputs[:1], 3.0, 11)

    torch.testing.assert_close(blurred, gaussian_blur(tiny_inputs[:1], 3.0, 11), rtol=0, atol=1e-5)


def test_the_plain_form_leaves_the_network_and_ours_alone(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    tiny_cnn.network.requires_grad_(False)
    plain = plain_copy(tiny_cnn)
    layer = resolve_target_layer(tiny_cnn, "features.4")

    published_group_cam(plain, tiny_inputs[:1], layer, GroupCamConfig(groups=3, blur_kernel_px=9))

    assert all(parameter.grad is None for parameter in plain.network.parameters())
    assert not any(parameter.requires_grad for parameter in tiny_cnn.network.parameters())
    assert not any(module._forward_hooks for module in plain.network.modules())


# --- measuring ---------------------------------------------------------------------------------


def test_all_contenders_have_the_same_picture_in_a_round() -> None:
    seen: list[tuple[str, float]] = []
    pictures = [torch.tensor([float(number)]) for number in range(2)]

    found = alternate(
        {
            "first": lambda picture: seen.append(("first", picture.item())),
            "second": lambda picture: seen.append(("second", picture.item())),
        },
        pictures,
        repeats=3,
    )

    turns = [seen[start : start + 2] for start in range(0, len(seen), 2)]
    assert [sorted(one) for one in turns[1:]] == [
        [("first", number), ("second", number)] for number in (0.0, 1.0, 0.0)
    ]
    assert turns[1][0][0] != turns[2][0][0]  # the order alternates
    assert [len(timing.seconds) for timing in found.values()] == [3, 3]


def test_long_runs_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LONG_S", 0.0)
    calls: list[int] = []

    found = alternate({"long": lambda _: calls.append(1)}, [torch.zeros(1)], repeats=5)

    assert len(calls) == len(found["long"].seconds) == 1


def test_ratios_are_those_of_the_same_round() -> None:
    # A busy second round, which doubles both, does not widen the spread.
    found = ratio(Timing((3.0, 8.0, 3.2)), Timing((1.0, 2.0, 1.0)))

    assert (found.median, found.low, found.high) == (3.2, 3.0, 4.0)
    once = ratio(Timing((10.0,)), Timing((1.0, 2.0, 4.0)))
    assert (once.median, once.low, once.high) == (5.0, 5.0, 5.0)


def test_the_floor_runs_all_pictures_in_parts() -> None:
    sizes: list[int] = []

    Floor("graph", 4, lambda inputs: sizes.append(len(inputs))).runner(10)(torch.zeros(1, 3, 2, 2))

    assert sizes == [4, 4, 2]


def test_operations_are_counted(tiny_cnn: Backbone) -> None:
    layer = resolve_target_layer(tiny_cnn, "features.4")

    found = count_gflop(Subject(tiny_cnn, tiny_cnn, tiny_cnn, layer, 0.0))

    # Two operations a weight and place: 8 x 3 x 9 weights at 32 x 32, 12 x 8 x 9 at 16 x 16, and
    # the head.
    assert found == pytest.approx(2 * (216 * 1024 + 864 * 256 + 12 * 3) / 1e9)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_growth_is_what_a_run_takes_at_its_peak() -> None:
    def take_100_mib(_picture: Tensor) -> None:
        torch.ones(100, 2**18)  # float32

    assert growth_mib(take_100_mib, torch.zeros(1)) == pytest.approx(100, abs=5)
    assert growth_mib(lambda _: None, torch.zeros(1)) == pytest.approx(0, abs=5)


MEMORY_SCRIPT = """
import torch
from groupcam import GroupCamConfig, explain, load_backbone
from groupcam.evaluate.bench.memory import growth_mib
torch.set_num_threads(1)
backbone = load_backbone("timm/tf_efficientnet_lite0")
picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
run = lambda groups: lambda x: explain(backbone, x, GroupCamConfig(groups=groups), "blocks.6")
run(2)(picture)
print(growth_mib(run(32), picture), growth_mib(run(256), picture))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_number_of_groups() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT], capture_output=True, text=True, cwd=ROOT, check=True
    )

    few, many = map(float, done.stdout.split())
    assert many <= 1.2 * few


def test_growth_goes_along_one_axis_at_a_time() -> None:
    settings = BenchSettings(groups=(8, 32), sizes=(224, 512))

    assert growth_points(settings) == [(8, 224), (32, 224), (32, 512)]
    assert growth_points(dataclasses.replace(settings, sizes=())) == []


# --- pictures ----------------------------------------------------------------------------------


def test_a_stopped_bench_goes_on_and_a_finished_one_begins_anew(
    results: BenchResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def bench_network(name: str, _settings: BenchSettings) -> NetworkBench:
        measured.append(name)
        return dataclasses.replace(results.networks[0], backbone=name)

    monkeypatch.setattr(rounds, "bench_network", bench_network)
    settings = BenchSettings(backbones=("a", "b", "c"), quick=True)
    stopped = list(itertools.islice(rounds.bench_steps(settings), 2))[-1]
    others = dataclasses.replace(settings, repeats=1)

    assert rounds.progress_of(stopped) == (1, 3)
    done = finish(rounds.bench_steps(settings, stopped))
    assert measured == ["a", "b", "c"]
    assert [network.backbone for network in done.networks] == ["a", "b", "c"]
    finish(rounds.bench_steps(settings, done))
    finish(rounds.bench_steps(others, stopped))
    assert measured[3:] == ["a", "b", "c"] * 2


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")

    with pytest.raises(GroupCamError, match="must hold pictures"):
        picture_files(tmp_path)


def test_without_files_there_is_a_made_up_picture(tiny_cnn: Backbone) -> None:
    (inputs,) = read_inputs(tiny_cnn, [])

    assert inputs.shape == (1, 3, 32, 32)
    assert inputs.std() > 0.1


# --- results -----------------------------------------------------------------------------------


@pytest.fixture
def results() -> BenchResults:
    timings = {
        OURS: Timing((1.0, 1.2), 50.0),
        OURS_EAGER: Timing((2.0, 2.4), 51.0),
        PUBLISHED: Timing((4.0, 6.0), 900.0),
        FLOOR: Timing((0.8, 0.9)),
    }
    network = NetworkBench(
        backbone="timm/one",
        weights="random",
        input_size=(224, 224),
        target_layer="layer4",
        groups=32,
        forward_passes=30,
        gflop=0.5,
        plan="graph, 4 at once",
        prepare_s=2.5,
        floor="graph, 8 at once",
        maps=timings,
        curves={name: timings[name] for name in (OURS, OURS_EAGER, PUBLISHED)},
        curve_points=113,
    )
    return BenchResults(
        measured="2025-01-02",
        hardware={"processor": "a processor", "threads": 2, "matrix_product_gflops": 100},
        versions={"groupcam": "0.1.0"},
        settings=BenchSettings(backbones=("timm/one",)),
        networks=(network, dataclasses.replace(network, backbone="timm/two")),
        growth=(
            GrowthPoint("timm/one", 8, 224, timings),
            GrowthPoint("timm/one", 32, 384, {}, "takes no pictures of this size"),
        ),
    )


def test_results_are_read_back_as_they_were(results: BenchResults, tmp_path: Path) -> None:
    save_results(results, tmp_path / "bench.json")

    assert load_results(tmp_path / "bench.json") == results


def test_other_files_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(GroupCamError, match="that the bench wrote"):
        load_results(tmp_path / "bench.json")


def test_the_readme_has_every_ratio_of_the_results(results: BenchResults) -> None:
    section = readme_section(results)

    row = next(line for line in section.splitlines() if line.startswith("| timm/one"))
    assert row == "| timm/one | 1.1 s | 2.00× | 4.50× (4.00–5.00) | 0.78× (0.75–0.80) |"
    assert "takes no pictures of this size" in section
    assert "900 MiB" in section


def test_the_readme_changes_between_the_marks_only(results: BenchResults, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{SECTION_START}\nold\n{SECTION_END}\n\nThe end.\n")

    write_readme_section(results, readme)
    write_readme_section(results, readme)

    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{SECTION_START}\n")
    assert text.endswith(f"{SECTION_END}\n\nThe end.\n")
    assert "old" not in text
    assert text.count(readme_section(results)) == 1
    readme.write_text("# No marks\n")
    with pytest.raises(GroupCamError, match="must hold the lines"):
        write_readme_section(results, readme)


def test_the_readme_is_that_of_the_results_in_the_repository() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    section = text.partition(SECTION_START)[2].partition(SECTION_END)[0].strip()

    assert section == readme_section(load_results(RESULTS))


def test_the_plot_is_a_picture(results: BenchResults, tmp_path: Path) -> None:
    report.draw(results, tmp_path / "bench.png")

    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


# --- fast settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "difference", "verdict"),
    [(0.9990, 0.0020, True), (0.9989, 0.0, False), (1.0, 0.0021, False)],
)
def test_one_picture_outside_the_bounds_is_enough(
    least: float, difference: float, verdict: bool
) -> None:
    check = SpeedupCheck("timm/one", "fast", 2, (1.0, least), (0.0, difference), (0.0, 0.0))

    assert check.may_be_default is verdict


def test_fast_settings_are_compared_with_eager_float32(tmp_path: Path) -> None:
    files = [ROOT / "assets" / "examples" / "cat.jpg"]

    prepared, rough = finish(speedup_steps("timm/tf_efficientnet_lite0", files, "cpu"))

    assert (prepared.setting, rough.setting) == ("prepared", "bfloat16")
    assert prepared.may_be_default
    assert rough.least_spearman < prepared.least_spearman


def test_shares_of_areas_that_are_near_early() -> None:
    found = EarlyAreas("timm/one", 4, (0.0, 0.01, 0.02, 0.0), (0.0, 0.03, 0.0, 0.01))

    assert found.near == 6 / 8
    assert found.both_near == 2 / 4


def test_areas_early_on_the_way_are_compared_with_the_final_ones() -> None:
    files = [ROOT / "assets" / "examples" / "cat.jpg"]

    found = finish(early_steps("timm/tf_efficientnet_lite0", files, "cpu"))

    assert found.pictures == 1
    assert 0 < found.insertion_difference[0] < 0.03
    assert 0 < found.deletion_difference[0] < 0.03


# --- the command -------------------------------------------------------------------------------


def test_the_command_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--quick", "--repeats", "1", "--backbones", SMALL, "--out", str(out)]

    assert main(["bench", *options]) == 0

    shown = capsys.readouterr().out
    assert SMALL in shown
    found = json.loads((out / "bench.json").read_text())
    assert str(torch.__version__).startswith(found["versions"]["torch"])
    assert found["hardware"]["matrix_product_gflops"] > 0
    (network,) = load_results(out / "bench.json").networks
    assert set(network.maps) == {OURS, OURS_EAGER, PUBLISHED, FLOOR}
    assert network.weights == "random"
    assert (out / "bench.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--readme", "README.md"], "--out"),
        (["--limit", "3"], "--check-speedups"),
        (["--repeats", "0"], "above 0"),
    ],
)
def test_options_that_say_nothing_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *options]) == 2
    assert message in capsys.readouterr().err


# --- augmenting --------------------------------------------------------------------------------


def test_the_bare_forwards_are_as_many_as_augmenting_makes(tmp_path: Path) -> None:
    (cost,) = augmented_costs(tmp_path)

    assert 2 * 3 < cost["forward_passes"] <= 3 * (2 + 32)
    assert len(cost["augmenting"]["seconds"]) == len(cost["bare"]["seconds"]) == 2
    low, high = cost["ratio"]["low"], cost["ratio"]["high"]
    assert 0 < low <= cost["ratio"]["median"] <= high


def augmented_costs(out: Path) -> list[dict[str, Any]]:
    """Measure a small network by the command."""
    options = ["--backbones", SMALL, "--augment", "3", "--repeats", "2", "--out", str(out)]
    assert main(["bench", *options]) == 0
    found: list[dict[str, Any]] = json.loads((out / "augmenting.json").read_text("utf-8"))
    return found
