"""The `v4s` command: looks up the verb and runs its module, which is imported only then."""

import sys
from importlib import import_module

from video4spatial import __version__
from video4spatial.cli.errors import UserError, exit_code
from video4spatial.naming import unknown

# A verb is a module of this folder with `main(arguments: list[str])`, and a line here.
VERBS = {
    "sample": "generate the video a camera would see in the scene of a video",
    "plan": "say what a run will cost, before it runs",
    "geometry": "read cameras and depth from a video, and write them for other programs",
    "locate": "find an object in the scene of a video, marked on a frame or named",
    "train": "train a model from a configuration file",
    "score": "compare a generated video with a reference",
    "benchmark": "score a model on a frozen test set, beside the reference rows",
    "compare": "say whether one run is better than another",
    "cameras": "inspect and convert camera files",
    "curate": "look into raw captures",
    "export": "write a model as a plain Wan folder of diffusers, or in half precision",
}


def run(arguments: list[str]) -> None:
    """Run `v4s`.

    Args:
        arguments: the verb and its options.

    Raises:
        UserError: what the user can put right, in one line.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:12}{text}" for name, text in VERBS.items()]
        print("usage: v4s VERB [options]\n\nverbs:\n" + "\n".join(lines) + "\n\nv4s VERB --help explains each.")
        return
    if arguments[0] == "--version":
        print(f"v4s {__version__}")
        return
    verb, *rest = arguments
    if verb not in VERBS:
        raise UserError(unknown("verb", verb, VERBS) + f"; known: {', '.join(VERBS)}")
    import_module(f"video4spatial.cli.{verb}").main(rest)


def main() -> int:
    """Entry point of `v4s`; returns the exit code."""
    return exit_code(run, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
