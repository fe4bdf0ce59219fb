#!/usr/bin/env python3
"""Runs the toy program through mpiexec and checks exit codes, messages, and that each message comes once.

    check_cli.py PROGRAM RANKS MPIEXEC [FLAGS...]
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

PROGRAM, RANKS, MPIEXEC = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
DECK = pathlib.Path(__file__).with_name("toy.yaml")
failures = []


def without_mpiexec(text):
    """Open MPI's mpiexec adds its own words, between dashed lines, whenever a program's exit code is not 0."""
    text = text.replace("\r\n", "\n")
    return re.sub(r"^-{20,}\n(?:Primary job|mpiexec detected|mpirun detected).*?^-{20,}\n", "", text,
                  flags=re.M | re.S)


def rankine(*arguments, environment=None):
    """(exit code, stdout, stderr) of the program in the present folder."""
    done = subprocess.run([*MPIEXEC, PROGRAM, *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **(environment or {})})
    return done.returncode, without_mpiexec(done.stdout), without_mpiexec(done.stderr)


def check(what, condition, *details):
    if not condition:
        failures.append(what)
        print(f"FAILED: {what}", *details, sep="\n  ", flush=True)


def expect_error(what, code, message, *arguments):
    """The one line on standard error is the message, and nothing else is there: no noise of MPI."""
    got, out, err = rankine(*arguments)
    check(what, got == code and err == f"rankine: error: {message}\n", f"exit code {got}, expected {code}",
          f"stderr: {err}", f"expected: rankine: error: {message}")


def test_information():
    code, out, err = rankine("--help")
    check("--help", code == 0 and out.count("Exit codes") == 1 and "compare" in out, out, err)
    for command in ["run", "check", "list", "describe", "info", "compare", "convert"]:
        code, out, err = rankine(command, "--help")
        check(f"{command} --help", code == 0 and out.count("Usage:") == 1 and err == "", out, err)
    code, out, err = rankine("--version")
    lines = out.splitlines()
    check("--version", code == 0 and len(lines) == 7 and re.match(r"rankine \d+\.\d+\.\d+ \(\w+", lines[0]) and
          re.match(r"PETSc: \d", lines[3]), out, err)
    code, out, err = rankine("list")
    check("list", code == 0 and "experiment\n  toy  ends as it is told\n" in out, out, err)
    code, out, err = rankine("describe", "toy")
    check("describe", code == 0 and "toy.weight" in out and "[kg]" in out and "greater than 0" in out, out, err)
    code, out, err = rankine("describe", "toy", "--markdown")
    check("describe --markdown", code == 0 and "| `toy.weight` | number | `0.001` |" in out, out, err)
    code, out, err = rankine("describe", "deck")
    check("describe deck", code == 0 and "seeds" in out and "[0]" in out, out, err)


def test_usage_errors():
    expect_error("no command", 1, "a command is missing; `rankine --help` shows all")
    expect_error("wrong command", 1, "unknown command 'rnu'; did you mean 'run'? (commands: run, check, list, catalogue, describe, "
                 "info, compare, doctor, convert)", "rnu", "toy.yaml")
    expect_error("wrong flag", 1, "unknown flag '--smok'; did you mean '--smoke'? `rankine run --help` shows all",
                 "run", "toy.yaml", "--smok")
    expect_error("PETSc option in the wrong place", 1, "unknown flag '-log_view'; PETSc options go after '--'; "
                 "`rankine run --help` shows all", "run", "toy.yaml", "-log_view")
    expect_error("no deck", 1, "deck is required; see `rankine run --help`", "run")
    expect_error("missing deck", 1, "nowhere.yaml: there is no such file", "run", "nowhere.yaml")
    expect_error("unknown name", 1, "describe: nothing is called 'tyo'; did you mean 'toy'?", "describe", "tyo")
    expect_error("unknown kind", 1, "list: there is no kind 'pdes'; (kinds: experiment)", "list", "pdes")


def test_input_errors():
    pathlib.Path("bad.yaml").write_text(DECK.read_text().replace("toy: {error: 0.5}", "toy: {eror: 0.5}"))
    expect_error("unknown key", 1, "bad.yaml:3:7: unknown key 'eror' in 'toy'; did you mean 'error'? (keys: error, "
                 "steps, weight, tiles, outcome) (in variant 'low')", "check", "bad.yaml")
    expect_error("unknown section", 1, "--set tyo.x: unknown key 'tyo' in the deck; did you mean 'toy'? (keys: about, run, "
                 "petsc_options, checkpoint, smoke, variants, expect, use, sweep, match, toy) (in variant 'low')", "run", "toy.yaml", "--set", "tyo.x=3")
    expect_error("unknown experiment", 1, "--set run.experiment: unknown experiment 'toi'; did you mean 'toy'? "
                 "(experiments: toy)", "run", "toy.yaml", "--set", "run.experiment=toi")
    expect_error("value out of range", 1, "--set toy.weight: 'toy.weight': '0' is out of range; allowed: a number greater "
                 "than 0 (in variant 'low')", "run", "toy.yaml", "--set", "toy.weight=0")
    expect_error("unknown metric", 1, "--set expect: expectation 'mean(eror[low]) < 1', character 6: unknown metric "
                 "'eror'; did you mean 'error'? (metrics: error, step_time)", "run", "toy.yaml", "--set",
                 "expect=['mean(eror[low]) < 1']")
    expect_error("unknown variant", 1, "--only lo: toy.yaml has no such variant; did you mean 'low'? (variants: low, high)",
                 "run", "toy.yaml", "--only", "lo")
    code, out, err = rankine("run", "toy.yaml", "--output", "toy.yaml/r.h5")
    check("unwritable output", code == 1 and err.count("rankine: error:") == 1 and "toy.yaml' is no folder" in err, code, err)
    if RANKS > 1:
        expect_error("more ranks than tiles", 1, f"--set toy.tiles: 'toy.tiles' is 1, but there are {RANKS} ranks; allowed: "
                     "at most one rank a tile (in variant 'low')", "run", "toy.yaml", "--set", "toy.tiles=1")
    prefix = f"rank {RANKS - 1}: " if RANKS > 1 else ""
    expect_error("what one rank sees while checking", 1, prefix + "data.h5: only this rank sees it",
                 "run", "toy.yaml", "--set", "toy.outcome=input_of_one_rank")
    check("no results after errors", not list(pathlib.Path().glob("*.h5*")), list(pathlib.Path().glob("*")))


def test_runs():
    code, out, err = rankine("check", "toy.yaml")
    check("check", code == 0 and out == "toy.yaml is in order: 2 variants x 2 seeds of toy, 2 expectations\n", out, err)
    code, out, err = rankine("run", "toy.yaml", "--dry-run", "--set", "toy.steps=9")
    check("dry run", code == 0 and "      steps: 9\n" in out and "      weight: 0.001\n" in out and
          f"low: 4 tiles on {RANKS} ranks\n" in out and "all: 2.9 MiB a rank, 1.0 s, results file 3.9 KiB\n" in out, out, err)
    check("nothing written so far", not list(pathlib.Path().glob("*.h5*")))

    code, out, err = rankine("run", "toy.yaml", environment={"TERM": "dumb"})
    check("run", code == 0 and err == "" and "error          0.25 +- 0.07  0.65 +- 0.07\n" in out, code, out, err)
    check("verdicts", "  pass       mean(error[low]) < 0.5 * mean(error[high])  (0.25 and 0.325, -0.075 apart, standard error 0.025)\n" in out, out)
    check("time stamps", re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ low seed 1: step 3/3, loss 3.333e-01, 1 ms a step, 0 us "
                                   r"left$", out, re.M), out)
    check("each line once", out.count("low seed 1: done in") == 1, out)
    check("results", pathlib.Path("toy.h5").exists() and not list(pathlib.Path().glob("toy.h5?*")))

    code, out, err = rankine("info", "--json", "toy.h5")
    check("info", code == 0 and json.loads(out)["variants"]["low"]["error"]["count"] == 2, out, err)
    code, out, err = rankine("run", "toy.yaml", "--output", "again.h5")
    code, out, err = rankine("compare", "toy.h5", "again.h5")
    check("compare equal", code == 0, out, err)
    code, out, err = rankine("run", "toy.yaml", "--output", "other.h5", "--set", "toy.steps=2")
    code, out, err = rankine("compare", "toy.h5", "other.h5")
    check("compare different", code == 4, out, err)

    code, out, err = rankine("run", "toy.yaml", "--set", "variants.low.toy.error=0.4")
    check("false expectation", code == 4 and "  fail       mean(error[low])" in out and err == "", code, out, err)
    code, out, err = rankine("run", "toy.yaml", "--only", "high")
    check("--only", code == 0 and "not checked  mean(error[low])" in out and "pass       max(error[high])" in out, out, err)
    code, out, err = rankine("run", "toy.yaml", "--smoke", "--set", "toy.error=2")
    check("smoke checks no expectation", code == 0 and "not checked at smoke sizes" in out, code, out, err)
    code, out, err = rankine("run", "toy.yaml", "--", "-log_viev")
    check("PETSc options", code == 0 and out.count("PETSc option '-log_viev' was never used") == 1, code, out, err)
    expect_error("--smoke finds NaN", 2, "variant 'low', seed 1: metric 'error' is nan; with --smoke every metric must be "
                 "finite", "run", "toy.yaml", "--smoke", "--set", "toy.outcome=nan")
    code, out, err = rankine("run", "toy.yaml", "--set", "toy.outcome=nan")
    check("NaN makes expectations false", code == 4 and "(mean(error[low]) is NaN)" in out, code, out, err)


SHARED = """\
use: parts/base.yaml
run: {output: shared.h5}
sweep: {toy.error: [0.1, 0.2, 0.4]}
variants:
  net: {use: [parts/heavy.yaml]}
  one: {sweep: {}, toy: {error: 0.3}}
expect:
  - monotone(mean(error[net-*]), toy.error, increasing)
  - slope(mean(error[net-*]), toy.error) >= 0.9 and spearman(mean(error[net-*]), toy.error) == 1
  - mean(error[argmin(error, net-*)]) < mean(error[one])
  - p(mean(error[net-0.4] - error[one]) > 0.09) <= 0.05
  - mean(error[one]) >= 0.44
  - mean(time_to(error <= 0.15)[one]) == 2 and mean(censored(error <= 0.15)[one]) == 0
  - mean(time_to(error <= 0.15)[net-0.4]) == 3
  - max(censored(error <= 0.1)[net-0.4]) == 1
"""


def test_decks_that_share():
    os.makedirs("parts", exist_ok=True)
    pathlib.Path("parts/base.yaml").write_text("run: {experiment: toy, seeds: [1, 2]}\ntoy: {steps: 3}\nsmoke: {toy.steps: 1}\n")
    pathlib.Path("parts/heavy.yaml").write_text("toy: {weight: 2}\n")
    deck = pathlib.Path("shared.yaml")
    deck.write_text(SHARED)
    code, out, err = rankine("run", "shared.yaml", "--dry-run")
    resolved = out[:out.index("# the partition")]
    check("the resolved deck", code == 0 and "  net-0.1:\n    toy:\n      steps: 3\n      error: 0.1\n      weight: 2\n" in resolved
          and "use" not in resolved and "sweep" not in resolved, resolved, err)
    code, out, err = rankine("run", "shared.yaml")
    verdicts = [line.split()[0] for line in out.splitlines() if re.match("  (pass|fail|undecided|void) ", line)]
    check("verdicts", code == 0 and verdicts == ["pass"] * 4 + ["undecided"] + ["pass"] * 3, code, out, err)
    check("censored runs", "2 of 2 runs: censored(error <= 0.1)" not in out and "argmin(error) is net-0.1" in out
          and "time_to(error <= 0.15) [steps]" in out, out)
    code, out, err = rankine("info", "--json", "shared.h5")
    info = json.loads(out)
    check("outcomes in the file", [e["outcome"] for e in info["expectations"]] == verdicts, out, err)
    provenance = info["provenance"]
    check("the deck and its fragments in the file", provenance["deck"] == SHARED
          and [f["name"] for f in json.loads(provenance["fragments"])] == ["parts/base.yaml", "parts/heavy.yaml"], out)

    code, out, err = rankine("run", "shared.yaml", "--only", "net", "--set", "variants.net-0.2.toy.steps=1", "--output", "net.h5")
    check("all of a sweep", code == 0 and "net-0.4 seed 2: done" in out and "one seed 1" not in out
          and "not checked  mean(error[argmin" in out, code, out, err)
    rankine("run", "shared.yaml", "--only", "net", "--output", "net.h5")
    rankine("run", "shared.yaml", "--only", "one", "--output", "one.h5")
    shutil.rmtree("parts")
    code, out, err = rankine("compare", "--merge", "net.h5", "one.h5", "--output", "both.h5")
    check("files of a sweep without its fragments", code == 0 and out.count("  pass       ") == 7, code, out, err)
    code, out, err = rankine("compare", "shared.h5", "both.h5")
    check("merged results are those of one run", code == 0, out, err)
    expect_error("a fragment is gone", 1, f"shared.yaml:1:6: 'use': there is no fragment 'parts/base.yaml'; looked for "
                 f"{pathlib.Path('parts/base.yaml').absolute()}", "check", "shared.yaml")

    void = ("--set", "expect=[\"void unless max(error[high]) < 0.1\", \"mean(error[low]) < 1\"]")
    code, out, err = rankine("run", "toy.yaml", *void, "--output", "void.h5")
    check("void", code == 4 and out.count("  void       ") == 2, code, out, err)


def test_sweeps():
    code, out, err = rankine("run", "toy.yaml", "--output", "whole.h5")
    for task in (1, 2, 3):
        code, out, err = rankine("run", "toy.yaml", "--task", f"{task}/3", "--output", "part.h5")
        check("a task", code == 0 and f"wrote part.task_{task}_of_3.h5" in out and "not checked by task" in out, code, out, err)
    parts = [f"part.task_{task}_of_3.h5" for task in (1, 2, 3)]
    code, out, err = rankine("compare", *parts, "--output", "merged.h5")
    check("merge", code == 0 and "A toy: 4 runs in 3 files\n" in out and "error  0.25 +- 0.07  0.65 +- 0.07\n" in out and
          "pass       mean(error[low]) < 0.5 * mean(error[high])" in out, code, out, err)
    code, out, err = rankine("compare", "whole.h5", "merged.h5")
    check("merged results are those of one run", code == 0, out, err)
    code, out, err = rankine("info", "--json", "merged.h5")
    check("info of merged results", code == 0 and len(json.loads(out)["runs"]) == 4 and
          json.loads(out)["provenance"]["parts"]["2"]["task"] == "2/3", out, err)
    expect_error("a task is missing", 1, "1 of 4 runs of the sweep are in none of the files; run them, or name their files "
                 "too:\n  low seed 2 (task 2)", "compare", "--merge", parts[0], parts[2])
    expect_error("a task twice", 1, f"{parts[0]} and {parts[0]} both hold low seed 1; give each run once", "compare", *parts,
                 parts[0])
    rankine("run", "toy.yaml", "--task", "2/3", "--output", "other.h5", "--set", "toy.steps=2")
    expect_error("other settings", 1, f"{parts[0]} and other.task_2_of_3.h5 are not parts of one sweep:\n"
                 "  toy.steps (variant 'low'): (not given) against 2\n  toy.steps (variant 'high'): (not given) against 2",
                 "compare", parts[0], "other.task_2_of_3.h5", parts[2])
    expect_error("too many tasks", 1, "--task 1/5: toy.yaml has 4 runs (2 variants x 2 seeds); allowed: at most as many tasks",
                 "run", "toy.yaml", "--task", "1/5")
    expect_error("no task", 1, "--task 4/3: must be I/N with I from 1 to N, for example 3/8 for the third of eight shares",
                 "run", "toy.yaml", "--task", "4/3")
    expect_error("one file", 1, "compare needs two files, or --merge with those of a sweep", "compare", "whole.h5")
    expect_error("what would be written", 1, "compare: --output is for --merge, which puts files together", "compare",
                 "whole.h5", "merged.h5", "--output", "x.h5")
    # By variant and by seed instead; a false expectation.
    false = ("--set", "variants.low.toy.error=0.4")
    for variant in ("low", "high"):
        for seed in (1, 2):
            rankine("run", "toy.yaml", "--only", variant, "--set", f"run.seeds=[{seed}]", "--output", f"{variant}{seed}.h5", *false)
    code, out, err = rankine("compare", "high2.h5", "low1.h5", "high1.h5", "low2.h5", "--output", "merged.h5")
    check("a false expectation about merged files", code == 4 and "  fail       mean(error[low])" in out, code, out, err)
    rankine("run", "toy.yaml", *false, "--output", "false.h5")
    code, out, err = rankine("compare", "false.h5", "merged.h5")
    check("merged by variant and seed", code == 0, out, err)
    code, out, err = rankine("compare", "--merge", "low1.h5", "high1.h5")
    check("an absent seed", "the deck's run.seeds name seeds that no file holds: 2;" in out, out, err)

    code, out, err = rankine("run", "toy.yaml", "--set", "run.concurrent=2", "--output", "together.h5")
    check("groups", code == 0 and ("in 2 concurrent groups" in out) == (RANKS > 1) and
          "error          0.25 +- 0.07  0.65 +- 0.07\n" in out, code, out, err)
    code, out, err = rankine("compare", "whole.h5", "together.h5")
    check("groups give the same results", code == 0, out, err)
    if RANKS > 1:
        code, out, err = rankine("run", "toy.yaml", "--dry-run", "--set", "run.concurrent=2")
        check("groups, dry", code == 0 and f"on {RANKS} ranks in 2 concurrent groups" in out and "a rank, 500 ms, results" in out,
              out, err)
        # One group fails alike on all its ranks, the other ends: one message, and the results of what is done.
        expect_error("failure of a group", 2, "rank 1: step 3: the loss is NaN; lower train.learning_rate", "run", "toy.yaml",
                     "--output", "failed.h5", "--set", "run.concurrent=2", "--set", "run.seeds=[1]", "--set",
                     "variants.high.toy.outcome=numerical")
        code, out, err = rankine("info", "failed.h5")
        check("what the other group has done", code == 0 and "INCOMPLETE: the run failed before it had high seed 1" in out
              and " 1 runs)" in out, code, out, err)
        for left in ("failed.h5", "failed.xdmf", "failed.h5.checkpoints/finished-low-seed_1.h5"):
            pathlib.Path(left).unlink(missing_ok=left.endswith(".xdmf"))


def test_failures():
    def run(outcome):
        return ("run", "toy.yaml", "--output", "failed.h5", "--set", f"toy.outcome={outcome}")
    expect_error("numerical failure", 2, "step 3: the loss is NaN; lower train.learning_rate", *run("numerical"))
    expect_error("I/O failure", 3, "disk.h5: no space left", *run("io"))
    code, out, err = rankine(*run("defect"))
    check("a defect", code == 70 and err.count("internal error") == 1, code, err)
    if RANKS > 1:
        for outcome, expected, message in [
                ("numerical_of_one_rank", 2, f"rankine: error: rank {RANKS - 1}: tile 3 is singular\n"),
                ("io_of_root", 3, "rankine: error: rank 0: fields: no space left\n")]:
            start = time.time()
            code, out, err = rankine(*run(outcome))
            check(outcome, code == expected and err.count(message) == 1, code, err)
            check(f"{outcome} ends soon", time.time() - start < 30)
    check("no results after failures", not pathlib.Path("failed.h5").exists())


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        shutil.copy(DECK, "toy.yaml")
        # What several ranks say once, one rank says too.
        tests = [test_runs, test_failures] if RANKS == 1 else [
            test_information, test_usage_errors, test_input_errors, test_runs, test_decks_that_share, test_sweeps, test_failures]
        for test in tests:
            test()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
