"""Tables as text in the dialects that people have: read, or refused with the line that is at fault.

See cases.py for the usage.
"""
import gzip
import random

import cases

MODEL = "{blocks: [{name: dense, units: 4}, {name: relu}, {name: dense, units: 2}]}"


def rows(count=40):
    numbers = random.Random(3)
    return [[f"{numbers.gauss(0, 1):.4f}", f"{numbers.gauss(0, 1):.4f}", ("no", "yes")[i % 2]] for i in range(count)]


def text(separator=",", header=("a", "b", "y"), end="\n", last="", table=None):
    lines = ([separator.join(header) + last] if header else []) + [separator.join(row) + last for row in table or rows()]
    return end.join(lines) + end


def main(check):
    path = check.folder / "t.csv"

    def deck(more="task: classification"):
        return check.deck(run="{experiment: training, ranks: 1, seeds: [0], output: out.h5}", pde=None, grid=None,
                          data=f"{{name: table, path: '{path}', {more}}}", model=MODEL, formulation=None, variants=None,
                          train="{steps: 3, epochs: 0, batch: 4, learning_rate: 1e-2}")

    def same_figures(name):
        """The last run has the bits of the run on the plain table."""
        check.says(f"{name}: the same figures", check.run("compare", "plain.h5", "out.h5"), 0)

    path.write_text(text())
    check.says("a plain table", check.run("run", deck(), "--output", "plain.h5"), 0)
    plain_lines = text().splitlines()
    semicolons = text(";")
    same = {
        "comments before the header": "# made by hand\n#\n" + text(),
        "comments between rows": "\n".join([*plain_lines[:5], "  # a remark, with commas", *plain_lines[5:]]) + "\n",
        "semicolons": semicolons,
        "tabs": text("\t"),
        "blanks": text("  "),
        "a bar of blanks around commas": text(" , "),
        "a byte order mark": "\ufeff" + text(),
        "Windows line ends": text(end="\r\n"),
        "old line ends": text(end="\r"),
        "empty lines": "\n\n" + text(end="\n\n"),
        "a separator at the end of every line": text(last=","),
        "a separator at the end of the rows": text(header=None, last=",").join(["a,b,y\n", ""]),
        "a separator at the end of the header": "a,b,y,\n" + text(header=None),
        "quotes": '"a";"b";"y"\n' + text(";", header=None, table=[[a, f'"{b}"', f'"{y}"'] for a, b, y in rows()]),
        "a comma in a quoted name": text(header=("a", '"b, in m"', "y")),
        "a semicolon in a quoted name": text(header=('"a; b"', '"b"', "y")),
        "a comma in a name between semicolons": text(";", header=("a,x", "b,x", "y,x")),
        "no header": text(header=None),
        "signs": text(table=[[a if a[0] == "-" else "+" + a, b, y] for a, b, y in rows()]),
        "signs and no header": text(header=None, table=[["+" + a if a[0] != "-" else a, b, y] for a, b, y in rows()]),
        "no line end at the end": text().rstrip("\n"),
    }
    for name, content in same.items():
        path.write_bytes(content.encode())
        if check.says(name, check.run("run", deck()), 0):
            same_figures(name)
    path.write_bytes(gzip.compress(("# a comment\n" + semicolons).encode()))
    if check.says("compressed", check.run("run", deck()), 0):
        same_figures("compressed")

    never = ("different values",)
    decimal = [[a.replace(".", ","), b.replace(".", ","), y] for a, b, y in rows()]
    broken = list(plain_lines)
    broken[7] = broken[7].replace(",", ";")
    refused = {
        "a header with semicolons over commas": ("a;b;y\n" + text(header=None), "t.csv:2: is separated by ','",
                                                 "header in line 1 by ';'"),
        "a header with commas over semicolons": ("# c\na,b,y\n" + text(";", header=None), "t.csv:3: is separated by ';'",
                                                 "header in line 2 by ','"),
        "a header with blanks over commas": ("a b y\n" + text(header=None), "t.csv:2: is separated by ','", "by blanks"),
        "a header with tabs over blanks": ("a\tb\ty\n" + text(" ", header=None), "t.csv:2: is separated by blanks", "by tabs"),
        "one row with semicolons": ("\n".join(broken) + "\n", "t.csv:8: is separated by ';'"),
        "a short header": ("a,b\n" + text(header=None), "t.csv:2: has 3 fields, but the rows before have 2", "header in line 1"),
        "a long header": ("# c\n\na,b,c,y\n" + text(header=None), "t.csv:4: has 3 fields, but the rows before have 4",
                          "header in line 3"),
        "a title": ("My table\n" + text(), "t.csv:2: is separated by ','"),
        "a short row": (text() + "1,2\n", "t.csv:42: has 2 fields, but the rows before have 3"),
        "a separator at the end of one row": (text() + "1,2,no,\n", "t.csv:42: has 4 fields"),
        "decimal commas": (text(";", table=decimal), "t.csv:2: column 1 is", "a number with a decimal comma; write a point"),
        "decimal commas between commas": (text(",", table=decimal), "t.csv:2: has 5 fields, but the rows before have 3"),
        "decimal commas between commas under semicolons": ("a;b;y\n" + text(",", header=None, table=decimal), "t.csv:2: "),
        "a word among numbers": (text() + "1,two,no\n", "t.csv:42: column 2 is 'two', which is not a number"),
        "a missing number": (text() + "1,,no\n", "t.csv:42: column 2 is '', which is not a number"),
        "a missing class": (text() + "1,2,\n", "t.csv:42: column 3 is '', which is not a class"),
        "a quote that does not end": (text() + '1,"2,no\n', "t.csv:42: a field's opening quote"),
        "UTF-16": (text().encode("utf-16"), "t.csv:1: contains a zero byte", "UTF-8"),
        "comments alone": ("# a,b,y\n# 1,2,no\n", "contains no rows"),
        "a header alone": ("# c\na,b,y\n", "contains a header and no rows"),
        "one column": ("y\n" + "".join(f"{row[2]}\n" for row in rows()), "t.csv:1: has one column"),
    }
    for name, (content, *needed) in refused.items():
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        check.says(name, check.run("check", deck()), 1, *needed, never=never)
    path.write_text(text(header=("y", "b", "y")))
    check.says("a target that two columns have", check.run("check", deck("task: classification, target: y")), 1,
               "more than one column 'y'")
    path.write_text("a,b,y\n" + "".join(f"{i}e-200,{5e304 * (i % 5 - 2)},{i % 2}e-320\n" for i in range(40)))
    check.says("numbers whose squares vanish or overflow", check.run("run", deck()), 0)


cases.main(main)
