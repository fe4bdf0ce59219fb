"""Writes the seeds of tests/fuzz/corpus that are not found by fuzzing: small files of every kind that the program reads.

usage: make_seeds.py [CORPUS]
"""
import gzip
import io
import pathlib
import struct
import sys

import h5py
import numpy

TOP = pathlib.Path(__file__).resolve().parents[2]
DECKS = {
    "small": "about: {title: A, minutes: 1}\nrun: {experiment: x, seeds: [0, 1]}\ntrain: {count: 2, rate: 1e-3}\n",
    "variants": "run: {experiment: x}\ntrain: {count: 2}\nvariants:\n  a: {train: {rate: 0.5}}\n  b:\n    train:\n"
                "      inner: {depth: 2}\nsmoke: {train: {count: 1}}\nexpect:\n  - mean(loss[a]) < 2 * max(loss[b])\n"
                "train.count=4",
    "anchors": "run: &r {experiment: x}\ntrain: &t {values: [1, 2.5, -3e4], sizes: [1, 2]}\nvariants: {a: {train: *t}}\n",
    "texts": "run: {experiment: 'it''s'}\nabout:\n  title: \"a\\tb \\u00e9\"\n  abstract: |\n    two\n    lines\n  note: >-\n"
             "    folded\n    text\ntrain: {name: ~, flag: yes}\n# end\n",
    "patches": "run: {experiment: x}\ntrain: {values: [1, 2], values[1]: 3}\nmodel: {blocks: [a, {name: b, c: 1}], "
               "blocks[b]: {c: 2}}\nvariants: {v: {model.blocks[0..1].d: 3, model: {blocks[?]: {e: 4}}}}\n"
               "smoke: {model.blocks[*].c: 5}\nmodel.blocks[a].c=6",
    "sweep": "run: {experiment: x}\nsweep: {train.rate: [1e-3, 2], train.count: 1..3}\nvariants:\n  a: {train: {flag: true}}\n"
             "  b: {sweep: [{label: c, train: {sizes: [1, 2]}}, {train.count: 4}]}\n  d: {sweep: {}}\nsmoke: {variants: {a: "
             "{train.count: 1}, a-2-1: {train.count: 2}}}\nexpect:\n  - slope(log(mean(e[a-2-*])), log(train.count)) < 0\n"
             "variants.a-2-3.train.rate=4",
    "use": "run: {experiment: x}\nuse: [base, more]\nvariants: {a: {use: base}, b: {use: [nowhere]}}\ntrain: {count: 5}\n",
    "statistics": "run: {experiment: x}\nvariants: {a-1: , a-2: , a-4: , b-1: , b-2: , b-4: }\nexpect:\n"
                  "  - monotone(mean(e[a-*]), increasing)\n  - all(min(e[a-*] - e[b-*]) > 0) or not 1 < 2\n"
                  "  - p(abs(mean(e[a-1] - e[b-1])) < 0.1) <= 0.05\n"
                  "  - holm(p(mean(e[a-*]) > 0), p(spearman(mean(e[b-*]), train.count) != 0)) < 0.1\n"
                  "  - mean(e[argmax(f, a-*, b-1)]) / exp(median(time_to(g >= -1e3)[a-1])) < 2\n"
                  "  - void unless max(censored(g < .5)[b-2]) == 0\n",
    "expect": "run: {experiment: x}\nexpect:\n  - (std(a[default]) >= 1e-3 or not b[default] == 2) and -c[default] + 1 != 0\n",
}
EXPRESSIONS = {
    "flux": "-D*d(u, x)",
    "storage": "u + c/n*((u+1e-6)^n - 1e-6^n)",
    "branch": "if(u > 0 and v <= 1, u^2, max(v, -1, x*t))",
    "functions": "f(u, R(v)) - d(u, x, x)*(1 - u) + sin(2*pi*x/length)*exp(-t) + tanh(u*v)",
    "derivative": "d(u^2*v, x)/sqrt(1 + abs(u)) + erf(v) - log(n)",
}


def hdf5(fill, **options):
    memory = io.BytesIO()
    with h5py.File(memory, "w", **options) as file:
        fill(file)
    return memory.getvalue()


def pdebench(file, chunks=None):
    for i in range(2):
        sample = file.create_group(f"{i:04d}")
        sample.create_dataset("data", data=numpy.ones((3, 4, 1), "f4"), chunks=chunks and (1, 2, 1), compression=chunks)
        sample["grid/x"] = numpy.arange(4, dtype="f4")
        sample["grid/t"] = numpy.arange(3, dtype="f4")
        sample.attrs["config"] = "sim: 1"


def weights(file):
    file["weights/a.weight"] = numpy.ones((2, 3), "f4")
    file["weights/b"] = numpy.float64(2)


def main():
    corpus = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else TOP / "tests/fuzz/corpus")
    data = {"pdebench.h5": hdf5(pdebench), "pdebench_gzip.h5": hdf5(lambda f: pdebench(f, "gzip")),
            "pdebench_latest.h5": hdf5(pdebench, libver="latest"), "weights.h5": hdf5(weights)}
    memory = io.BytesIO()
    numpy.savez(memory, a=numpy.ones((2, 3), "f4"), b=numpy.arange(3))
    data["weights.npz"] = memory.getvalue()
    header = b'{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
    data["weights.safetensors"] = struct.pack("<Q", len(header)) + header + bytes(16)
    data["images.idx"] = struct.pack(">IIII", 0x803, 2, 2, 2) + bytes(8)
    data["images.gz"] = gzip.compress(data["images.idx"], mtime=0)
    for folder, seeds in (("deck", DECKS), ("expression", EXPRESSIONS), ("data", data)):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
        for name, content in seeds.items():
            (corpus / folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


if __name__ == "__main__":
    main()
