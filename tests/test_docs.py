"""Runs every Python and console snippet of the documentation, and follows its links."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docsnippets import Session, Snippet, commands, environment, snippets
from tree import ROOT, packaged

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_run(path: Path, tmp_path: Path) -> None:
    session = Session(tmp_path)
    for snippet in snippets(path):
        if not snippet.skip:
            session.run(snippet)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    targets = [target for target in LINK.findall(path.read_text()) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing


@pytest.mark.slow
def test_the_operator_of_the_guide_passes_its_generated_tests(tmp_path: Path) -> None:
    """In a copy of the tree that has the class where the guide says."""
    for name in [*packaged(), "tests", "pyproject.toml"]:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / ".dev").mkdir()
    (tmp_path / ".dev/calque").symlink_to("..")
    code = snippets(ROOT / "docs/adding-an-op.md")[0].text
    family = tmp_path / "ir/ops/arithmetic.py"
    before, operators, after = family.read_text().rpartition("\nOPS = (")
    family.write_text(f"{before}{code[code.index('class') :]}{operators}Hypot, {after}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/ir/test_ops.py", "-k", "hypot"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"^10 passed", done.stdout, re.MULTILINE), done.stdout


def write(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


def test_blocks_share_a_namespace_and_a_folder(tmp_path: Path) -> None:
    text = (
        "```python\nfrom pathlib import Path\nPath('a.txt').write_text('one')\nx = 1\n```\n"
        "```console\n$ cat a.txt\none\n$ echo two words; \\\necho three\ntwo ... three\n```\n"
        "<!-- skip: shown only -->\n```python\nnonsense\n```\n"
        "```python\nassert x == 1\n```\n"
    )
    session = Session(tmp_path)
    found = snippets(write(tmp_path, text))
    assert [snippet.skip for snippet in found] == ["", "", "shown only", ""]
    for snippet in found:
        if not snippet.skip:
            session.run(snippet)


def test_a_wrong_output_fails(tmp_path: Path) -> None:
    snippet = Snippet(tmp_path / "page.md", "console", 1, "$ echo one\ntwo\n")
    with pytest.raises(AssertionError, match="but printed\none"):
        Session(tmp_path).run(snippet)


def test_a_wrong_print_fails(tmp_path: Path) -> None:
    text = "```python\nprint('one')\n```\n<!-- prints -->\n```text\ntwo\n```\n"
    python, output = snippets(write(tmp_path, text))
    session = Session(tmp_path)
    session.run(python)
    with pytest.raises(AssertionError, match="but is\none"):
        session.run(output)


def test_a_failing_command_fails(tmp_path: Path) -> None:
    snippet = Snippet(tmp_path / "page.md", "console", 1, "$ false | true\n")
    with pytest.raises(AssertionError, match="returned 1"):
        Session(tmp_path).run(snippet)


def test_errors_point_into_the_page(tmp_path: Path) -> None:
    (snippet,) = snippets(write(tmp_path, "text\n\n```python\nx = 1\n1 / 0\n```\n"))
    with pytest.raises(ZeroDivisionError) as caught:
        Session(tmp_path).run(snippet)
    assert caught.traceback[-1].lineno == 5 - 1


def test_a_block_without_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"page.md:1: a block must name its language"):
        snippets(write(tmp_path, "```\nx\n```\n"))


def test_output_before_a_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="starts with"):
        list(commands(Snippet(tmp_path / "page.md", "console", 1, "output\n")))
