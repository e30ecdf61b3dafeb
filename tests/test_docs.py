"""The Python blocks of the documentation run as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest

from doc_blocks import DOCUMENTS, ROOT, script

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
DOCUMENT = """\
# Title

```python
answer = 6
```

```
no Python
```

```python
# not run
answer = unreachable()
```

```python
assert answer == 6
```
"""


def test_script_keeps_the_python_blocks_on_their_lines() -> None:
    lines = script(DOCUMENT).splitlines()

    assert {number: line for number, line in enumerate(lines, 1) if line} == {
        4: "answer = 6",
        12: "# not run",
        13: "answer = unreachable()",
        17: "assert answer == 6",
    }


def test_script_leaves_out_what_is_not_run() -> None:
    lines = script(DOCUMENT, runnable=True).splitlines()

    assert {number: line for number, line in enumerate(lines, 1) if line} == {
        4: "answer = 6",
        17: "assert answer == 6",
    }


@each_document
def test_blocks_compile_and_run(document: Path, tmp_path: Path) -> None:
    text = document.read_text("utf-8")
    compile(script(text), document, "exec")

    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script(text, runnable=True)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr


@each_document
def test_no_python_block_is_overlooked(document: Path) -> None:
    # An indented fence, or one with more words on its line, is neither run nor type-checked.
    text = document.read_text("utf-8")

    assert text.lower().count("```py") == text.count("\n```python\n")
