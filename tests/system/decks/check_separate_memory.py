"""Every deck at smoke size where host and device memory are apart, launches wait, and blocks run in another order: same bits.

    check_separate_memory.py rankine deck...
"""
import os
import pathlib
import subprocess
import sys
import tempfile

SEPARATE = {"RANKINE_MEMORY": "separate", "RANKINE_LAUNCH_DEFERRED": "1"}


def main(rankine, decks):
    assert decks
    failed = []
    for i, deck in enumerate(decks):
        with tempfile.TemporaryDirectory() as folder:
            order = ("shuffled", "reversed")[i % 2]
            for name, more in (("shared", {}), ("separate", {**SEPARATE, "RANKINE_LAUNCH_ORDER": order})):
                done = subprocess.run([rankine, "run", deck, "--smoke", "--output", f"{folder}/{name}.h5"], cwd=folder,
                                      capture_output=True, text=True, env={**os.environ, **more}, timeout=200)
                if done.returncode != 0:
                    failed.append(f"{deck}, {name} memory: exit code {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
            compared = subprocess.run([rankine, "compare", f"{folder}/shared.h5", f"{folder}/separate.h5"], capture_output=True,
                                      text=True)
            if compared.returncode != 0:
                failed.append(f"{deck}, {order}: {compared.stdout[:1500]}{compared.stderr[:500]}")
    if failed:
        sys.exit("\n".join(failed))
    print(f"{len(decks)} decks have the same bits")


if __name__ == "__main__":
    main(sys.argv[1], [str(pathlib.Path(deck).resolve()) for deck in sys.argv[2:]])
