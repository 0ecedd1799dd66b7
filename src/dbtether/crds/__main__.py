"""Writes the CRDs into folders: python -m dbtether.crds config/crd/bases [--chart charts/dbtether/files/crds]."""

import argparse
from pathlib import Path

from dbtether.crds.definitions import crds


def main() -> None:
    """Write each CRD into the folder named, and a copy that outlives a Helm release into the chart's."""
    parser = argparse.ArgumentParser(prog="python -m dbtether.crds", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for the files that kubectl applies")
    parser.add_argument("--chart", type=Path, metavar="FOLDER", help="folder for the copies in the Helm chart")
    arguments = parser.parse_args()
    _write(arguments.folder, crds())
    if arguments.chart is not None:
        _write(arguments.chart, crds(kept_by_helm=True))


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
