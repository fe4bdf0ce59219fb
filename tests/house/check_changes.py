#!/usr/bin/env python3
"""Checks the form of changes/: <date>-<topic>.md, lists whose text can be put together with `cat`.

usage: check_changes.py [ROOT]      prints what is wrong; exit code 1 if there is something
       check_changes.py --self-test  plants one mistake of each kind and fails if it is not seen
"""
import datetime
import pathlib
import re
import sys
import tempfile

WIDTH = 141  # of a line


def mistakes_in(name, text):
    """Yields what is wrong with a file of changes/."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(-[a-z0-9]+)+\.md", name)
    try:
        datetime.date.fromisoformat(match[1] if match else "")
    except ValueError:
        yield f"changes/{name}:1: a name is <date>-<topic>.md, such as 2026-01-31-new-rule.md"
    if not text.startswith("- ") or not text.endswith("\n"):
        yield f"changes/{name}:1: begins with '- ' and ends with a line break"
    for number, line in enumerate(text.splitlines(), 1):
        if not re.match(r"(- |  )\S", line) or line != line.rstrip():
            yield f"changes/{name}:{number}: a line begins with '- ' or goes on with two spaces: no headings, no empty lines"
        if len(line) > WIDTH:
            yield f"changes/{name}:{number}: {len(line)} columns; at most {WIDTH}"


def check(root):
    for file in sorted((root / "changes").iterdir()):
        yield from mistakes_in(file.name, file.read_text())
    for number, line in enumerate((root / "CHANGELOG.md").read_text().split("\n## ")[0].splitlines(), 1):
        if line.startswith("- "):
            yield f"CHANGELOG.md:{number}: what is not released stands in changes/<date>-<topic>.md"


def self_test():
    good = ("2026-01-31-new-rule.md", "- A rule.\n  It learns.\n")
    assert not list(mistakes_in(*good)), list(mistakes_in(*good))
    for name, text in [("2026-02-30-rule.md", good[1]), ("rule.md", good[1]), (good[0], "A rule.\n"), (good[0], "- A rule."),
                       (good[0], "- A rule.\n\n- Two.\n"), (good[0], "- A rule.\n# More\n"), (good[0], "- " + "x" * WIDTH + "\n")]:
        assert list(mistakes_in(name, text)), (name, text)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "changes").mkdir()
        (root / "CHANGELOG.md").write_text("# Changes\n\n## 0.1.0\n\n- A rule.\n")
        assert not list(check(root)), list(check(root))
        (root / "CHANGELOG.md").write_text("# Changes\n\n- A rule.\n\n## 0.1.0\n")
        assert list(check(root))


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    found = list(check(pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parents[2])))
    print("\n".join(found) or "the form of changes/ is right")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
