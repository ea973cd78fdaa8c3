import csv
from importlib.resources import files

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.metrics.coco_imagenet import (
    TABLE,
    VOC_TO_COCO,
    category_of,
    imagenet_classes,
    likeliest_class,
)
from groupcam.models.labels import imagenet_names

ALL = [one for found in imagenet_classes().values() for one in found]


def wordnet_lemmas() -> dict[str, str]:
    """Return the words of every synset that ImageNet's full hierarchy has: "cat, true cat"."""
    text = files("timm.data").joinpath("_info/imagenet_synset_to_lemma.txt").read_text("utf-8")
    return dict(line.split("\t", 1) for line in text.splitlines())


def test_every_category_is_listed_and_no_class_has_two() -> None:
    classes = imagenet_classes()

    assert len(classes) == 80
    assert sum(1 for found in classes.values() if found) == 60
    assert (
        len(ALL) == len({one.wnid for one in ALL}) == len({one.class_index for one in ALL}) == 302
    )


def test_every_class_is_one_of_imagenets_and_leads_to_its_categorys_synset() -> None:
    synsets = files("timm.data").joinpath("_info/imagenet_synsets.txt").read_text("utf-8").split()

    for one in ALL:
        assert synsets[one.class_index] == one.wnid == one.synsets[0]
        assert len(one.names) == len(one.synsets)
    for category, found in imagenet_classes().items():
        roots = {one.synsets[-1] for one in found}
        assert len(roots) <= 3, category


def test_names_are_wordnets_words_for_the_synsets() -> None:
    lemmas = wordnet_lemmas()

    checked = 0
    for one in ALL:
        for name, synset in zip(one.names, one.synsets, strict=True):
            if synset in lemmas:
                assert name in lemmas[synset].split(", "), (name, synset)
                checked += 1
    assert checked > 0.99 * sum(len(one.names) for one in ALL)


@pytest.mark.parametrize(
    ("category", "count", "some"),
    [
        ("dog", 118, {"Chihuahua", "golden retriever", "Siberian husky", "Mexican hairless"}),
        ("cat", 5, {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}),
        ("bird", 59, {"cock", "ostrich", "bald eagle", "king penguin", "kite"}),
        ("elephant", 2, {"Indian elephant", "African elephant"}),
        ("bear", 4, {"brown bear", "American black bear", "ice bear", "sloth bear"}),
        ("zebra", 1, {"zebra"}),
        ("hot dog", 1, {"hotdog"}),
        ("sandwich", 1, {"cheeseburger"}),
        ("giraffe", 0, set()),
        ("kite", 0, set()),
        ("toothbrush", 0, set()),
    ],
)
def test_categories_hold_what_one_expects(category: str, count: int, some: set[str]) -> None:
    found = imagenet_classes()[category]

    assert len(found) == count
    assert some <= {one.names[0] for one in found}


@pytest.mark.parametrize(
    "name", ["dingo", "timber wolf", "cougar", "lynx", "tiger", "giant panda", "punching bag"]
)
def test_relatives_that_coco_does_not_label_so_have_no_category(name: str) -> None:
    names = imagenet_names(1000)

    assert names is not None
    assert category_of(names.index(name)) is None


def test_classes_lead_back_to_their_category() -> None:
    assert (category_of(285), category_of(207), category_of(656)) == ("cat", "dog", "car")
    for category, found in imagenet_classes().items():
        assert {category_of(one.class_index) for one in found} <= {category}


def test_the_likeliest_class_of_a_category_is_taken() -> None:
    scores = torch.zeros(1000)
    scores[[207, 285, 281]] = torch.tensor([9.0, 2.0, 1.0])

    assert likeliest_class(scores, "cat") == 285
    assert likeliest_class(scores, "dog") == 207
    assert likeliest_class(scores, "giraffe") is None
    with pytest.raises(GroupCamError, match=r"got 'cats'. Did you mean 'cat'"):
        likeliest_class(scores, "cats")
    with pytest.raises(GroupCamError, match=r"1,000 classes, \(1000,\); got \(10,\)"):
        likeliest_class(torch.zeros(10), "cat")


def test_vocs_twenty_categories_are_cocos() -> None:
    assert len(VOC_TO_COCO) == len(set(VOC_TO_COCO.values())) == 20
    assert set(VOC_TO_COCO.values()) <= set(imagenet_classes())


def test_the_table_is_readable() -> None:
    lines = TABLE.read_text("utf-8").splitlines()

    header = [line for line in lines if line.startswith("#")]
    assert any("WordNet 3.0" in line for line in header)
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert {"category": "cat", "wnid": "n02123597", "names": "Siamese cat > domestic cat",
            "synsets": "n02123597 n02121808"} in rows  # fmt: skip
