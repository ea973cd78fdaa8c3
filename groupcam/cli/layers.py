"""`layers`: which layers of a network can be explained."""

import argparse

from groupcam.cli.table import print_table
from groupcam.models import load_backbone, target_layers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `layers`."""
    parser.add_argument("backbone", metavar="NAME", help="see 'python -m groupcam backbones'")


def run(args: argparse.Namespace) -> None:
    """Print one line a layer, in the order in which they run."""
    # Layers and shapes are the architecture's: nothing needs to be downloaded.
    backbone = load_backbone(args.backbone, weights=None)
    rows = []
    for layer in target_layers(backbone):
        channels, height, width = layer.shape
        note = "default" if layer.default else layer.reason or ""
        rows.append((layer.name, str(channels), f"{height} x {width}", layer.layout, note))
    print_table(("LAYER", "CHANNELS", "GRID (H x W)", "LAYOUT", ""), rows)
