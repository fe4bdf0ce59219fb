#include "src/io/provenance.hpp"

#include <algorithm>
#include <ctime>
#include <dlfcn.h>
#include <fstream>
#include <string_view>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>

#include "kernels/fft.hpp"
#include "kernels/runtime.hpp"
#include "rankine_revision.hpp"
#include "src/io/hdf5.hpp"

namespace rankine {
namespace {

std::string environment() {
  std::vector<std::string> chosen;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    const auto starts = [&](std::string_view prefix) { return text.starts_with(prefix); };
    if (starts("SLURM_JWT=")) continue;  // a credential
    if (starts("OMP_") || starts("OPENBLAS_") || starts("KOKKOS_") || starts("SLURM_") ||
        starts("PETSC_OPTIONS=") || starts("HDF5_USE_FILE_LOCKING=")) {
      chosen.emplace_back(text);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return fmt::format("{}", fmt::join(chosen, "\n"));
}

std::string operating_system() {
  struct utsname name {};
  if (::uname(&name) != 0) return "unknown";
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

/// The processor's model, as Linux names it on x86 and POWER.
std::string processor() {
  std::ifstream lines("/proc/cpuinfo");
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && (line.starts_with("model name") || line.starts_with("cpu\t")))
      return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

BuildInfo build_info() {
  return {.version = RANKINE_VERSION,
          .git_revision = generated::git_revision,
          .git_dirty = generated::git_dirty,
          .compiler = RANKINE_COMPILER,
          .compiler_flags = RANKINE_COMPILER_FLAGS,
          .build_type = RANKINE_BUILD_TYPE,
          .vector_bytes = RANKINE_VECTOR_BYTES,
          .kokkos = RANKINE_KOKKOS_VERSION,
          .petsc = RANKINE_PETSC_VERSION,
          .hdf5 = hdf5::library_version()};
}

std::string blas_description() {
  // Looked up at run time: another BLAS may stand behind the same interface.
  using Text = char* (*)();
  const auto call = [](const char* name) -> std::string {
    const auto function = reinterpret_cast<Text>(::dlsym(RTLD_DEFAULT, name));
    return function ? function() : "";
  };
  const std::string config = call("openblas_get_config"), core = call("openblas_get_corename");
  if (config.empty()) return "unknown";
  return fmt::format("{}; running on kernels for {}", config, core.empty() ? "unknown" : core);
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm fields{};
  ::gmtime_r(&now, &fields);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &fields);
  return text;
}

std::vector<std::pair<std::string, std::string>> collect_provenance(const RunDescription& run) {
  const BuildInfo build = build_info();
  return {
      {"software", "rankine"},
      {"softwareVersion", build.version},
      {"git_revision", build.git_revision},
      {"git_dirty", build.git_dirty ? "true" : "false"},
      {"compiler", build.compiler},
      {"compiler_flags", build.compiler_flags},
      {"build_type", build.build_type},
      {"vector_bytes", std::to_string(build.vector_bytes)},
      {"kernels", kernel_choice()},
      {"versions/kokkos", build.kokkos},
      {"versions/petsc", build.petsc},
      {"versions/hdf5", build.hdf5},
      {"versions/mpi", run.mpi_library},
      {"versions/blas", blas_description()},
      {"versions/fft", kernels::fft_library()},
      {"machine", operating_system()},
      {"processor", processor()},
      {"cores", std::to_string(::sysconf(_SC_NPROCESSORS_ONLN))},
      {"ranks", std::to_string(run.ranks)},
      {"hosts", fmt::format("{}", fmt::join(run.hosts, "\n"))},
      {"arguments", fmt::format("{}", fmt::join(run.arguments, "\n"))},
      {"environment", environment()},
      {"deck_path", run.deck_path},
      {"deck", run.deck_text},
      {"fragments", run.fragments},
      {"resolved_deck", run.resolved_deck},
      {"overrides", fmt::format("{}", fmt::join(run.overrides, "\n"))},
      {"only", fmt::format("{}", fmt::join(run.only, "\n"))},
      {"smoke", run.smoke ? "true" : "false"},
      {"task", run.tasks > 0 ? fmt::format("{}/{}", run.task, run.tasks) : ""},
      {"start_utc", run.start_utc},
      {"stop_utc", utc_now()},
  };
}

}  // namespace rankine
