"""The robot's update client behind the command line that tuf-conformance drives.

All that is not the robot's is how bytes come (HTTP) and where the floor of versions is kept (a file
of its own beside the lists). Source: CLIENT-CLI.md of theupdateframework/tuf-conformance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import quote

from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from onboard.durable import write_bytes
from onboard.update_client import UpdateClient
from onboard.version_floor import FLOOR_FILE, read_floor, write_floor
from onboard.wall_clock import WallClock
from protocol.errors import WombetError

MAX_BYTES = 64 << 20
TRUSTED_ROOT = "trusted_root"


def refreshed(arguments: argparse.Namespace) -> UpdateClient:
    """A client that has looked what is published, its floor kept. Raises WombetError."""
    cache: Path = arguments.metadata_dir
    client = UpdateClient(
        cache / TRUSTED_ROOT,
        cache,
        Urllib3Fetcher(),
        WallClock(lambda: True),
        arguments.metadata_url,
        arguments.target_base_url or "",
    )
    write_floor(cache / FLOOR_FILE, client.refresh(read_floor(cache / FLOOR_FILE)))
    return client


def init(arguments: argparse.Namespace) -> None:
    """Trust a root from now on."""
    root = arguments.trusted_root.read_bytes()
    write_bytes(arguments.metadata_dir / TRUSTED_ROOT, root)
    write_bytes(arguments.metadata_dir / "root.json", root)


def refresh(arguments: argparse.Namespace) -> None:
    """Take up what is published."""
    refreshed(arguments)


def download(arguments: argparse.Namespace) -> None:
    """Fetch files, those that are held already excepted."""
    client = refreshed(arguments)
    for name in arguments.target_name:
        path = arguments.target_dir / quote(name, "")
        held = path.read_bytes() if path.exists() else None
        data = client.fetch(name, MAX_BYTES, held)
        if data is not held:
            write_bytes(path, data)


def main() -> int:
    """Exit status: 0 done, 1 refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append")
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url")
    commands = parser.add_subparsers(required=True)
    start = commands.add_parser("init")
    start.add_argument("trusted_root", type=Path)
    start.set_defaults(run=init)
    commands.add_parser("refresh").set_defaults(run=refresh)
    commands.add_parser("download").set_defaults(run=download)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except WombetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
