"""A box that a visitor drew on the picture, and how maps answer to it."""

from dataclasses import dataclass

from groupcam.errors import GroupCamError, shown
from groupcam.language import say
from groupcam.metrics.annotations import ObjectBox
from groupcam.metrics.localisation import box_mask, energy_pointing_game, pointing_game
from groupcam.ui.compared import Compared

FAR_PX = 10**9  # further than any edge; NaN is not below it


@dataclass(frozen=True)
class Pointing:
    """How a map answers to a box."""

    energy: float  # energy pointing game: the share of the map's sum inside the box, 0..1
    is_hit: bool  # pointing game: the map's peak is in the box or within 15 px of it
    box_share: float  # the box's share of what the network sees, which a flat map would have


def pointing(result: Compared, box: ObjectBox) -> Pointing:
    """Return how a map answers to a box on the picture; costs no forward pass.

    Raises:
        GroupCamError: nothing of the box lies in what the network sees.
    """
    view = result.entry.choice.view
    mask = box_mask([box], result.preprocessing, result.size_hw, view)[None]
    if not mask.any():
        raise GroupCamError(say("pointing.outside"))
    maps = result.saliency_map[None]
    top, left, bottom, right = result.inner
    return Pointing(
        float(energy_pointing_game(maps, mask)[0]),
        bool(pointing_game(maps, mask)[0]),
        float(mask[0, top:bottom, left:right].float().mean()),
    )


def parse_box(value: object) -> ObjectBox:
    """Return a box from its edges, left, top, right and bottom in pixels of the picture.

    Raises:
        GroupCamError: it is no such list, or the box has no inside.
    """
    numbers = [
        float(edge)
        for edge in (value if isinstance(value, list) else [])
        if isinstance(edge, int | float) and not isinstance(edge, bool) and abs(edge) < FAR_PX
    ]
    if len(numbers) != 4 or not isinstance(value, list) or len(value) != 4:
        raise GroupCamError(say("pointing.no_box", given=shown(value)))
    left, top, right, bottom = numbers
    if not (left < right and top < bottom):
        raise GroupCamError(say("pointing.empty_box", given=shown(value)))
    return ObjectBox("", left, top, right, bottom, is_uncertain=False)
