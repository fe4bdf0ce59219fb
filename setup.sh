#!/usr/bin/env bash
# Rankine from a bare Debian or Ubuntu machine: see `./setup.sh help`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

preset=${RANKINE_PRESET:-release}
build_dir=${RANKINE_BUILD_DIR:-build/$preset}
deck=inputs/diffusion_sorption.yaml
results=results/diffusion_sorption.h5

build_packages=(
  cmake ninja-build g++ pkg-config
  libopenmpi-dev openmpi-bin libhdf5-openmpi-dev petsc-dev libtrilinos-kokkos-dev
  libopenblas-dev libfftw3-dev libyaml-cpp-dev libfmt-dev librandom123-dev libxxhash-dev zlib1g-dev nlohmann-json3-dev
  libcli11-dev libboost-dev
)
report_packages=(python3 python3-numpy python3-h5py python3-matplotlib)
# Read by decks and tests as they lie; python3-sklearn brings its tables, no Python is run.
data_packages=(dataset-fashion-mnist python3-sklearn)
test_packages=(
  "${report_packages[@]}" "${data_packages[@]}"
  libgtest-dev libgmock-dev hdf5-tools clang-format-14
  python3-xarray python3-h5netcdf python3-scipy python3-pytest
  slurm-wlm munge shellcheck
)

help() {
  cat <<END
usage: ./setup.sh COMMAND

  run           install what is missing, build, run the main job ($deck) on 2 ranks, make its plots
  test          install what is missing, build, run the test suite (all but the tests labelled 'long')
  build         build the program alone; installs packages only where CMake does not find what it needs, so that on a
                cluster the loaded modules (Kokkos, PETSc, HDF5, MPI) are used and no package manager is called
  install-deps  install the Debian or Ubuntu packages for all of this, and nothing else
  help          this text

Safe to repeat. Writes below this folder only; packages come from apt-get, as root or through sudo, and only where some
are missing.

environment:  RANKINE_PRESET     CMake preset: release (default), openmp, cuda, debug, sanitize, ci
              RANKINE_BUILD_DIR  build folder (default: build/<preset>)
              RANKINE_JOBS       parallel compilations (default: one a core, fewer where memory is short)

The exit code is that of the step that failed; of 'run', Rankine's own: 0 done, 1 bad input, 2 numerical failure,
3 input or output failed, 4 an expectation of the deck is false.
END
}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# install PACKAGE...: the packages among these that are missing, through apt-get. Sets `installed` where there were any.
installed=no
install() {
  have apt-get || die "this is no Debian or Ubuntu; provide by modules, Spack or your package manager:
  CMake 3.22, a C++20 compiler, MPI, PETSc, parallel HDF5, Kokkos, BLAS/LAPACK, FFTW, yaml-cpp, fmt, Random123, CLI11, Boost
  (headers), xxHash, zlib and nlohmann-json; for the tests GoogleTest; for the plots Python with numpy, h5py and matplotlib"

  local missing=() known=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "packages are missing, and installing them needs root (there is no sudo here). Load modules that
  provide them, or ask an administrator for: apt-get install ${missing[*]}"
    root=(sudo)
    [ -t 0 ] || root=(sudo -n) # nobody is there to type a password
  fi
  say "installing ${#missing[@]} packages (some minutes): ${missing[*]}"
  apt_get "${root[@]}" apt-get update -q
  for package in "${missing[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      known+=("$package")
    else
      echo "this release has no package $package; going on without it"
    fi
  done
  [ ${#known[@]} -gt 0 ] || return 0
  apt_get "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${known[@]}"
  installed=yes
}

# apt_get COMMAND...: runs it and shows its output only if it fails.
apt_get() {
  local output
  output=$("$@" 2>&1 </dev/null) || die "'$*' failed:
$(tail -n 25 <<<"$output")"
}

# configure TESTS: CMake with or without the tests; its output goes to a log.
configure() {
  have cmake && have c++ || return 1
  mkdir -p "$build_dir"
  local generator=()
  if [ ! -f "$build_dir/CMakeCache.txt" ] && have ninja; then generator=(-G Ninja); fi
  cmake --preset "$preset" -B "$build_dir" "${generator[@]}" -DRANKINE_TESTS="$1" >"$build_dir/configure.log" 2>&1
}

# One compilation of Kokkos templates takes up to 1.5 GB.
parallel_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo "${RANKINE_JOBS:-$((cores < memory ? cores : memory))}"
}

# build TESTS: configures and builds; packages are installed only if CMake lacks something.
build() {
  local packages=("${build_packages[@]}") target=(--target rankine)
  if [ "$1" = ON ]; then
    packages+=("${test_packages[@]}")
    target=()
  fi
  say "configuring $build_dir (preset $preset)"
  if ! configure "$1"; then
    install "${packages[@]}"
    # What the failed attempt noted as missing must be looked for again.
    [ "$installed" = no ] || rm -f "$build_dir/CMakeCache.txt"
    configure "$1" || die "CMake failed; the end of $build_dir/configure.log:
$(tail -n 30 "$build_dir/configure.log")"
  fi
  say "building"
  cmake --build "$build_dir" -j "$(parallel_jobs)" "${target[@]}"
}

# The first Python that has MODULE...: the system's before any that stands earlier on PATH.
python_with() {
  local python
  for python in /usr/bin/python3 python3; do
    if have "$python" && "$python" -c "import $(IFS=,; echo "$*")" 2>/dev/null; then
      echo "$python"
      return 0
    fi
  done
  return 1
}

# Open MPI refuses root and more ranks than cores, and binds ranks to cores that other jobs may use.
mpi_run() {
  local flags=()
  if mpirun --version 2>/dev/null | grep -q 'Open MPI\|Open RTE'; then
    flags=(--oversubscribe --bind-to none)
    [ "$(id -u)" -ne 0 ] || flags+=(--allow-run-as-root)
  fi
  OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 mpirun "${flags[@]}" "$@"
}

run() {
  build OFF
  say "mpirun -n 2 rankine run $deck"
  local code=0
  mkdir -p "$(dirname "$results")"
  mpi_run -n 2 "$build_dir/bin/rankine" run "$deck" --set "run.output=$results" || code=$?
  # A false expectation (4) is a result like any other and gets its plots.
  if [ "$code" -eq 0 ] || [ "$code" -eq 4 ]; then
    python_with numpy h5py matplotlib >/dev/null || install "${report_packages[@]}"
    local python
    python=$(python_with numpy h5py matplotlib) || die "the plots need Python with numpy, h5py and matplotlib"
    say "rankine-analysis report $results"
    PYTHONPATH=analysis MPLBACKEND=Agg "$python" -m rankine_analysis report "$results" || [ "$code" -ne 0 ] || code=$?
  fi
  return "$code"
}

run_tests() {
  # The tests call programs and read data that CMake does not look for.
  if ! { python_with numpy h5py matplotlib xarray h5netcdf scipy pytest >/dev/null && have h5diff && have clang-format-14 &&
         have shellcheck && PATH=$PATH:/usr/sbin have slurmctld && PATH=$PATH:/usr/sbin have munged &&
         [ -e /usr/share/datasets/fashion-mnist ] && [ -e /usr/lib/python3/dist-packages/sklearn/datasets/data ]; }; then
    install "${build_packages[@]}" "${test_packages[@]}"
  fi
  build ON
  say "testing"
  ctest --test-dir "$build_dir" -LE '^long$' -j "$(nproc)" --output-on-failure --no-tests=error
}

case ${1:-help} in
  run) run ;;
  test) run_tests ;;
  build) build OFF ;;
  install-deps) install "${build_packages[@]}" "${test_packages[@]}" ;;
  help | -h | --help) help ;;
  *) help >&2; die "unknown command '$1'" ;;
esac
