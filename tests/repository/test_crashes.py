"""Killed at each write of a publication, whatever it publishes.

Test files have a disk in memory, where there is one: what is shown is what happens when a process
dies, not when the machine does.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from repository.world import World

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Key
from tuf.ngclient import FetcherInterface, Updater
from tuf.repository import (
    AddKey,
    AddTarget,
    ClearTargets,
    Delegate,
    ExportedDraft,
    Keyring,
    KeySource,
    RemoveTarget,
    Renew,
    RevokeKey,
    RotateKey,
    SetBins,
    SetThreshold,
    Undelegate,
)
from tuf.repository.changes import Change

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

#: Kill before and after everything that changes what is on a disk; else before each change that
#: others can see: between two of those, all is as if it had died before the second.
EVERY = bool(os.environ.get("TUF_TEST_ALL_CRASHES"))
CALLS = ("rename", "replace", "unlink", *(("mkdir", "fsync") if EVERY else ()))

Action = Callable[["Crashing"], object]


class Files(FetcherInterface):
    """Fetches from a directory: a client for each crash needs no server for each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield (self.directory / unquote(urlsplit(url).path).lstrip("/")).read_bytes()
        except FileNotFoundError:
            raise DownloadHTTPError(f"{url} is not there", 404) from None


class Crashing(World):
    """A world that can be put back to what it was."""

    def old(self, role: str) -> Key:
        return self.key("root" if role == "root" else "online")

    def save(self, name: str) -> None:
        for directory in ("repo", "client"):
            if (self.directory / directory).exists():
                shutil.copytree(self.directory / directory, self.directory / name / directory)

    def restore(self, name: str) -> None:
        for directory in ("repo", "client"):
            shutil.rmtree(self.directory / directory, ignore_errors=True)
            if (self.directory / name / directory).exists():
                shutil.copytree(self.directory / name / directory, self.directory / directory)

    def update(self, client: str) -> dict[str, str | None]:
        """Let a client update; return the targets it finds of those that may be there."""
        directory = self.directory / client
        directory.mkdir(exist_ok=True)
        updater = Updater(
            str(directory),
            "http://x/metadata/",
            target_base_url="http://x/targets/",
            fetcher=Files(self.directory / "repo"),
            bootstrap=self.store.read("metadata/1.root.json"),
        )
        updater.refresh()
        found: dict[str, str | None] = {}
        for path in PATHS:
            info = updater.get_targetinfo(path)
            found[path] = None if info is None else info.hashes["sha256"]
            if info is not None:
                file = self.directory / "downloaded"
                updater.download_target(info, str(file))
        return found

    def look(self) -> dict[str, str | None]:
        """One that knows how it was before, and a new one, find the same."""
        found = self.update("client")
        assert self.update("new-client") == found
        shutil.rmtree(self.directory / "new-client")
        return found

    def outcome(self) -> dict[str, Any]:
        """What a repository says, but for the versions of what was skipped."""
        state = self.repository.state()
        if not state.roots:
            return {}
        names = sorted({name.removesuffix(".json") for name in self.listed()})
        targets = {name: found for name in names if (found := state.targets(name)) is not None}
        signed = {"root": state.root, **{name: md.signed for name, md in targets.items()}}
        said = {name: s.to_dict() for name, s in signed.items()}
        for entry in said.values():
            entry.pop("version")
        drafts = {
            d.role: (d.signed, d.missing, d.changes)
            for d in self.repository.drafts()
            if not d.stale
        }
        return {"roles": said, "drafts": drafts, "files": sorted(self.file("targets/"))}

    def errors(self) -> list[str]:
        """What an audit says that clients fail at."""
        return [str(f) for f in self.repository.audit(hashes=True) if f.severity == "error"]

    def listed(self) -> list[str]:
        snapshot = self.repository.state().snapshot
        return [] if snapshot is None else list(snapshot.signed.meta)


PATHS = [*(f"t/{n}" for n in range(6)), "p/1", "p/s/1", "q/1", "q/2"]


def prepared(world: Crashing) -> None:
    """Delegations, nested ones, bins below a role; timestamp has two keys."""
    keys = (world.key("online"),)
    world.create(
        [
            Delegate("p", keys, paths=("p/*", "p/s/*")),
            Delegate("s", keys, paths=("p/s/*",), role="p"),
            Delegate("q", keys, paths=("q/*",)),
            SetBins(2, keys, role="q"),
            AddKey("timestamp", world.key("second")),
            *(AddTarget(f"t/{n}", data=b"%d" % n) for n in range(3)),
            AddTarget("p/1", data=b"1", role="p"),
            AddTarget("p/s/1", data=b"1", role="s"),
            AddTarget("q/1", data=b"1", role="q"),
        ]
    )
    world.key("new")


def rotate(role: str, delegator: str = "targets") -> Action:
    return lambda w: w.publish(RotateKey(role, w.old(role).keyid, w.key("new"), delegator))


def publish(*changes: Change) -> Action:
    return lambda w: w.publish(*changes)


def everything(world: Crashing) -> object:
    online, new = world.key("online"), world.key("new")
    rotations = [RotateKey(r, online.keyid, new) for r in ("timestamp", "snapshot", "targets")]
    return world.publish(
        RotateKey("root", world.key("root").keyid, new),
        *rotations,
        RotateKey("p", online.keyid, new),
        Undelegate("s", "p"),
        SetBins(1, (new,), role="q"),
        RemoveTarget("t/0"),
        AddTarget("t/1", data=b"another"),
        AddTarget("q/2", data=b"2", role="q"),
    )


def into_bins(world: Crashing) -> object:
    keys = (world.key("new"),)
    return world.publish(Undelegate("p"), Undelegate("q"), SetBins(3, keys), RemoveTarget("t/1"))


def signed_elsewhere(world: Crashing) -> object:
    """Publish a draft; then hand back its signature."""
    world.publish(AddTarget("p/1", data=b"drafted", role="p"))
    if not world.repository.drafts():
        return None
    keyring = Keyring([KeySource("online", "file:keys/online")], world.directory)
    (signature,) = ExportedDraft(world.repository.export_draft("p")).sign(keyring)
    return world.repository.import_signature(signature)


def offline(world: Crashing) -> None:
    """The key of role p is elsewhere; all others are here."""
    roles = ("timestamp", "snapshot", "targets")
    world.publish(*(RotateKey(r, world.key("online").keyid, world.key("new")) for r in roles))
    world.lose("online")


def aged(world: Crashing) -> None:
    world.publish(AddTarget("t/1", data=b"newer"), RemoveTarget("q/1", "q"))
    world.wait(days=8)
    world.repository.renew()


def nothing(_: Crashing) -> None:
    pass


#: What is done, and what was before.
KINDS: dict[str, tuple[Action, Action]] = {
    "create": (lambda w: w.create(), nothing),
    "create-with-all": (prepared, lambda w: (w.key("second"), w.key("new"))),
    "add": (publish(AddTarget("t/5", data=b"5")), prepared),
    "replace": (publish(AddTarget("t/1", data=b"other", custom={"a": 1})), prepared),
    "remove": (publish(RemoveTarget("t/1")), prepared),
    "add-in-bin": (publish(AddTarget("q/2", data=b"2", role="q")), prepared),
    "remove-in-bin": (publish(RemoveTarget("q/1", role="q")), prepared),
    "clear": (publish(ClearTargets("s")), prepared),
    "clear-bins": (publish(ClearTargets("q")), prepared),
    "delegate": (lambda w: w.publish(Delegate("n", (w.key("new"),), ("n/*",))), prepared),
    "delegate-otherwise": (
        lambda w: w.publish(Delegate("p", (w.key("new"),), ("p/*",), terminating=True)),
        prepared,
    ),
    "undelegate": (publish(Undelegate("p")), prepared),
    "more-bins": (publish(SetBins(3, role="q")), prepared),
    "fewer-bins": (publish(SetBins(1, role="q")), prepared),
    "into-bins": (into_bins, prepared),
    **{
        f"rotate-{role}": (rotate(role), prepared)
        for role in ("root", "timestamp", "snapshot", "targets", "p")
    },
    "rotate-nested": (rotate("s", "p"), prepared),
    "rotate-bins": (rotate("bins", "q"), prepared),
    "add-key": (lambda w: w.publish(AddKey("snapshot", w.key("new"))), prepared),
    "add-key-of-root": (lambda w: w.publish(AddKey("root", w.key("new"), 2)), prepared),
    "revoke-key": (
        lambda w: w.publish(RevokeKey("timestamp", w.key("online").keyid)),
        prepared,
    ),
    "threshold": (publish(SetThreshold("timestamp", 2)), prepared),
    "renew": (publish(Renew("p")), prepared),
    "renew-bin": (publish(Renew("bins-1")), prepared),
    "renew-root": (publish(Renew("root")), prepared),
    "renew-due": (lambda w: w.repository.renew(), lambda w: (prepared(w), w.wait(days=310))),
    # Here clients may fail until the publication is completed.
    "lost-key": (rotate("snapshot"), lambda w: (prepared(w), w.lose("online"))),
    "draft": (signed_elsewhere, lambda w: (prepared(w), offline(w))),
    "sweep": (lambda w: w.repository.sweep(), lambda w: (prepared(w), aged(w))),
    "everything": (everything, prepared),
}


def child(number: int | None, action: Callable[[], object]) -> int:
    """Run an action in another process, which kills itself at the moment of that number.

    Returns:
        -1 if it was killed, else how many moments there were.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        count = 0

        def moment() -> None:
            nonlocal count
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if EVERY or "/.tuf-" not in str(args[-1]):  # files that have no name yet
                    moment()
                try:
                    return call(*args, **kwargs)
                finally:
                    if EVERY:
                        moment()

            return wrapper

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            action()
            os.write(writer, str(count).encode())
        except BaseException as e:  # noqa: BLE001  # the process ends here, whatever it is
            os.write(writer, repr(e).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        text = answer.read()
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return -1
    assert text.isdecimal(), text
    return int(text)


@pytest.fixture
def crashing() -> Iterator[Crashing]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Crashing(Path(directory))


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_write(crashing: Crashing, kind: str) -> None:
    world = crashing
    action, before = KINDS[kind]
    before(world)
    world.save("before")
    exists = bool(world.repository.state().timestamp)
    found_before = world.look() if exists else {}
    world.restore("before")
    (world.directory / "client").mkdir(exist_ok=True)
    if exists:
        world.update("client")
        shutil.rmtree(world.directory / "before")
        world.save("before")

    errors = world.errors() if exists else []  # what is due may have expired

    # Undisturbed.
    moments = child(None, lambda: action(world))
    assert moments > 0
    wanted, found_after = world.outcome(), world.look()

    for moment in range(moments):
        world.restore("before")
        assert child(moment, lambda: action(world)) == -1
        if kind != "lost-key" and world.store.read("metadata/timestamp.json") is not None:
            assert world.look() in (found_before, found_after), moment
            assert world.errors() in ([], errors), moment
        action(world)
        assert world.outcome() == wanted, moment
        assert world.look() == found_after, moment
        assert world.errors() == [], moment
