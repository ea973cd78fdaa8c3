"""Class names: short, readable, one per logit, no two alike."""

from collections import Counter
from collections.abc import Sequence

from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset


def numbered_names(classes: int) -> tuple[str, ...]:
    """Return "class 0", "class 1", ... for classes that nobody named."""
    return tuple(f"class {index}" for index in range(classes))


def unique_names(*candidates: Sequence[str]) -> tuple[str, ...]:
    """Return one name per class, each unlike all others even when case is ignored.

    Args:
        candidates: lists of names of equal length, from the shortest to the most exact; a class
            takes the first of its names that no other class shares, else its last with its number.
    """
    names = list(candidates[0])
    for longer in candidates[1:]:
        names = [
            other if clash else name
            for name, other, clash in zip(names, longer, _clashes(names), strict=True)
        ]
    return tuple(
        f"{name} (class {index})" if clash else name
        for index, (name, clash) in enumerate(zip(names, _clashes(names), strict=True))
    )


def imagenet_names(classes: int) -> tuple[str, ...] | None:
    """Return the names of the ImageNet subset with that many classes, or None if there is none."""
    subset = infer_imagenet_subset({"num_classes": classes})
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    synsets: list[str] = info.label_names()
    # "Cardigan, Cardigan Welsh corgi"
    lemmas = [info.label_name_to_description(synset) for synset in synsets]
    short = [lemma.split(",")[0].strip() for lemma in lemmas]
    exact = [f"{name} ({synset})" for name, synset in zip(short, synsets, strict=True)]
    return unique_names(short, lemmas, exact)


def _clashes(names: Sequence[str]) -> list[bool]:
    """Return for each name whether another class has it too."""
    counts = Counter(name.casefold() for name in names)
    return [counts[name.casefold()] > 1 for name in names]
