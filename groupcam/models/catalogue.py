"""Which backbones there are, and which of them load without a network connection."""

import fnmatch
from dataclasses import dataclass

from groupcam.errors import GroupCamError, alternatives, did_you_mean, shown
from groupcam.language import say
from groupcam.models.bundled import bundled_weights
from groupcam.models.libraries import LIBRARIES

# Small, quick on a CPU, and its weights come in a package: ready offline.
DEFAULT_BACKBONE = "timm/tf_efficientnet_lite0"


@dataclass(frozen=True)
class BackboneEntry:
    """One backbone that `load_backbone` accepts."""

    name: str  # "library/architecture"
    library: str
    pretrained: bool  # pretrained weights exist somewhere
    ready_offline: bool  # load_backbone(name) needs no connection


def list_backbones(pattern: str = "*") -> list[BackboneEntry]:
    """Return the backbones whose name fits a shell pattern: ready ones first, then by name.

    Args:
        pattern: as for file names, case ignored: "*resnet*", "torchvision/*".
    """
    pattern = pattern.lower()
    entries = [
        _entry(library, architecture)
        for library in LIBRARIES
        for architecture in LIBRARIES[library].tags()
        if fnmatch.fnmatchcase(f"{library}/{architecture}".lower(), pattern)
    ]
    return sorted(entries, key=lambda entry: (not entry.ready_offline, entry.name))


def weight_tags(name: str) -> tuple[str, ...]:
    """Return the tags of a backbone's pretrained classifiers, the default first.

    Raises:
        GroupCamError: there is no such backbone.
    """
    library, architecture = resolve_name(name)
    return LIBRARIES[library].tags()[architecture]


def resolve_name(name: str) -> tuple[str, str]:
    """Return (library, architecture) for a backbone's name.

    Raises:
        GroupCamError: there is no such backbone; the message names the nearest ones.
    """
    library, slash, architecture = name.partition("/")
    if slash and library in LIBRARIES and architecture in LIBRARIES[library].tags():
        return library, architecture
    names = [f"{known}/{model}" for known in LIBRARIES for model in LIBRARIES[known].tags()]
    # A bare "resnet50" is as near to a name as any library's version of it.
    bare = name.rpartition("/")[2]
    same = [known for known in names if known.partition("/")[2] == bare]
    hint = did_you_mean(name, names)
    if same:
        hint = say("refused.did_you_mean", names=alternatives([repr(known) for known in same]))
    libraries = ", ".join(LIBRARIES)
    raise GroupCamError(say("refused.backbone", libraries=libraries, given=shown(name), hint=hint))


def _entry(library: str, architecture: str) -> BackboneEntry:
    name = f"{library}/{architecture}"
    tags = LIBRARIES[library].tags()[architecture]
    bundled = bundled_weights(name)
    ready = bundled is not None and bundled.path() is not None
    if not ready and tags:
        ready = LIBRARIES[library].weights_file(architecture, tags[0]).cached() is not None
    return BackboneEntry(name, library, bool(tags) or bundled is not None, ready)
