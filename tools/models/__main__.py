"""Command line of the model generators: `python -m tools.models f5-tts OUT_DIR`."""

import argparse
from pathlib import Path

from tools.models.f5tts import hub_folder


def main() -> None:
    """Write models with made-up weights to a folder, and print its path."""
    parser = argparse.ArgumentParser("python -m tools.models", description="Write models with made-up weights.")
    models = parser.add_subparsers(required=True)
    f5 = models.add_parser(
        "f5-tts", help="F5-TTS v1 Base (1.35 GB) and Vocos (54 MB), as a folder for tools.servers.hub"
    )
    f5.add_argument("out_dir", type=Path, help="where to put SWivid/F5-TTS and charactr/vocos-mel-24khz")
    f5.add_argument("--seed", type=int, default=0, help="decides all values (default: 0)")
    f5.add_argument("--successor", type=float, default=0.0, metavar="FRACTION", help="draw this part of the bytes anew")
    f5.add_argument("--nudge", type=float, default=0.0, metavar="RELATIVE", help="change every value a little")
    args = parser.parse_args()
    hub_folder(args.out_dir, args.seed, changed_fraction=args.successor, nudge=args.nudge)
    print(args.out_dir)


if __name__ == "__main__":
    main()
