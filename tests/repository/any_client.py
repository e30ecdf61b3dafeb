"""A client that needs no more than the API of tuf 7.0.1, and runs in an environment of that, too.

As a program, it reads its arguments as JSON and tells which tuf it has used.
"""

import hashlib
import json
import sys
from pathlib import Path

import tuf
from tuf.ngclient import Updater


def update(directory: str, url: str, root: str, targets: "dict[str, str | None]") -> None:
    """Update, and find these targets: by path, the SHA-256 of the content, or None for none.

    The first target that there is, is downloaded as well.
    """
    base = Path(directory)
    (base / "targets").mkdir(parents=True, exist_ok=True)
    updater = Updater(
        str(base),
        f"{url}/metadata/",
        str(base / "targets"),
        f"{url}/targets/",
        bootstrap=root.encode(),
    )
    updater.refresh()
    downloaded = False
    for path, digest in targets.items():
        info = updater.get_targetinfo(path)
        found = None if info is None else info.hashes["sha256"]
        if found != digest:
            raise AssertionError(f"{path} has the hash {found}, wanted {digest}")
        if info is not None and not downloaded:
            content = Path(updater.download_target(info)).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise AssertionError(f"{path} was downloaded with another content")
            downloaded = True


if __name__ == "__main__":
    for arguments in json.load(sys.stdin):
        try:
            update(**arguments)
        except Exception as e:  # noqa: BLE001  # whatever it is, the client has failed
            sys.exit(f"{Path(arguments['directory']).name}: {type(e).__name__}: {e}")
    print(tuf.__version__)
