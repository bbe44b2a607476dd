"""What README and the pages in docs/ tell their readers to type."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
HOW_TOS = sorted((ROOT / "docs").glob("*.md"))


def snippets(page: Path) -> list[str]:
    """The blocks of Python of a page, in their order."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path, start: str = "ganime-age") -> list[str]:
    """What follows `start` on every line of a page that begins with it, without the comment."""
    lines = page.read_text(encoding="utf-8")
    return re.findall(rf"^{start} (.+?)(?:\s{{2,}}#.*)?$", lines, re.MULTILINE)


def calls(page: Path) -> list[tuple[str, ast.Call]]:
    """Every call of a GanimeAge or FaceEditor method in a page's Python, by `class.method`."""
    owners = {"editor": "FaceEditor", "model": "GanimeAge", "GanimeAge": "GanimeAge"}
    found = []
    for node in (node for snippet in snippets(page) for node in ast.walk(ast.parse(snippet))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = getattr(node.func.value, "id", None)
            if owner in owners:
                found.append((f"{owners[owner]}.{node.func.attr}", node))
    return found
