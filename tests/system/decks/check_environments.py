"""Every deck at smoke size in other environments than this one: same bits.

    check_environments.py rankine environment... DECKS deck...

An environment is "NAME=value NAME=value". Of several with | between them each deck has one, in turn.
"""
import os
import pathlib
import subprocess
import sys
import tempfile


def main(rankine, environments, decks):
    assert environments and decks
    failed = []
    for i, deck in enumerate(decks):
        with tempfile.TemporaryDirectory() as folder:

            def run(name, more):
                done = subprocess.run([rankine, "run", deck, "--smoke", "--output", f"{folder}/{name}.h5"], cwd=folder,
                                      capture_output=True, text=True, env={**os.environ, **more}, timeout=200)
                if done.returncode != 0:
                    failed.append(f"{deck}, {more}: exit code {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}")

            run("here", {})
            for number, choice in enumerate(environments):
                choices = choice.split("|")
                more = dict(pair.split("=") for pair in choices[i % len(choices)].split())
                run(number, more)
                compared = subprocess.run([rankine, "compare", f"{folder}/here.h5", f"{folder}/{number}.h5"],
                                          capture_output=True, text=True)
                if compared.returncode != 0:
                    failed.append(f"{deck}, {more}: {compared.stdout[:1500]}{compared.stderr[:500]}")
    if failed:
        sys.exit("\n".join(failed))
    print(f"{len(decks)} decks have the same bits")


if __name__ == "__main__":
    at = sys.argv.index("DECKS")
    main(sys.argv[1], sys.argv[2:at], [str(pathlib.Path(deck).resolve()) for deck in sys.argv[at + 1:]])
