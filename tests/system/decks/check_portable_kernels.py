"""Decks at smoke size with the portable bodies of kernels: the same bits as with the tuned ones, or nearly the same numbers.

usage: check_portable_kernels.py RANKINE DECK...
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy

# Gradients of convolution weights are sums of many terms, which the host adds in lanes and a device in order.
OTHER_ORDER = {"resnet"}


def main(rankine, decks):
    with tempfile.TemporaryDirectory() as folder:
        def run(deck, choice, code=0):
            done = subprocess.run([rankine, "run", deck, "--smoke", "--output", f"{folder}/{choice}.h5"], cwd=folder, text=True,
                                  capture_output=True, env={**os.environ, "RANKINE_KERNELS": choice}, timeout=200)
            assert done.returncode == code, f"{deck}, {choice}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            return done.stdout + done.stderr

        for deck in decks:
            for choice in ("tuned", "portable"):
                run(deck, choice)
                with h5py.File(f"{folder}/{choice}.h5") as results:
                    named = results["provenance/kernels"][()].decode()
                    assert named == choice, named
            if pathlib.Path(deck).stem in OTHER_ORDER:
                losses = []
                for choice in ("tuned", "portable"):
                    with h5py.File(f"{folder}/{choice}.h5") as results:
                        losses.append(results["runs/default/seed_0/steps/loss"][()])
                # Two steps in f32.
                numpy.testing.assert_allclose(*losses, rtol=1e-6)
                continue
            same = subprocess.run([rankine, "compare", f"{folder}/tuned.h5", f"{folder}/portable.h5"], capture_output=True, text=True)
            assert same.returncode == 0, f"{deck}\n{same.stdout}{same.stderr}"
        refused = run(decks[0], "fast", code=1)
        assert "RANKINE_KERNELS: 'fast' is none of: tuned, portable" in refused, refused
    print(f"{len(decks)} decks agree")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
