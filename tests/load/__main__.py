"""Many visitors at once on an app of their own: python -m tests.load --visitors 50 --seconds 300.

First one visitor asks everything for the right answers, then goes on alone for comparison, then
all come. The exit status is 1 where an answer was lost or wrong.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from tests.load.app import running_app, wait_until_ready
from tests.load.crowd import crowd, right_answers, table
from tests.load.visits import Site

ALONE_S = 60.0


def main() -> None:
    """Run the load and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--alone", type=float, default=ALONE_S, help="seconds of one visitor alone")
    parser.add_argument("--url", help="of an app that runs already (default: starts one)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other visits")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if arguments.url:
            url = arguments.url.rstrip("/")
            wait_until_ready(url)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="groupcam-load-"))
            url, _ = stack.enter_context(running_app(Path(folder) / "log"))
        site = Site(url)
        right = right_answers(site)
        summaries = [
            crowd(site, right, visitors, seconds, arguments.seed).summary()
            for visitors, seconds in ((1, arguments.alone), (arguments.visitors, arguments.seconds))
        ]
    print(table(summaries))
    for summary in summaries:
        print(*summary["problems"][:20], sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(summaries, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(summary["wrong"] or summary["lost"] for summary in summaries))


if __name__ == "__main__":
    main()
