import re
from collections import Counter
from pathlib import Path

import pytest
import timm
import torchvision

from groupcam.evaluate.backbone_sweep import measure, sweep_names
from groupcam.models import families as tables
from groupcam.models import list_backbones
from groupcam.models.families import (
    ArchitectureSize,
    CheckedBackbone,
    check_of,
    families,
    family_of,
    parameters_of,
    read_checks,
    read_sizes,
    write_table,
)
from tests.support import ROOT

TORCHVISION = [
    f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models)
]


# --- families --------------------------------------------------------------------------------


def test_every_backbone_is_in_one_family() -> None:
    members = Counter(name for names in families().values() for name in names)

    assert members == Counter(entry.name for entry in list_backbones())


def test_families_of_timm_are_its_modules() -> None:
    assert [family for library, family in families() if library == "timm"] == timm.list_modules()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("timm/resnet50", "resnet"),
        ("timm/tf_efficientnet_lite0", "efficientnet"),
        ("timm/deit_tiny_patch16_224", "deit"),
        ("torchvision/resnet50", "resnet"),
        ("torchvision/vit_b_16", "vision_transformer"),
        ("torchvision/inception_v3", "inception"),
        ("timm/not_there", None),
        ("resnet50", None),
    ],
)
def test_family_of_a_name(name: str, family: str | None) -> None:
    assert family_of(name) == family


def test_families_of_one_name_in_two_libraries_are_two() -> None:
    assert "timm/resnet50" in families()["timm", "resnet"]
    assert "timm/resnet50" not in families()["torchvision", "resnet"]


# --- the committed tables --------------------------------------------------------------------


def test_table_of_sizes_has_every_architecture_and_its_family() -> None:
    rows = read_sizes()

    assert {row.name: row.family for row in rows} == {
        entry.name: family_of(entry.name) for entry in list_backbones()
    }
    assert len(rows) == len({row.name for row in rows})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # As the papers count them: ResNet-50, ViT-B/16, VGG-19, with 1000 classes.
        ("timm/resnet50", 25_557_032),
        ("torchvision/resnet50", 25_557_032),
        ("timm/vit_base_patch16_224", 86_567_656),
        ("torchvision/vgg19", 143_667_240),
        ("timm/not_there", None),
    ],
)
def test_parameters_of_a_name(name: str, parameters: int | None) -> None:
    assert parameters_of(name) == parameters


@pytest.mark.parametrize(
    "name", ["timm/test_resnet", "torchvision/squeezenet1_1", "torchvision/regnet_y_400mf"]
)
def test_measuring_gives_what_the_table_has(name: str) -> None:
    assert measure(name) in read_sizes()


def test_checked_member_of_each_timm_family_is_the_smallest_classifier() -> None:
    sizes = {row.name: row.parameters for row in read_sizes() if row.is_classifier}
    checked = [row.name for row in read_checks() if row.name.startswith("timm/")]

    assert [family_of(name) for name in checked] == timm.list_modules()
    for name in checked:
        members = families()["timm", family_of(name) or ""]
        assert sizes[name] == min(sizes[member] or 0 for member in members if member in sizes)


def test_every_classifier_of_torchvision_is_checked() -> None:
    checked = [row.name for row in read_checks() if row.name not in timm_names()]

    assert sorted(checked) == sorted(TORCHVISION)


def timm_names() -> set[str]:
    return {f"timm/{name}" for name in timm.list_models()}


def test_checked_backbones_are_those_of_the_sweep() -> None:
    assert [row.name for row in read_checks()] == sweep_names(read_sizes())


def test_rows_are_complete() -> None:
    for row in read_checks():
        assert row.family == family_of(row.name)
        assert row.parameters == parameters_of(row.name)
        if row.verdict == "ok":
            assert re.fullmatch(r"([2-9]|\d\d+) x ([2-9]|\d\d+)", row.grid)
            assert row.target_layer
            assert row.layout
            assert row.channels
            assert row.passes
            assert row.seconds
        else:
            assert row.reason


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_readme_counts_what_the_tables_have(library: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sizes = [row for row in read_sizes() if row.name.startswith(f"{library}/")]
    verdicts = [row.verdict for row in read_checks() if row.name.startswith(f"{library}/")]

    line = f"| {library} | {len(sizes)} | {len(verdicts)} | {verdicts.count('ok')} |"

    assert line in text.splitlines()


# --- verdicts --------------------------------------------------------------------------------


def test_verdict_of_a_checked_backbone_is_its_own() -> None:
    check = check_of("torchvision/vgg19")

    assert check is not None
    assert (check.name, check.family) == ("torchvision/vgg19", "vgg")


def test_verdict_of_another_member_is_its_familys() -> None:
    check = check_of("timm/vgg19")

    assert check is not None
    assert (check.name, check.family) == ("timm/vgg11", "vgg")


def test_encoder_is_known_to_have_no_head_before_it_is_built() -> None:
    check = check_of("timm/gemma4_vit_570m_enc")

    assert check is not None
    assert check.verdict == "no classifier head"
    assert "timm/gemma4_vit_570m_enc is an encoder" in check.reason


@pytest.mark.parametrize("name", ["timm/not_there", "", "vgg19"])
def test_unknown_name_has_no_verdict(name: str) -> None:
    assert check_of(name) is None


def test_family_that_the_table_lacks_has_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_checks_by_name", dict)

    assert check_of("timm/vgg19") is None


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    sizes = [ArchitectureSize("timm/a", "b", 12), ArchitectureSize("timm/c", "b", None, False)]
    checks = [
        CheckedBackbone("b", "timm/a", 12, "8 x 8", "x.1", "NCHW", "2 x 2", 3, 9, 0.5),
        CheckedBackbone("b", "timm/c", verdict="crashed", reason='said "no", twice'),
    ]

    write_table(tmp_path / "sizes.csv", sizes)
    write_table(tmp_path / "checks.csv", checks)

    assert read_sizes(tmp_path / "sizes.csv") == sizes
    assert read_checks(tmp_path / "checks.csv") == checks


def test_table_with_an_unknown_verdict_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "checks.csv", [CheckedBackbone("b", "timm/a")])
    text = (tmp_path / "checks.csv").read_text()
    (tmp_path / "checks.csv").write_text(text.replace(",ok,", ",fine,"))

    with pytest.raises(ValueError, match="fine"):
        read_checks(tmp_path / "checks.csv")
