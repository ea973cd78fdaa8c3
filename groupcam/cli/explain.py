"""`explain`: one picture becomes a folder with its map, group masks, curves and numbers.

Options have the names, ranges and defaults of the API: they are read from GroupCamConfig and from
the registries of presets, views and colour maps.
"""

import argparse
import time
from pathlib import Path
from typing import Any, get_args

import torch

from groupcam.cli.bars import download_bars, run_with_bar
from groupcam.cli.config_options import add_config_options, given_config
from groupcam.cli.result_folder import (
    MANIFEST,
    check_archive_path,
    result_folder,
    write_archive,
    write_files,
)
from groupcam.images import Picture, open_picture
from groupcam.metrics import Curves, curve_steps
from groupcam.models import DEFAULT_BACKBONE, Backbone, View, load_backbone
from groupcam.models.checkpoints import sha256_of
from groupcam.render.heatmap import COLOR_MAPS, DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.saliency import PRESETS, Explanation, GroupCamConfig, explain_steps
from groupcam.share.files import archive_of, files_of, json_of
from groupcam.share.record import Network, Record, manifest_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `explain`."""
    parser.add_argument("image", metavar="IMAGE", help="picture file")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="folder for the result"
    )
    _add_network_options(parser.add_argument_group("network"))

    settings = parser.add_argument_group("Group-CAM")
    settings.add_argument(
        "--preset",
        choices=("default", *PRESETS),
        default="default",
        help="settings to start from; options given below take their places (default: default)",
    )
    add_config_options(settings)

    result = parser.add_argument_group("result")
    result.add_argument(
        "--color-map",
        choices=COLOR_MAPS,
        default=DEFAULT_COLOR_MAP,
        help="colours of the overlay (default: %(default)s)",
    )
    result.add_argument(
        "--opacity",
        metavar="N",
        type=_opacity,
        default=DEFAULT_OPACITY,
        help="share of the heatmap in the overlay, 0 to 1 (default: %(default)s)",
    )
    result.add_argument(
        "--no-curves", action="store_true", help="leave out the insertion and deletion curves"
    )
    result.add_argument(
        "--zip", metavar="FILE", type=Path, help="write everything as one ZIP file too"
    )


def run(args: argparse.Namespace) -> None:
    """Explain the picture, write the folder and print the main numbers."""
    config = config_of(args)
    picture = open_picture(args.image)
    if args.zip is not None:
        check_archive_path(args.zip)  # before the network runs
    with result_folder(args.out) as folder:
        started = time.perf_counter()
        backbone = _load(args)
        loaded = time.perf_counter()
        explanation, curves = _compute(args, backbone, picture, config)
        elapsed_s = {"loading": loaded - started, "computing": time.perf_counter() - loaded}

        record = Record(
            picture,
            _shown_name(args.image),
            sha256_of(Path(args.image)),
            args.view,
            Network.of(backbone, _weights(args), args.input_size),
            explanation,
            curves,
        )
        files = files_of(record, color_map=args.color_map, opacity=args.opacity)
        manifest = manifest_of(record)
        write_files(folder, files)
        if args.zip is not None:
            write_archive(args.zip, archive_of(files, manifest))
        write_files(folder, {MANIFEST: json_of({**manifest, "elapsed_s": elapsed_s})})
    _print_summary(args.out, backbone, picture, explanation, curves)


def _shown_name(path: str) -> str:
    """Return a file's name as text that can be written: names on Linux need not be Unicode."""
    return Path(path).name.encode("utf-8", "replace").decode("utf-8")


def config_of(args: argparse.Namespace) -> GroupCamConfig:
    """Return the preset's settings with the given options in their places."""
    preset = GroupCamConfig() if args.preset == "default" else PRESETS[args.preset]
    return given_config(args, preset)


def _add_network_options(group: Any) -> None:
    """Add what chooses the network, the layer and the class."""
    group.add_argument(
        "--backbone",
        metavar="NAME",
        default=DEFAULT_BACKBONE,
        help="see 'python -m groupcam backbones' (default: %(default)s)",
    )
    group.add_argument(
        "--weights",
        metavar="TAG|PATH",
        default="default",
        help="weight tag, checkpoint file, or none for random weights (default: %(default)s)",
    )
    group.add_argument(
        "--device", default="cpu", help="for example cuda or mps (default: %(default)s)"
    )
    group.add_argument(
        "--input-size",
        metavar="N|HxW",
        type=_input_size,
        help="side of the network's input in pixels, or height x width (default: the weights' own)",
    )
    group.add_argument(
        "--target-layer",
        metavar="NAME",
        help="see 'python -m groupcam layers' (default: the backbone's own)",
    )
    group.add_argument(
        "--class",
        dest="class_",
        metavar="NAME|INDEX",
        help="class to explain (default: the most probable)",
    )
    group.add_argument(
        "--view",
        choices=get_args(View),
        default="crop",
        help="the model's own crop, or the whole picture: stretched (whole) or with a border "
        "(fit) (default: %(default)s)",
    )


def _input_size(text: str) -> int | tuple[int, int]:
    """Return the side of a square, "224", or (H, W), "224x320"."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"must be N or HxW in pixels; got '{text}'")
    numbers = [int(side) for side in sides]
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _opacity(text: str) -> float:
    """Return a number in [0, 1], checked before the network runs."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 1; got '{text}'")
    return value


def _load(args: argparse.Namespace) -> Backbone:
    """Return the backbone that the options name."""
    with download_bars() as progress:
        return load_backbone(args.backbone, _weights(args), args.device, progress, args.input_size)


def _weights(args: argparse.Namespace) -> str | None:
    """Return the weights asked for as `load_backbone` wants them."""
    return None if args.weights == "none" else args.weights


def _compute(
    args: argparse.Namespace, backbone: Backbone, picture: Picture, config: GroupCamConfig
) -> tuple[Explanation, Curves | None]:
    """Return the explanation and, unless they are left out, its curves."""
    inputs = backbone.preprocess(picture.rgb, args.view)
    classes = None
    if args.class_ is not None:
        classes = torch.tensor([backbone.class_index_of(args.class_)], device=inputs.device)
    steps = explain_steps(backbone, inputs, config, args.target_layer, classes)
    batch = run_with_bar("Explaining", steps, lambda step: (step.done, step.total))
    if args.no_curves:
        return batch[0], None
    classes = batch.class_index.to(inputs.device)
    points = curve_steps(backbone, inputs, batch.saliency_map, classes)
    curves = run_with_bar("Curves", points, lambda step: (step.done, step.total))
    return batch[0], curves[0]


def _print_summary(
    out: Path, backbone: Backbone, picture: Picture, explanation: Explanation, curves: Curves | None
) -> None:
    """Print the main numbers for a person."""
    if backbone.caveat is not None:
        print(f"weights    {backbone.caveat}")
    print(
        f"class      {explanation.class_label} ({explanation.class_index}), "
        f"probability {explanation.probability:.1%}"
    )
    print(
        f"layer      {explanation.target_layer}, {explanation.forward_passes} forward passes "
        f"in {explanation.elapsed_s:.2f} s"
    )
    if curves is not None:
        print(f"insertion  AUC {curves.insertion_auc:.3f} (higher is better)")
        print(f"deletion   AUC {curves.deletion_auc:.3f} (lower is better)")
    if explanation.blank_reason is not None:
        print(f"blank map  {explanation.blank_reason}")
    for note in picture.notes:
        print(f"note       {note}")
    print(f"result     {out}")
