import pytest

from groupcam.models.labels import imagenet_names, numbered_names, unique_names
from groupcam.models.libraries import LIBRARIES


def test_imagenet_names_are_short_and_unique() -> None:
    names = imagenet_names(1000)

    assert names is not None
    assert names[285] == "Egyptian cat"
    assert len({name.casefold() for name in names}) == 1000


def test_imagenet_names_tell_both_cranes_apart() -> None:
    names = imagenet_names(1000)

    assert names is not None
    assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")
    # Two cardigans, a dog and a garment: the longer WordNet name is enough.
    assert (names[264], names[474]) == ("Cardigan, Cardigan Welsh corgi", "cardigan")


@pytest.mark.parametrize("classes", [11821, 21841, 21843])
def test_larger_imagenet_sets_have_unique_names(classes: int) -> None:
    names = imagenet_names(classes)

    assert names is not None
    assert len(set(names)) == classes


def test_other_numbers_of_classes_have_no_imagenet_names() -> None:
    assert imagenet_names(7) is None
    assert numbered_names(2) == ("class 0", "class 1")


def test_unique_names_number_what_nothing_else_tells_apart() -> None:
    assert unique_names(["a", "b", "A"]) == ("a (class 0)", "b", "A (class 2)")
    assert unique_names(["a", "a"], ["a one", "a two"]) == ("a one", "a two")


# Places and names by timm's tables of synsets (timm/data/_info): the sets order their classes
# differently, so a name at its place shows that the right table was taken.
@pytest.mark.parametrize(
    ("architecture", "tag", "classes", "place", "name"),
    [
        ("eva02_large_patch14_448", "mim_in22k_ft_in22k", 21841, 2405, "Egyptian cat"),
        ("swin_tiny_patch4_window7_224", "ms_in22k", 21841, 2405, "Egyptian cat"),
        ("vit_base_patch16_224", "augreg_in21k", 21843, 2405, "Egyptian cat"),
        ("tf_efficientnetv2_s", "in21k", 21843, 2405, "Egyptian cat"),
        ("focalnet_huge_fl3", "ms_in22k", 21842, 285, "Egyptian cat"),
        ("mixer_b16_224", "miil_in21k", 11221, 1581, "Egyptian cat"),
        ("convnext_tiny", "in12k", 11821, 1623, "Egyptian cat"),
        ("hgnetv2_b0", "ssld_stage1_in22k_in1k", 1000, 285, "Egyptian cat"),
        ("mvitv2_base_cls", "fb_inw21k", 19168, 2405, "class 2405"),  # timm has no table
        ("resnet50", None, 10000, 285, "class 285"),  # iNaturalist's number of species
    ],
)
def test_class_names_follow_the_set_that_the_weights_were_trained_on(
    architecture: str, tag: str | None, classes: int, place: int, name: str
) -> None:
    names = LIBRARIES["timm"].class_names(architecture, tag, classes)

    assert names[place] == name
    assert len({name.casefold() for name in names}) == len(names) == classes
