"""A client updates from real repositories over HTTP, and refuses what attackers make of them.

The exit code is 0 if all good updates worked and all attacks were refused.
"""

import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from tuf.api import exceptions as errors
from tuf.api.metadata import Metadata, Root, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

DATA = Path(__file__).resolve().parent.parent / "tests" / "data"
NEW, OLD, ROOTS_ONLY = "reference-7.0.1", "legacy-0.19", "sigstore-root-chain"
PROGRAM = "packages/pkg-1/pkg-1-1.0.tar.gz"
ROLES = {
    "root": "which keys sign what; version 1 comes with the application",
    "timestamp": "which snapshot is the newest; expires soon, so that news cannot be hidden",
    "snapshot": "which versions of the lists belong together",
    "targets": "the lists: length and hashes of each file",
}


class SurpriseError(Exception):
    """The client did not do what it should."""


def style(code: int, text: str) -> str:
    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def say(text: str) -> None:
    print(textwrap.fill(" ".join(text.split()), 88, initial_indent="  ", subsequent_indent="  "))


def point(word: str, color: int, text: str) -> None:
    # Key ids and hashes have 64 digits; the first few tell them apart.
    text = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1..", text)
    first, *more = textwrap.wrap(text, 76, break_on_hyphens=False)
    print(f"  {style(color, word.ljust(10))}{first}", *more, sep="\n" + " " * 12)


def ok(fact: bool, text: str) -> None:
    if not fact:
        raise SurpriseError(f"this is not so: {text}")
    point("ok", 32, text)


def refused(wanted: type[Exception], act: Callable[[], object]) -> None:
    """Let the client do something that it must not do."""
    try:
        act()
    except wanted as e:
        point("refused", 31, f"{type(e).__name__}: {e}")
    else:
        raise SurpriseError(f"the client did not refuse; {wanted.__name__} was expected")


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Repository"

    def do_GET(self) -> None:
        if self.path not in self.server.endless:
            return super().do_GET()
        block, pause = self.server.endless[self.path]
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # the client hangs up
            while True:
                self.wfile.write(block)
                time.sleep(pause)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        name = unquote(self.path).removeprefix("/metadata/").lstrip("/")
        self.server.log.append(name if code == 200 else f"{name} (there is none)")

    def log_message(self, *_: object) -> None:
        pass


class Repository(ThreadingHTTPServer):
    """A repository on a web server, and the machine of a user who updates from it."""

    def __init__(self, base: Path) -> None:
        files = base / "repository"
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(files)))
        self.metadata, self.targets = files / "metadata", files / "targets"
        self.machine = base / "machine"
        self.log: list[str] = []
        self.endless: dict[str, tuple[bytes, float]] = {}  # what to send, and seconds in between

    def client(self, root: str = "1.root.json", config: UpdaterConfig | None = None) -> Updater:
        """The updater of an application that came with a root, and nothing else."""
        url = f"http://127.0.0.1:{self.server_port}"
        return Updater(
            metadata_dir=str(self.machine / "metadata"),
            metadata_base_url=f"{url}/metadata/",
            target_dir=str(self.machine / "downloads"),
            target_base_url=f"{url}/targets/",
            config=config,
            bootstrap=(self.metadata / root).read_bytes(),
        )

    def asked(self) -> list[str]:
        """Tell what the client asked for since the last time."""
        log, self.log = self.log, []
        point("asked for", 36, ", ".join(log))
        return log


def repository_key(name: str) -> CryptoSigner:
    return CryptoSigner(load_pem_private_key((DATA / NEW / "keys" / name).read_bytes(), None))


def found(client: Updater, name: str) -> TargetFile:
    target = client.get_targetinfo(name)
    if target is None:
        raise SurpriseError(f"the client did not find {name}")
    return target


# The scenes. Their docstrings are what the demo tells of them.
def first_update(repo: Repository) -> None:
    """an application was installed with root version 1. its client knows nothing else. each
    new root must be signed by keys that the one before trusts: this is how a repository
    exchanges keys. the other files must be signed by keys that root names."""
    repo.client().refresh()
    repo.asked()
    files = {role: str(repo.machine / "metadata" / f"{role}.json") for role in ROLES}
    now = [f"{role} {Metadata.from_file(file).signed.version}" for role, file in files.items()]
    ok(now[0] == "root 2", f"verified, and trusted now: {', '.join(now)}")


def downloads(repo: Repository) -> None:
    """40 files are spread over 8 lists, called bins. the hash of a file's name tells in which
    one it is, so the client gets only that one. the file must be as the list says."""
    client = repo.client()
    client.refresh()
    repo.log.clear()
    for name in (PROGRAM, "packages/pkg-0/ünïcode file 0.txt"):
        target = found(client, name)
        content = Path(client.download_target(target)).read_bytes()
        repo.asked()
        ok(len(content) == target.length, f"{name}: length and hashes are as listed")
    files = client.download_targets(client.all_targets())
    ok(len(files) == 40, "the same for all 40 files, several at a time")
    ok(client.get_targetinfo("packages/none") is None, "packages/none: there is no such file")
    repo.log.clear()


def the_next_day(repo: Repository) -> None:
    """the application starts again. the client asks only for what may have changed."""
    client = repo.client()
    cached = client.find_cached_target(found(client, PROGRAM))
    ok(repo.asked() == ["3.root.json (there is none)", "timestamp.json"], "nothing is new")
    ok(cached is not None, f"{PROGRAM}: still as listed, not downloaded again")


def another_repository(repo: Repository) -> None:
    """this one was made with an older tool. it delegates all names like project/* to another
    team, which signs its own list with its own key."""
    client = repo.client()
    content = Path(client.download_target(found(client, "project/file3.txt"))).read_bytes()
    repo.asked()
    ok(content == b"file three\n", "project/file3.txt: length and hashes are as listed")


def attack_changed_file(repo: Repository) -> None:
    """the attacker breaks into the server, and puts a virus where a program was."""
    client = repo.client()
    target = found(client, PROGRAM)
    for file in (repo.targets / PROGRAM).parent.iterdir():
        file.write_bytes(b"v" * target.length)
    refused(errors.LengthOrHashMismatchError, lambda: client.download_target(target))
    ok(client.find_cached_target(target) is None, "there is no virus under the program's name")


def attack_changed_list(repo: Repository) -> None:
    """the attacker also puts the virus into the list, but has no key to sign the list with."""
    for file in repo.metadata.glob("*.bin-*.json"):
        metadata = Metadata[Targets].from_file(str(file))
        metadata.signed.targets[PROGRAM] = TargetFile.from_data(PROGRAM, b"virus")
        metadata.to_file(str(file))
    refused(errors.UnsignedMetadataError, lambda: repo.client().get_targetinfo(PROGRAM))


def attack_old_timestamp(repo: Repository) -> None:
    """the repository publishes timestamp version 2, and the client gets it. then the attacker
    puts version 1 back, to pass off old programs with known holes as the newest."""
    file = repo.metadata / "timestamp.json"
    old = file.read_bytes()
    metadata = Metadata[Timestamp].from_bytes(old)
    metadata.signed.version += 1
    metadata.sign(repository_key("timestamp.pem"))
    metadata.to_file(str(file))
    repo.client().refresh()
    file.write_bytes(old)
    refused(errors.BadVersionNumberError, repo.client().refresh)


def attack_swapped_key(repo: Repository) -> None:
    """the attacker publishes a root version 3 that trusts the attacker's key, and signs it with
    that; then also with a stolen one, of the two keys that must sign a root."""
    attacker = CryptoSigner.generate_ed25519()
    metadata = Metadata[Root].from_file(str(repo.metadata / "2.root.json"))
    metadata.signed.version += 1
    for role in ROLES:
        metadata.signed.add_key(attacker.public_key, role)
    metadata.signatures.clear()
    for signer in (attacker, repository_key("root-a.pem")):
        metadata.sign(signer, append=True)
        metadata.to_file(str(repo.metadata / "3.root.json"))
        refused(errors.UnsignedMetadataError, repo.client().refresh)


def attack_frozen_repository(repo: Repository) -> None:
    """the attacker shows the state of a past day for ever, so that users miss all fixes. here: real
    roots of sigstore, a public repository. the last of them should have been replaced by now."""
    refused(errors.ExpiredMetadataError, repo.client("5.root.json").refresh)
    root = Metadata[Root].from_file(str(repo.machine / "metadata" / "root.json"))
    ok(
        root.signed.version == 15,
        "before that, 10 new roots were verified, each by the one before: 6 to 15",
    )


def attack_bad_server(repo: Repository) -> None:
    """the server sends data without end, to fill up memory and disk; then, a byte now and then, so
    that the update never ends. the client was told to wait a second at most."""
    repo.endless["/metadata/timestamp.json"] = b" " * 65536, 0
    refused(errors.DownloadLengthMismatchError, repo.client().refresh)
    repo.endless["/metadata/timestamp.json"] = b" ", 0.1
    impatient = repo.client(config=UpdaterConfig(max_transfer_seconds=1))
    refused(errors.SlowRetrievalError, impatient.refresh)


def show(name: str, *scenes: Callable[[Repository], None]) -> None:
    """Play scenes on a fresh copy of a repository."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "repository", "metadata" if name == ROOTS_ONLY else "")
        shutil.copytree(DATA / name, copy, ignore=shutil.ignore_patterns("key*"))
        with Repository(Path(directory)) as repo:
            Thread(target=repo.serve_forever, args=(0.01,), daemon=True).start()
            try:
                for scene in scenes:
                    title = scene.__name__.replace("attack_", "attack: ").replace("_", " ")
                    print(f"\n{style(1, title)}")
                    say(scene.__doc__ or "")
                    scene(repo)
            finally:
                repo.shutdown()


def main() -> int:
    os.environ["no_proxy"] = "127.0.0.1"
    print(style(1, "tuf: updates that are safe even if the server is not"))
    say("""an update server hands out files. whoever breaks into it could hand out a virus. so
        next to them are four kinds of signed metadata, and a client checks all of them:""")
    for role, what in ROLES.items():
        print(f"    {role:<10} {what}")
    try:
        show(NEW, first_update, downloads, the_next_day)
        show(OLD, another_repository)
        show(NEW, attack_changed_file)
        show(NEW, attack_changed_list)
        show(NEW, attack_old_timestamp)
        show(NEW, attack_swapped_key)
        show(NEW, attack_bad_server)
        show(ROOTS_ONLY, attack_frozen_repository)
    except (SurpriseError, errors.RepositoryError, errors.DownloadError, OSError) as e:
        print(f"\nerror: the demo failed: {type(e).__name__}: {e}", file=sys.stderr)
        return 1
    print(f"\n{style(1, 'that was it')}")
    say("""all updates from the good repositories worked. all attacks, each on a fresh copy,
        were refused. all of it was real: keys, signatures, files, and HTTP on 127.0.0.1.
        README.md has the library in ten lines, examples/demo.py is this demo.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
