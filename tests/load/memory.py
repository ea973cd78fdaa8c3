"""Whether the app's memory stays level: python -m tests.load.memory (on Linux).

Visitors come one after the other, look at some maps of several backbones and leave. What the
process holds after the first explanations is held against what it holds at the end; the exit
status is 1 where that differs by more than 10 %.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.load.app import running_app
from tests.load.visits import PICTURES, Site, Visitor, fresh_sigma

# The bundled ones, and small ones with random weights.
NETWORKS = (
    ("timm/tf_efficientnet_lite0", "default"),
    ("timm/tf_efficientnet_lite1", "default"),
    ("timm/tf_efficientnet_lite2", "default"),
    ("timm/resnet10t", "random"),
    ("timm/resnet14t", "random"),
    ("timm/mobilenetv3_small_050", "random"),
    ("timm/lcnet_050", "random"),
    ("timm/tinynet_e", "random"),
    ("timm/regnetx_002", "random"),
    ("timm/mobilenetv2_050", "random"),
)
WARM = 50  # explanations after which memory is level
MOST_GROWTH = 0.1


def main() -> None:
    """Run the visits and print the memory on the way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--explanations", type=int, default=1000)
    parser.add_argument("--backbones", type=int, default=len(NETWORKS))
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--curves-every", type=int, default=10, help="draws curves of every n-th")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    if not 1 <= arguments.backbones <= len(NETWORKS):
        parser.error(f"--backbones must be 1 to {len(NETWORKS)}")
    with (
        tempfile.TemporaryDirectory(prefix="groupcam-memory-") as folder,
        running_app(Path(folder) / "log") as (url, process_id),
    ):
        site = Site(url)
        seen: dict[int, float] = {}
        visitor = Visitor(site)
        every = max(1, arguments.explanations // arguments.sessions)
        for number in range(arguments.explanations):
            if number in (WARM, *range(100, arguments.explanations, 100)):
                seen[number] = resident_mb(process_id)
                print(f"{number:5d} explanations: {seen[number]:7.0f} MB", flush=True)
            if number % every == 0:
                visitor.close()
                visitor = Visitor(site)
            name, weights = NETWORKS[number % arguments.backbones]
            picture = PICTURES[number // arguments.backbones % len(PICTURES)]
            visitor.see(
                f"?example={picture}&backbone={name}&weights={weights}",
                (name, weights),
                curves=number % arguments.curves_every == 0,
                groups=arguments.groups,
                blur_sigma_px=fresh_sigma(),
            )
        visitor.close()
        seen[arguments.explanations] = last = resident_mb(process_id)
    growth = last / seen[WARM] - 1
    print(f"{arguments.explanations:5d} explanations: {last:7.0f} MB, {growth:+.1%} since {WARM}")
    if arguments.json:
        told = {**vars(arguments), "json": None, "resident_mb": seen, "growth": growth}
        arguments.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.exit(growth > MOST_GROWTH)


def resident_mb(process_id: int) -> float:
    """Return the memory that a process holds, in MB."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024 / 1e6


if __name__ == "__main__":
    main()
