"""The command line: python -m groupcam VERB ...

An error is one sentence on the standard error stream, with exit code 2.
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from groupcam import __version__
from groupcam.errors import GroupCamError, WeightsUnavailableError, shown

# A verb is a module of groupcam.cli with `add_options(parser)` and `run(args)`. It is imported
# only when it is used: its choices and ranges come from modules that take seconds to load.
VERBS = {
    "explain": "Explain one picture: map, group masks, curves and numbers as files in a folder.",
    "evaluate": "Compare methods on a folder of pictures: tables, plots, a report; can be resumed.",
    "results": "Show the tables of finished evaluations again, or write them into a README.",
    "finetune": "Train a classifier on, with Group-CAM as data augmentation, or its controls.",
    "backbones": "List the networks that can be explained, those ready offline first.",
    "weights": "List all pretrained weights with size, data set, licence and accuracy.",
    "layers": "List the layers of a network that can be explained.",
    "api": "Show how to call a running page from Python, JavaScript or curl, as Markdown.",
    "bench": "Measure the speed here, side by side with the plain algorithm and the bare forwards.",
}
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise GroupCamError(f"{message}. See '{self.prog} --help'.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: arguments without the program's name; None takes those of this process.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="replace")
    try:
        for argument in arguments:
            if argument.startswith("--") and argument.endswith("=--"):
                # argparse would hand on an empty list in its place.
                raise GroupCamError(f"{argument[:-3]} must have a value; got '--'. Give another.")
        args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
        args.run(args)
        sys.stdout.flush()
    except (GroupCamError, WeightsUnavailableError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("error: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the final flush must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a name that the file system refuses, a full disk
        file = "" if error.filename is None else f"{shown(str(error.filename))}: "
        print(f"error: {file}{error.strerror or error}.", file=sys.stderr)
        return EXIT_ERROR
    return 0


def build_parser(used_verb: str | None) -> argparse.ArgumentParser:
    """Return the parser; the verb that is used has its options, the others only their names."""
    parser = _Parser(
        prog="python -m groupcam",
        description="Group-CAM: see where an image classifier looks, and why.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"groupcam {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, summary in VERBS.items():
        verb_parser = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == used_verb:
            verb = importlib.import_module(f"groupcam.cli.{name}")
            verb.add_options(verb_parser)
            verb_parser.set_defaults(run=verb.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
