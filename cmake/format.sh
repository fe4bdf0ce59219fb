#!/bin/sh
# cmake/format.sh check|fix [file...]: the C++ sources against .clang-format. Only clang-format 14 is accepted, because
# other versions lay out the same rules differently. CLANG_FORMAT names the program where it is not found by itself.
set -eu
cd "$(dirname "$0")/.."

mode=${1:-check}
[ $# -gt 0 ] && shift
case $mode in
  check | fix) ;;
  *) echo "usage: cmake/format.sh check|fix [file...]" >&2; exit 2 ;;
esac

tool=${CLANG_FORMAT:-}
[ -n "$tool" ] || tool=$(command -v clang-format-14 || command -v clang-format) || {
  echo "format.sh: clang-format 14 is not installed (Debian and Ubuntu: clang-format-14)" >&2
  exit 2
}
version=$("$tool" --version)
case $version in
  *"version 14."*) ;;
  *)
    echo "format.sh: $tool is '$version', but this project is laid out by version 14; set CLANG_FORMAT" >&2
    exit 2
    ;;
esac

if [ $# -eq 0 ]; then
  # A source archive has no git; there every file of the source folders is ours.
  if git rev-parse --git-dir >/dev/null 2>&1; then
    list=$(git ls-files --cached --others --exclude-standard '*.cpp' '*.hpp')
  else
    list=$(find kernels solvers src tests -name '*.cpp' -o -name '*.hpp')
  fi
  # Names in this project hold no blanks, so the list can be split.
  # shellcheck disable=SC2086
  set -- $list
fi

if [ "$mode" = fix ]; then
  "$tool" -i "$@"
elif ! "$tool" --dry-run --Werror "$@" 2>&1 | grep -E '(warning|error):' | cut -d: -f1 | sort | uniq -c | {
  ! grep .
}; then
  echo "format.sh: the files above (with their number of places) are not laid out; run cmake/format.sh fix" >&2
  exit 1
fi
