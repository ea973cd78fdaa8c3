"""Other input sizes than a network's own: which ones it takes, and how it is made to take one.

An architecture that is built for a size is built again for another one, and the library
interpolates the weights that belong to places; any other takes the size as it is, or does not.
Which is which is found by trying, on torch's "meta" device: its tensors have shapes and no
values, so a trial needs no weights and little time.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import nn

from groupcam.errors import GroupCamError
from groupcam.models.catalogue import resolve_name
from groupcam.models.libraries import LIBRARIES, Library
from groupcam.models.logits import logits_of

Size = tuple[int, int]  # (H, W) in pixels

# Shares of the weights' own side that `input_sizes` offers: 224 gives 128, 160, 192, 256, ...
OFFERED_SHARES = (1 / 2, 2 / 3, 5 / 6, 7 / 6, 4 / 3, 5 / 3, 2)
OFFERED_MULTIPLE = 32  # most networks halve their maps five times
# How networks answer to a size that they do not take: in any way, not only by assertions.
COMPLAINTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def checked_size(input_size: int | tuple[int, int]) -> Size:
    """Return (H, W) for the side of a square or (H, W).

    Raises:
        GroupCamError: a side is below 1.
        TypeError: it is neither a whole number nor two of them.
    """
    size = input_size if isinstance(input_size, Sequence) else (input_size, input_size)
    # Not isinstance: True is an int, but no size.
    if len(size) != 2 or not all(type(side) is int for side in size):
        raise TypeError(f"input_size must be a whole number or two, (H, W); got {input_size!r}.")
    if min(size) < 1:
        raise GroupCamError(f"input_size must be at least 1 pixel; got {input_size}.")
    return size[0], size[1]


def input_sizes(name: str, weights: str | None = "default") -> tuple[int, ...]:
    """Return sides of square inputs that `load_backbone(name, weights, input_size=...)` takes.

    Downloads nothing and reads no weights; known after the first call.

    Args:
        name: "library/architecture".
        weights: as for `load_backbone`.

    Returns:
        The weights' own side first (the longer one if it is not square), then others from half
        to twice of it, ascending. No others: the size is fixed.

    Raises:
        GroupCamError: there is no such backbone.
    """
    return _input_sizes(name, library_tag(name, weights))


def check_takes(name: str, tag: str | None, size: Size) -> None:
    """Try an input size (H, W) without weights.

    Raises:
        GroupCamError: the network does not take it; the message says which ones it takes.
    """
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    if size == library.preprocessing(architecture, tag).input_size:
        return
    try:
        _Sketch(library, architecture, tag).take(size)
    except COMPLAINTS as error:
        raise refusal(name, tag, size) from error


def network_for_size(name: str, tag: str | None, network: nn.Module, size: Size) -> nn.Module:
    """Return a network for another input size: itself, or a copy built for it.

    Args:
        name: "library/architecture".
        tag: whose configuration the network has; None: the default's.
        network: on the CPU, in evaluation mode, with its own input size.
        size: (H, W), one that `check_takes` has accepted.

    Raises:
        GroupCamError: the size is not possible after all.
    """
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    own = library.preprocessing(architecture, tag).input_size
    try:
        with torch.random.fork_rng(devices=[]):  # building draws weights, to be replaced
            classes = count_classes(network, own)
            return _for_size(library, architecture, tag, network, classes, size).eval()
    except COMPLAINTS as error:
        raise refusal(name, tag, size) from error


def refusal(name: str, tag: str | None, size: Size) -> GroupCamError:
    """Return the error for an input size that a network does not take."""
    own, *others = _input_sizes(name, tag)
    advice = (
        f"Choose a square one, such as {', '.join(map(str, sorted([own, *others])))}."
        if others
        else f"Its size is fixed at {own}: leave input_size out, or choose another backbone."
    )
    return GroupCamError(
        f"input_size must be one that {name} takes; got {size[0]} x {size[1]} (H x W). {advice}"
    )


def library_tag(name: str, weights: object) -> str | None:
    """Return the library's tag that `weights` name; None: the default's settings hold."""
    library, architecture = resolve_name(name)
    is_tag = isinstance(weights, str) and weights in LIBRARIES[library].tags()[architecture]
    return weights if is_tag and isinstance(weights, str) else None


@functools.cache
def _input_sizes(name: str, tag: str | None) -> tuple[int, ...]:
    """Return what `input_sizes` says of a tag."""
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    own = max(library.preprocessing(architecture, tag).input_size)
    try:
        sketch = _Sketch(library, architecture, tag)
    except COMPLAINTS:
        return (own,)  # no classifier: loading it will say so

    step = sketch.multiple
    sides = sorted({max(1, round(share * own / step)) * step for share in OFFERED_SHARES} - {own})
    # As few trials as will do, since one may cost a second: what does not take twice its size
    # takes no other, and what takes the smallest and the largest takes those between.
    if not sketch.takes((sides[-1], sides[-1])):
        sides = []
    elif not sketch.takes((sides[0], sides[0])):
        sides = [side for side in sides if sketch.takes((side, side))]
    return (own, *sides)


class _Sketch:
    """A network without values, to try input sizes with."""

    def __init__(self, library: Library, architecture: str, tag: str | None) -> None:
        """Build it and run it once at its own size; one of COMPLAINTS if that cannot be."""
        self._library = library
        self._architecture = architecture
        self._tag = tag
        self._network = _without_values(lambda: library.build(architecture, tag))
        self._classes = count_classes(
            self._network.eval(), library.preprocessing(architecture, tag).input_size
        )

    @property
    def multiple(self) -> int:
        """Return what the sides of an input should be multiples of.

        Where the first convolution cuts the picture into patches, what is left of the last patch
        would never be seen.
        """
        for module in self._network.modules():
            if isinstance(module, nn.Conv2d) and module.in_channels == 3:
                patch = module.stride[0]
                if module.kernel_size[0] == patch:
                    return patch * max(1, round(OFFERED_MULTIPLE / patch))
                break
        return OFFERED_MULTIPLE

    def takes(self, size: Size) -> bool:
        """Return whether the network takes an input size (H, W)."""
        try:
            self.take(size)
        except COMPLAINTS:
            return False
        return True

    def take(self, size: Size) -> None:
        """Run the network at an input size (H, W); one of COMPLAINTS if it does not take it."""
        least = self._library.smallest_input_size(self._architecture, self._tag)
        if size[0] < least[0] or size[1] < least[1]:
            raise ValueError(f"The library states {least} as the smallest input.")
        network = _without_values(
            lambda: _for_size(
                self._library, self._architecture, self._tag, self._network, self._classes, size
            )
        )
        count_classes(network.eval(), size)


def count_classes(network: nn.Module, size: Size) -> int:
    """Return K, found by one forward pass of zeros (1, 3, H, W) where the network is.

    Raises:
        GroupCamError: the network gives no logits (N, K).
        Exception: what the network says to an input of this size.
    """
    parameter = next(network.parameters(), None)
    device = None if parameter is None else parameter.device
    with torch.no_grad():
        return logits_of(network(torch.zeros(1, 3, *size, device=device)), 1).shape[1]


def _for_size(
    library: Library,
    architecture: str,
    tag: str | None,
    network: nn.Module,
    classes: int,
    size: Size,
) -> nn.Module:
    """Return the network if it has no size to be built for, else a copy built for `size`.

    Some that are built for a size do not refuse another one: they look up relative positions
    that are not the right ones. So those must be built.
    """
    try:
        return library.build_for_size(architecture, tag, network, classes, size)
    except TypeError:
        return network


def _without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """Return what `build` gives, on the "meta" device."""
    try:
        with torch.device("meta"):
            return build()
    except NotImplementedError:
        # Some initialisations ask for values (torchvision's RegNet); they need a real network.
        with torch.random.fork_rng(devices=[]):
            return build().to("meta")
