import pytest

from groupcam.models.labels import imagenet_names, numbered_names, unique_names


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
