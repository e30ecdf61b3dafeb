"""The Python blocks of the documentation; run as a script, type-check them."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(text: str, *, runnable: bool = False) -> str:
    """Return the Python blocks of a document as one script, each on the lines where it stands.

    Args:
        text: The document, in Markdown.
        runnable: Leave out the blocks that begin with ``# not run``.
    """
    parts = []
    end = 0
    for block in BLOCK.finditer(text):
        if not (runnable and block[1].startswith("# not run")):
            parts += ["\n" * text.count("\n", end, block.start(1)), block[1]]
            end = block.end(1)
    return "".join(parts)


def main() -> int:
    """Type-check the documents, each as one module."""
    with TemporaryDirectory() as directory:
        modules = []
        for document in DOCUMENTS:
            # README.md becomes README.py, docs/client.md becomes docs_client.py.
            name = "_".join(document.relative_to(ROOT).with_suffix(".py").parts)
            module = Path(directory, name.replace("-", "_"))
            module.write_text(script(document.read_text("utf-8")), "utf-8")
            modules.append(module)
        return subprocess.call([sys.executable, "-m", "mypy", *modules], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
