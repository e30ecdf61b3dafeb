"""The demo: it shows what it says, and fails if the client does not do what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo.py"

# Each spoils the client; and what the demo must say then.
SABOTAGE = {
    "wrong content is taken": (
        "import tuf.ngclient.download as d; d.Part.finish = lambda self: None",
        "LengthOrHashMismatchError was expected",
    ),
    "signatures are not counted": (
        "import tuf.api.metadata as m; m.Targets.verify_received = lambda *_: None",
        "UnsignedMetadataError was expected",
    ),
    "downloaded files are forgotten": (
        "import tuf.ngclient as n; n.Updater.find_cached_target = lambda *_: None",
        "this is not so: packages/pkg-1/pkg-1-1.0.tar.gz: still as listed",
    ),
    "no target is found": (
        "import tuf.ngclient as n; n.Updater.get_targetinfo = lambda *_: None",
        "the client did not find packages/pkg-1/pkg-1-1.0.tar.gz",
    ),
}


def run(sabotage: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{sabotage}\nimport runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(DEMO)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        # A proxy that is not there: the demo must not need one.
        env={**os.environ, "PYTHONUTF8": "1", "http_proxy": "http://127.0.0.1:9"},
        check=False,
    )


@pytest.fixture(scope="module")
def output() -> str:
    demo = run()
    assert (demo.returncode, demo.stderr) == (0, "")
    return demo.stdout


@pytest.mark.parametrize(
    "line",
    [
        "asked for 2.root.json, 3.root.json (there is none), timestamp.json, 1.snapshot.json,",
        "ok        verified, and trusted now: root 2, timestamp 1, snapshot 1, targets 1",
        "ok        packages/pkg-0/ünïcode file 0.txt: length and hashes are as listed",
        "ok        the same for all 40 files, several at a time",
        "asked for 3.root.json (there is none), timestamp.json",
        "ok        project/file3.txt: length and hashes are as listed",
    ],
)
def test_good_updates_work(line: str, output: str) -> None:
    assert line in [shown.strip() for shown in output.splitlines()]


@pytest.mark.parametrize(
    ("attack", "reasons"),
    [
        ("changed file", ["LengthOrHashMismatchError: target 'packages/pkg-1/pkg-1-1.0.tar.gz':"]),
        ("changed list", ["UnsignedMetadataError: bin-1 was signed by 0/1 keys"]),
        ("old timestamp", ["BadVersionNumberError: timestamp is version 1, trusted is 2"]),
        (
            "swapped key",
            [
                "UnsignedMetadataError: root was signed by 0/2 keys",
                "UnsignedMetadataError: root was signed by 1/2 keys",
            ],
        ),
        ("bad server", ["DownloadLengthMismatchError: http://127.0.0.1:", "SlowRetrievalError: "]),
        ("frozen repository", ["ExpiredMetadataError: root version 15 expired at 2026-11-20"]),
    ],
)
def test_attacks_are_refused(attack: str, reasons: list[str], output: str) -> None:
    scene = output.partition(f"\nattack: {attack}\n")[2].partition("\n\n")[0]
    shown = [line.strip() for line in scene.splitlines() if line.startswith("  refused   ")]
    assert len(shown) == len(reasons)
    for line, reason in zip(shown, reasons, strict=True):
        assert line.startswith(f"refused   {reason}")


def test_every_attack_was_looked_at(output: str) -> None:
    assert output.count("\nattack: ") == 6
    assert output.count("  refused   ") == 8


def test_lines_fit_a_terminal_and_are_plain_text(output: str) -> None:
    assert max(len(line) for line in output.splitlines()) <= 88
    assert "\x1b" not in output


@pytest.mark.parametrize("name", SABOTAGE)
def test_demo_fails_if_the_client_is_bad(name: str) -> None:
    sabotage, said = SABOTAGE[name]
    demo = run(sabotage)
    assert demo.returncode == 1
    assert demo.stderr.startswith("\nerror: the demo failed: SurpriseError: ")
    assert said in demo.stderr
    assert "Traceback" not in demo.stderr
    assert "that was it" not in demo.stdout
