#!/usr/bin/env python3
"""Checks the walls between the folders: who may include and call what.

    check_includes.py [root]       prints every violation as file:line; exit code 1 if there is one
    check_includes.py --self-test  plants one violation of each rule and fails if a rule does not see it
"""

import pathlib
import re
import sys
import tempfile

# Dependencies point downward only.
LAYERS = {
    "kernels": {"kernels"},
    "solvers": {"kernels", "solvers"},
    "src": {"kernels", "solvers", "src"},
}

# The floors of src, from the ground up: a folder includes its own headers and those of lower floors.
FLOORS = [
    {"core"},
    {"comm", "deck", "expressions"},
    {"tensor"},
    {"io", "nn", "optim", "pde"},
    {"data"},
    {"experts", "rules", "sparse"},
    {"run"},
    {"bench", "chain", "probe", "train"},
    {"methods"},
    {"experiments"},
    {"cli"},
]
FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}

# (pattern of the included header, folders or files that may include it as path patterns, the rule in words)
HEADERS = [
    (r"mpi\.h", ["src/comm/", "solvers/"], "mpi.h only in src/comm and solvers"),
    (r"(hdf5|H5\w*)\.h", ["src/io/"], "HDF5 only in src/io"),
    (r"(zlib|xxhash)\.h", ["src/io/"], "zlib and xxHash only in src/io"),
    (r"petsc\w*\.h", [r"solvers/.*\.cpp$", r"solvers/petsc\w*\.hpp$"], "PETSc only in solvers' .cpp files"),
    (r"solvers/petsc(?!_session)\w*\.hpp", ["solvers/"], "the PETSc wrappers but for the session are internal to solvers"),
    (r"yaml-cpp/.*", [r"src/deck/.*\.cpp$"], "yaml-cpp only in src/deck's .cpp files"),
    (r"Kokkos_\w+\.hpp", ["kernels/"], "Kokkos only in kernels"),
    (r"(cblas|lapacke?)\.h", ["kernels/"], "BLAS and LAPACK only in kernels"),
    (r"Random123/.*", [r"kernels/random\.hpp$"], "Random123 only in kernels/random.hpp"),
    (r"(fftw3|cufft\w*|cublas\w*)\.h", [r"kernels/blas", r"kernels/fft"],
     "FFT and device libraries only in kernels/blas* and kernels/fft*"),
    (r"cuda_\w+\.h|hip/.*", [r"kernels/device_info\.cpp$"], "the interfaces of CUDA and HIP only in kernels/device_info.cpp"),
]

# Headers that no header for the host may lead to: they hold kernels.
DEVICE_HEADER = re.compile(r"Kokkos_\w+\.hpp")

# (pattern in code, files that may have it, the rule in words)
TOKENS = [
    (r"\bK(?:OKKOS_\w+|okkos::)", ["kernels/"], "Kokkos only in kernels"),
    (r"(?:\.|->)unwrap\s*\(|\bfrom_raw\s*\(", ["kernels/"], "addresses of device memory are looked behind in kernels only"),
    (r"\bKOKKOS_ENABLE_(CUDA|HIP|SYCL)\b", [r"kernels/blas", r"kernels/fft", r"kernels/launch\.hpp$"],
     "device #ifdefs only in kernels/launch.hpp, kernels/blas* and kernels/fft*"),
    (r"\bMPI_[A-Z]\w*\s*\(", ["src/comm/", "solvers/"], "MPI calls only in src/comm and solvers"),
]

# How often each folder may go through the bridge (kernels/host_access.hpp). A number may only fall: who removes uses lowers it.
BRIDGE = re.compile(r"\bHost(?:Read|Write|Update)\s*<")
BRIDGES = {
    "src/train": 1,
    "src/experts": 20,
    "src/nn": 2,
    "src/tensor": 1,
}

# The module that owns every write, rename and removal of files in src (src/io/files.hpp).
FILES = [r"src/io/(files|safe_file|folder_lock)\.cpp$"]
CALL = r"(?<![\w.>])"  # no member of a class
FILE_TOKENS = [
    (CALL + r"(?:std::filesystem|fs)::(?:rename|remove|remove_all|copy\w*|create_\w+|resize_file|permissions|last_write_time)\s*\(",
     FILES),
    # With a leading "::" or none; a function of ours of the same name would stand in a namespace.
    (CALL + r"(?:(?<![\w>]::)::|std::)(?:rename\w*|remove|unlink\w*|rmdir|mkdir\w*|mkd?temp|mko?s?temps?|mkfifo\w*|mknod\w*|"
     r"link\w*|symlink\w*|truncate|ftruncate|creat|fopen|freopen|tmpfile|chmod|utimensat)\s*\(", FILES),
    # console.cpp asks whether a pipe, which it does not write to, has a reader.
    (r"\b(?:O_WRONLY|O_RDWR)\b", [*FILES, r"src/core/console\.cpp$"]),
    (r"\b(?:O_CREAT|O_TRUNC|O_APPEND)\b", FILES),
    (CALL + r"(?<!::)(?:rename(?:at2?)?|unlink(?:at)?|rmdir|mkdir|mkd?temp|mko?s?temps?|ftruncate|fopen|mknod|symlink)\s*\(", FILES),
    (r"(?<!<)\b(?:basic_)?(?:ofstream|fstream)\b(?!>)", FILES),
    (r"\bH5Fcreate\b|\bH5F_ACC_(?:RDWR|TRUNC)\b", [r"src/io/hdf5_file\.cpp$"]),
    # HDF5 writes what a SafeFile has reserved.
    (r"\bFile::create\s*\((?!\s*\w+(?:\.|->)temporary\(\))", [r"src/io/hdf5(_file)?\.[ch]pp$"]),
]
TOKENS += [(pattern, ["kernels/", "solvers/", *places], "files are written, moved and removed in src/io/files.hpp only")
           for pattern, places in FILE_TOKENS]

# Headers that the build writes.
GENERATED = {"rankine_revision.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def code_lines(text):
    """The lines of a source with comments and string literals blanked, so that only code is judged."""
    keep_newlines = lambda match: re.sub(r"[^\n]", " ", match.group())
    blanked = re.sub(r'//[^\n]*|/\*.*?\*/|"(\\.|[^"\\\n])*"', keep_newlines, text, flags=re.S)
    return zip(text.split("\n"), blanked.split("\n"))


def allowed(path, patterns):
    return any(re.match(pattern, path) for pattern in patterns)


def check_file(path, text, exists):
    """Yields (line number, message) for `path`, relative to the root and with forward slashes."""
    layer = path.split("/")[0]
    if path.endswith(".hpp") and not re.search(r"^#pragma once$", text, re.MULTILINE):
        yield 1, "no #pragma once: it cannot be included twice"
    for number, (line, code) in enumerate(code_lines(text), start=1):
        include = INCLUDE.match(line) if code.lstrip().startswith("#") else None
        if include:
            quoted, header = include.group(1) == '"', include.group(2)
            for pattern, places, rule in HEADERS:
                if re.fullmatch(pattern, header) and not allowed(path, places):
                    yield number, f"includes {header}: {rule}"
            top = header.split("/")[0]
            if quoted and header not in GENERATED and not exists(header):
                yield number, f'"{header}" is no path from the top of the repository'
            elif top in LAYERS and top not in LAYERS[layer]:
                yield number, f"{layer} includes {header}: dependencies point downward (kernels <- solvers <- src)"
            elif quoted and (message := check_floors(path, header)):
                yield number, message
            elif top == "tests":
                yield number, f"{layer} includes {header}: the program does not know its tests"
        for pattern, places, rule in TOKENS:
            if re.search(pattern, code) and not allowed(path, places):
                yield number, f"{re.search(pattern, code).group().strip(' (')}: {rule}"


def check_floors(path, header):
    """The message about an include within src that points upward or sideways, if it does."""
    def folder(of):
        parts = of.split("/")
        return parts[1] if parts[0] == "src" and len(parts) > 2 else None

    here, there = folder(path), folder(header)
    if here is None or there is None or here == there:
        return None
    for name in (here, there):
        if name not in FLOOR:
            return f"src/{name} stands on no floor: add it to FLOORS of tests/house/check_includes.py"
    if FLOOR[there] >= FLOOR[here]:
        return f"src/{here} includes {header}: src/{there} is not below it (FLOORS of tests/house/check_includes.py)"
    return None


def check_bridges(root, allowed_uses):
    """Yields a message for each folder of src and solvers whose uses of the bridge are not the number stated."""
    found = {}
    for layer in ("solvers", "src"):
        for file in sorted((root / layer).rglob("*.?pp")):
            uses = sum(len(BRIDGE.findall(code)) for _, code in code_lines(file.read_text()))
            folder = "/".join(file.relative_to(root).parts[:-1][:2])
            found[folder] = found.get(folder, 0) + uses
    for folder in sorted({*found, *allowed_uses}):
        uses, most = found.get(folder, 0), allowed_uses.get(folder, 0)
        if uses > most:
            yield f"{folder}:1: {uses} uses of HostRead, HostWrite, HostUpdate, but {most} are allowed: write a kernel instead"
        if uses < most:
            yield f"{folder}:1: {uses} uses of HostRead, HostWrite, HostUpdate: lower the {most} in BRIDGES of tests/house/check_includes.py"


def check_wall(root):
    """Yields a message for each file of src and solvers whose includes lead to Kokkos."""
    includes = {}

    def headers_of(path):
        if path not in includes:
            includes[path] = []
            if (root / path).is_file():
                lines = (root / path).read_text().split("\n")
                includes[path] = [match.group(2) for match in map(INCLUDE.match, lines) if match]
        return includes[path]

    for layer in ("solvers", "src"):
        for file in sorted((root / layer).rglob("*.?pp")):
            start = file.relative_to(root).as_posix()
            ways, waiting = {start: start}, [start]
            while waiting:
                path = waiting.pop()
                for header in headers_of(path):
                    if header in ways:
                        continue
                    ways[header] = f"{ways[path]} -> {header}"
                    if DEVICE_HEADER.fullmatch(header) and path != start:  # a direct include is HEADERS' affair
                        yield f"{start}:1: its includes lead to Kokkos: {ways[header]}"
                        waiting.clear()
                        break
                    waiting.append(header)


def check_tree(root, bridges=None):
    violations = [*check_bridges(root, BRIDGES if bridges is None else bridges), *check_wall(root)]
    for layer in LAYERS:
        for file in sorted((root / layer).rglob("*")):
            if file.suffix in {".cpp", ".hpp", ".h", ".cu"}:
                path = file.relative_to(root).as_posix()
                for number, message in check_file(path, file.read_text(), lambda header: (root / header).is_file()):
                    violations.append(f"{path}:{number}: {message}")
    return violations


def self_test():
    fine = {
        "kernels/blas.cpp": '#include <cblas.h>\n#include "kernels/a.hpp"\n#ifdef KOKKOS_ENABLE_CUDA\n#endif\n',
        "kernels/host.hpp": "#pragma once\n",
        "src/nn/op.cpp": '#include "kernels/host.hpp"\nHostRead<float> x(a); // HostRead<float> in a comment\n',
        "kernels/a.hpp": "#pragma once\n#include <Kokkos_Core.hpp>\n// #include <mpi.h> in a comment; MPI_Send( too\n",
        "solvers/petsc.hpp": "#pragma once\n#include <petscksp.h>\n",
        "solvers/ode.cpp": '#include <petscts.h>\n#include "solvers/petsc.hpp"\n',
        "src/comm/comm.cpp": '#include <mpi.h>\nint n = MPI_Init(0, 0); const char* s = "#include <hdf5.h>";\n',
        "src/io/file.cpp": "#include <hdf5.h>\n",
        "src/deck/node.cpp": "#include <yaml-cpp/yaml.h>\n",
        "src/io/files.cpp": "void f() { ::unlink(p); fs::remove(p); ::open(p, O_CREAT | O_RDWR); std::ofstream o; }\n",
        "src/io/hdf5_file.cpp": "int f() { return H5Fcreate(p, H5F_ACC_TRUNC); }\n",
        "src/io/results.cpp": "void f() { hdf5::File::create(safe.temporary(), p); state.remove(x); ::open(p, O_RDONLY); }\n"
                              "std::ifstream in; // fs::remove(p) and ::unlink(p) in a comment\n",
    }
    planted = {
        "kernels/bad_layer.cpp": '#include "src/io/file.hpp"\n',
        "kernels/bad_mpi.cpp": "#include <mpi.h>\n",
        "kernels/bad_device.hpp": "#pragma once\n#if defined(KOKKOS_ENABLE_CUDA)\n#endif\n",
        "solvers/bad_blas.cpp": "  #  include <lapacke.h>\n",
        "kernels/bad_fft_place.cpp": "#include <fftw3.h>\n",
        "kernels/bad_cuda.cpp": "#include <cuda_runtime_api.h>\n",
        "src/deck/bad_floor.cpp": '#include "src/io/file.hpp"\n',
        "src/comm/bad_neighbour.cpp": '#include "src/deck/low.hpp"\n',
        "src/attic/bad_folder.cpp": '#include "src/io/file.hpp"\n',
        "src/core/bad_random.cpp": "#include <Random123/philox.h>\n",
        "kernels/bad_path.cpp": '#include "a.hpp"\n',
        "solvers/bad_layer.cpp": '#include "src/io/file.hpp"\n',
        "solvers/bad_petsc.hpp": "#pragma once\n#include <petscvec.h>\n",
        "src/tensor/bad_mpi_call.cpp": "void f() { MPI_Barrier(0); }\n",
        "solvers/bad_kokkos.hpp": "#pragma once\n#include <Kokkos_Core.hpp>\n",
        "src/tensor/bad_kokkos.cpp": "#include <Kokkos_Macros.hpp>\n",
        "src/nn/bad_kokkos.cpp": "#include <Kokkos_Core.hpp>\n",
        "src/nn/bad_kokkos_call.cpp": "void f() { Kokkos::fence(); }\n",
        "solvers/bad_macro.cpp": "KOKKOS_INLINE_FUNCTION int f() { return 1; }\n",
        "src/nn/bad_way_to_kokkos.cpp": '#include "kernels/a.hpp"\n',
        "src/nn/bad_unwrap.cpp": "void f() { g(x.unwrap()); }\n",
        "src/nn/bad_from_raw.cpp": "auto f() { return DevicePtr<float>::from_raw(p); }\n",
        "src/bridged/more.cpp": "HostUpdate<double> x(a), HostWrite<float> y(b);\n",
        "src/bridges/fewer.cpp": "HostWrite <double> x(a);\n",
        "src/nn/bad_hdf5.cpp": "#include <hdf5.h>\n",
        "src/data/bad_zlib.cpp": "#include <zlib.h>\n",
        "src/nn/bad_petsc.cpp": "#include <petscvec.h>\n",
        "src/nn/bad_petsc_wrapper.cpp": '#include "solvers/petsc.hpp"\n',
        "src/nn/bad_fftw.cpp": "#include <fftw3.h>\n",
        "src/nn/bad_tests.cpp": '#include "tests/support/help.hpp"\n',
        "src/deck/bad_guard.hpp": "int once();\n",
        "src/deck/bad_yaml.hpp": "#pragma once\n#include <yaml-cpp/yaml.h>\n",
        "src/nn/bad_remove.cpp": "void f() { fs::remove_all(p); }\n",
        "src/nn/bad_rename.cpp": "void f() { std::filesystem::rename(a, b); }\n",
        "src/nn/bad_copy.cpp": "void f() { fs::copy_file(a, b); }\n",
        "src/nn/bad_folder.cpp": "void f() { fs::create_directories(p); }\n",
        "src/nn/bad_unlink.cpp": "void f() { ::unlink(p); }\n",
        "src/nn/bad_bare_unlink.cpp": "void f() { if (unlink(p) != 0) return; }\n",
        "src/nn/bad_c_remove.cpp": "void f() { std::remove(p); }\n",
        "src/nn/bad_mkdir.cpp": "void f() { if (::mkdir (p, 0700)) return; }\n",
        "src/nn/bad_open.cpp": "int f() { return ::open(p, O_WRONLY); }\n",
        "src/nn/bad_create.cpp": "int f() { return ::open(p, O_CREAT); }\n",
        "src/nn/bad_fopen.cpp": "auto f() { return std::fopen(p, w); }\n",
        "src/nn/bad_ofstream.cpp": "void f() { std::ofstream out(p); }\n",
        "src/nn/bad_truncate.cpp": "void f() { ::ftruncate(d, 0); }\n",
        "src/io/bad_hdf5_file.cpp": "void f() { hdf5::File::create(path); }\n",
        "src/io/bad_h5fcreate.cpp": "int f() { return H5Fcreate(p, flags); }\n",
        "src/io/bad_writable.cpp": "int f() { return H5Fopen(p, H5F_ACC_RDWR); }\n",
    }
    helpers = {"src/io/file.hpp": "#pragma once\n", "src/deck/low.hpp": "#pragma once\n", "tests/support/help.hpp": ""}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in {**fine, **planted, **helpers}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        violations = check_tree(root, {"src/nn": 1, "src/bridged": 1, "src/bridges": 2})
    blamed = sorted(violation.split(":")[0] for violation in violations)
    expected = sorted({"src/bridged/more.cpp": "src/bridged", "src/bridges/fewer.cpp": "src/bridges"}.get(path, path) for path in planted)
    assert blamed == expected, f"expected one violation in each of {expected}, got {violations}"
    print(f"{len(planted)} planted violations caught, {len(fine)} files in order let through")


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    root = pathlib.Path(arguments[0] if arguments else __file__).resolve()
    violations = check_tree(root if root.is_dir() else root.parents[2])
    print("\n".join(violations) or "the include rules hold")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
