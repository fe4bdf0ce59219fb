#include "src/cli/doctor.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <sched.h>
#include <set>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "kernels/device_info.hpp"
#include "kernels/error.hpp"
#include "kernels/fft.hpp"
#include "kernels/runtime.hpp"
#include "solvers/petsc_session.hpp"
#include "src/comm/tile_tree.hpp"
#include "src/core/clock.hpp"
#include "src/core/log.hpp"
#include "src/experts/constraint_layer.hpp"
#include "src/io/checkpoint.hpp"
#include "src/io/files.hpp"
#include "src/io/folder_lock.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/provenance.hpp"
#include "src/io/safe_file.hpp"
#include "src/nn/fno.hpp"
#include "src/pde/diffusion_sorption.hpp"
#include "src/run/driver.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Warning {
  std::string what, remedy;
};

struct Check {
  std::string name;
  bool good = false;
  std::string detail;
  double seconds = 0;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int cores_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  return CPU_COUNT(&set);
}

/// Threads that the BLAS would use; 0 where it does not tell.
int blas_threads() {
  using Count = int (*)();
  const auto count = reinterpret_cast<Count>(::dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
  return count == nullptr ? 0 : count();
}

bool on_path(const std::string& name) {
  const std::string path = environment("PATH");
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    if (::access((path.substr(begin, end - begin) + "/" + name).c_str(), X_OK) == 0) return true;
    begin = end + 1;
  }
  return false;
}

/// What a command prints, without the last line break; empty where it fails.
std::string output_of(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text;
  std::array<char, 256> part{};
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) text += part.data();
  const bool good = ::pclose(pipe) == 0;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return good ? text : "";
}

/// Versions of the Python packages that the analysis and the job scripts use; empty where one is missing.
Json python_tools() {
  const std::vector<std::string> names{"python3", "numpy", "h5py", "matplotlib", "xarray"};
  std::string code = "import sys; print(sys.version.split()[0])\n";
  for (std::size_t i = 1; i < names.size(); ++i)
    code += fmt::format("try:\n import {0}; print({0}.__version__)\nexcept Exception: print()\n", names[i]);
  const std::string text = output_of("python3 -c '" + code + "'");
  Json out = Json::object();
  std::size_t begin = 0;
  for (const std::string& name : names) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    out[name] = begin < text.size() ? text.substr(begin, end - begin) : "";
    begin = std::min(end + 1, text.size());
  }
  return out;
}

// ------------------------------------------------------------------------------------- self-test
// A test returns what it found; it throws where that is wrong.

[[noreturn]] void wrong(const std::string& what) { throw NumericalError(what); }

/// Values of an independent solver (SciPy, RK45, rtol 1e-8) on 256 cells for u0 = 0.01 at t = 50 and 500.
std::string test_reference() {
  struct Known {
    int frame, cell;
    double value;
  };
  constexpr Known known[] = {{1, 0, 0.973947195995},  {1, 40, 0.172676373031},  {1, 100, 0.0101976827218},
                             {2, 10, 0.909504676459}, {2, 100, 0.289990559587}, {2, 200, 0.0297923005779}};
  const DiffusionSorption pde({.data_cells = 256});
  const std::vector<double> times{0, 50, 500}, start(256, 0.01), parameters{pde.parameters()[0].value};
  const std::vector<double> u = pde.reference(start, {parameters}, pde.data_grid(), times);
  double worst = 0;
  for (const Known& k : known)
    worst = std::max(worst, std::abs(u[static_cast<std::size_t>(k.frame * 256 + k.cell)] - k.value));
  if (!(worst < 1e-5)) wrong(fmt::format("differs from stored values by {:.3g}, allowed is 1e-5", worst));
  return fmt::format("differs from the stored values of another solver by {:.1e} at most", worst);
}

/// A hard-constrained problem small enough to be solved in a moment.
struct SmallProblem {
  static constexpr int cells = 16, frames = 8;
  SmallProblem() {
    options.experts = {1, 4};
    options.basis = 3;
    options.solver.max_steps = 400;
    options.solver.atol = 1e-11;
    options.solver.adjoint_damping = 0;
    storage = std::make_unique<StorageModel>(pde, pde.grid({cells}), options.times(500, frames), 0.5, 2,
                                             options.march);
    layer = make_constraint_layer(options, *storage, self, TilePartition(grid, 1, 0), {}, 0);
    batch.ids = {0};
    batch.initial.assign(cells, 0.1);
    batch.parameters = {pde.parameters()[0].value};
    exact = storage->sample(batch.initial).solve_exactly();
  }

  /// On the grid's tiles [L, 1, channels, Tt, Tx].
  Tensor tiles(int channels, const std::function<double(int channel, int frame, int cell)>& value) const {
    HostArray<double> out({grid.tiles(), 1, channels, grid.tile_nt(), grid.tile_nx()});
    double* to = out.data();
    for (long l = 0; l < grid.tiles(); ++l) {
      const TileExtent e = grid.extent(l);
      for (int c = 0; c < channels; ++c)
        for (auto t = e.begin[0]; t < e.end[0]; ++t)
          for (auto x = e.begin[1]; x < e.end[1]; ++x)
            *to++ = value(c, static_cast<int>(t), static_cast<int>(x));
    }
    return out.to_device();
  }
  /// The solution and two other fields.
  Tensor fields() const {
    return tiles(3, [&](int c, int t, int x) {
      return c == 0 ? exact[static_cast<std::size_t>((t + 1) * cells + x)]
                    : std::cos(1.3 * c * (x + 0.5) / cells) + 0.1 * t;
    });
  }

  DiffusionSorption pde{DiffusionSorptionOptions{}};
  TileGrid grid{frames, cells, 1, 4};
  Communicator self = Communicator::self();
  FormulationOptions options;
  std::unique_ptr<StorageModel> storage;
  std::unique_ptr<ConstraintLayer> layer;
  PdeBatch batch;
  std::vector<double> exact;
};

/// Four experts whose basis holds the solution must find it.
std::string test_constraint() {
  SmallProblem p;
  const std::vector<double> u = p.layer->predict(p.fields(), p.batch);
  double worst = 0;
  for (std::size_t i = 0; i < u.size(); ++i) worst = std::max(worst, std::abs(u[i] - p.exact[i]));
  if (!(worst < 1e-6)) wrong(fmt::format("the experts miss the solution in their basis by {:.3g}", worst));
  return fmt::format("four experts find the discrete solution to {:.1e}", worst);
}

/// The gradient through network, solve and loss against central differences. `bits`: takes the gradient.
std::string test_gradient(std::vector<double>& bits) {
  SmallProblem p;
  Fno2dOptions o;
  o.widths = {4, 4};
  o.modes_t = o.modes_x = 3;
  o.projection = 6;
  o.precision = "double";
  const ModelContext context{TilePartition(p.grid, 1, 0), local_tile_sum(p.grid.tiles()), 2, 3, false};
  const Fno2d model(o, context);
  const ParameterSet parameters = model.initial_parameters(1);
  const Tensor input = p.tiles(2, [](int c, int t, int x) { return c == 0 ? 0.1 * t : 0.05 * x; });
  const Tensor near = p.tiles(3, [&](int c, int t, int x) {
    const double u = 0.03 + p.exact[static_cast<std::size_t>((t + 1) * SmallProblem::cells + x)];
    return u * (c == 0 ? 1 + 0.1 * std::cos(0.3 * x + 0.4 * t) : std::cos(0.08 * c * x) + 0.1 * t);
  });
  const auto loss_of = [&](const ParameterSet& at, Tensor* gradient) {
    const BoundParameters bound = at.bind(context.tiles);
    const TapeLoss loss = p.layer->loss(add(near, scale(model.forward(bound, input), 0.1)), p.batch);
    if (gradient != nullptr) *gradient = grad(loss.outputs, loss.seeds, {bound.flat()}).front();
    return loss.value.read();
  };
  Tensor gradient;
  loss_of(parameters, &gradient);
  bits = gradient.to_vector();
  double along = 0;
  constexpr double h = 1e-5;
  std::vector<double> ahead = parameters.flat().to_vector(), behind = ahead;
  for (std::size_t i = 0; i < ahead.size(); ++i) {
    const double direction = std::sin(static_cast<double>(i + 1));
    along += direction * bits[i];
    ahead[i] += h * direction;
    behind[i] -= h * direction;
  }
  const auto loss_at = [&](const std::vector<double>& values) {
    return loss_of(parameters.with_values(Tensor::from(values, {parameters.count()})), nullptr);
  };
  const double difference = (loss_at(ahead) - loss_at(behind)) / (2 * h);
  const double error = std::abs(along - difference) / std::abs(along);
  if (!(error < 1e-4))
    wrong(fmt::format("the gradient gives {:.8g} along a direction, differences {:.8g}", along, difference));
  return fmt::format("agrees with central differences to {:.1e}", error);
}

/// A checkpoint comes back as it was, and a changed bit is found.
std::string test_checkpoint(ScratchFolder& folder) {
  CheckpointContent content;
  content.texts["variant"] = "doctor";
  StateValue value{DType::f64, {1000}, std::vector<std::byte>(8000)};
  for (std::size_t i = 0; i < value.bytes.size(); ++i) value.bytes[i] = static_cast<std::byte>(i * 37 % 251);
  content.state["weights"] = value;
  const std::string path = folder.file("checkpoint.h5");
  write_checkpoint(path, content);
  if (!(read_checkpoint(path) == content)) throw IoError("a checkpoint did not come back as it was written");
  std::string bytes = read_file(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file(path, FileContent::checkpoint, bytes);
  try {
    read_checkpoint(path);
  } catch (const DamagedFile&) {
    return "comes back bit by bit; a flipped bit is found";
  }
  throw IoError("a flipped bit in a checkpoint was not found");
}

/// Sums over tiles on all ranks have the bits of one rank.
std::string test_ranks(const Communicator& world) {
  constexpr long tiles = 37;
  const BlockPartition blocks(tiles, world.size());
  const auto value = [](long i) { return std::sin(static_cast<double>(i)) * std::pow(10.0, i % 7); };
  std::vector<double> mine, all;
  for (auto i = blocks.begin(world.rank()); i < blocks.end(world.rank()); ++i) mine.push_back(value(i));
  for (long i = 0; i < tiles; ++i) all.push_back(value(i));
  const Communicator self = Communicator::self();
  const double together = TileTree(world, blocks).sum_values(std::span<const double>(mine));
  const double alone = TileTree(self, BlockPartition(tiles, 1)).sum_values(std::span<const double>(all));
  if (together != alone) wrong("a sum over the ranks has other bits than on one rank");
  return world.size() == 1 ? "one rank; mpirun -n 2 rankine doctor tests several"
                           : fmt::format("{} ranks sum to the bits of one", world.size());
}

Check timed(const Communicator& world, const char* name, int& exit_code,
            const std::function<std::string()>& test) {
  Check check{name, true, "", 0};
  const Stopwatch watch;
  int code = 0;
  try {
    world.together([&] { check.detail = test(); });
  } catch (const IoError& error) {
    code = ExitCode::io_failure;
    check.detail = error.what();
  } catch (const std::exception& error) {
    code = ExitCode::numerical_failure;
    check.detail = error.what();
  }
  check.good = code == 0;
  check.seconds = watch.seconds();
  if (exit_code == 0) exit_code = code;
  return check;
}

}  // namespace

DoctorResult doctor(const Communicator& world, const std::string& program, bool json) {
  std::vector<Warning> warnings;
  const BuildInfo build = build_info();
  const std::vector<std::string> hosts = world.host_names();
  const int here = static_cast<int>(std::count(hosts.begin(), hosts.end(), hosts.front()));
  const int cores = cores_allowed(), online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const std::vector<int> rank_cores = world.all_gather(cores);
  // Ranks that are bound to cores of their own have the sum of them.
  const bool bound = world.size() > 1 && cores < online;
  int cores_here = bound ? 0 : cores;
  if (bound)
    for (std::size_t r = 0; r < hosts.size(); ++r)
      if (hosts[r] == hosts.front()) cores_here += rank_cores[r];
  cores_here = std::min(cores_here, online);

  Json out;
  out["rankine"] = {{"version", build.version},   {"git_revision", build.git_revision},
                    {"changes", build.git_dirty}, {"program", program},
                    {"compiler", build.compiler}, {"build_type", build.build_type}};
  out["mpi"] = {
      {"library", MpiSession::library_version()},
      {"standard", MpiSession::standard_version()},
      {"thread_level", MpiSession::thread_level()},
      {"device_pointers",
       MpiSession::takes_device_pointers() ? "yes" : "no: messages of a GPU go through pinned host memory"},
      {"ranks", world.size()},
      {"machines", std::set<std::string>(hosts.begin(), hosts.end()).size()}};
  out["processor"] = {{"cores", online},
                      {"cores_for_the_ranks_here", cores_here},
                      {"ranks_here", here},
                      {"vector_bytes", build.vector_bytes}};
  out["kokkos"] = {{"version", build.kokkos},
                   {"backend", backend_name()},
                   {"threads", backend_concurrency()},
                   {"kernels", kernel_choice()}};
  const DeviceInfo device = device_info();
  const bool host_only = device.total_bytes == 0;
  out["device"] = {{"name", host_only ? "the host" : device.name},
                   {"gpus_for_this_rank", visible_devices().size()},
                   {"memory_free", host_only ? Json() : Json(device.free_bytes)},
                   {"memory_total", host_only ? Json() : Json(device.total_bytes)}};
  out["petsc"] = {{"version", PetscSession::version()}};
  out["hdf5"] = {{"version", build.hdf5},
                 {"parallel", hdf5::parallel_library()},
                 {"file_locking", environment("HDF5_USE_FILE_LOCKING")}};
  const int threads = blas_threads();
  out["blas"] = {{"library", blas_description()}, {"threads", threads}};
  out["fft"] = {{"library", kernels::fft_library()}};
  out["slurm"] = {{"sbatch", on_path("sbatch")}, {"job", environment("SLURM_JOB_ID")}};

  if (build.git_dirty)
    warnings.push_back({"the program was built from changed sources", "commit the changes, build again"});
  if (build.build_type != "Release" && build.build_type != "RelWithDebInfo")
    warnings.push_back(
        {"the program was built as " + build.build_type + ", which is slow", "cmake --preset release"});
  if (here > cores_here)
    warnings.push_back({fmt::format("{} ranks share {} cores here", here, cores_here),
                        "start as many ranks as there are cores, or ask for more cores"});
  if (threads > 1 && environment("OPENBLAS_NUM_THREADS").empty() && environment("OMP_NUM_THREADS").empty() &&
      (world.size() > 1 || threads > 2))
    warnings.push_back(
        {fmt::format("the BLAS would use {} threads a rank", threads), "export OPENBLAS_NUM_THREADS=1"});
  else if (threads * here > cores_here && threads > 1)
    warnings.push_back({fmt::format("{} ranks of {} BLAS threads share {} cores", here, threads, cores_here),
                        "export OPENBLAS_NUM_THREADS=1"});
  if (kernels::fft_is_own())
    warnings.push_back(
        {"Fourier transforms are Rankine's own, up to 30 times slower than a library's",
         "install FFTW (libfftw3-dev on Debian) and build Rankine again with RANKINE_FFT=auto"});
  if (!hdf5::parallel_library())
    warnings.push_back({"HDF5 was built without MPI", "install the parallel build and build Rankine again"});
  const bool restricted = !environment("SLURM_JOB_ID").empty() && environment("SLURM_JOB_END_TIME").empty();
  if (restricted)
    warnings.push_back({"Slurm does not tell when this job ends (SLURM_JOB_END_TIME)",
                        "give run.walltime in the deck, so that the job stops in good time"});

  // Where files go: the current folder.
  std::optional<ScratchFolder> folder;
  double bandwidth = 0;
  std::string folder_error;
  if (world.is_root()) {
    out["python"] = python_tools();
    for (const char* package : {"numpy", "h5py", "matplotlib"})
      if (out["python"].value(package, "").empty())
        warnings.push_back({fmt::format("python3 cannot import {}, which tables and plots need", package),
                            "pip install ./analysis"});
    struct statvfs status {};
    const bool known = ::statvfs(".", &status) == 0;
    const double free =
        known ? static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize) : 0;
    try {
      folder.emplace(fs::current_path().string() + "/.rankine-doctor");
      const std::string block(std::size_t{64} << 20U, 'x');
      const Stopwatch watch;
      const std::string file = folder->file("bandwidth");
      write_file(file, FileContent::scratch, block);
      bandwidth = static_cast<double>(block.size()) / watch.seconds();
      const std::string locking = flock_error(file);
      if (!locking.empty())
        warnings.push_back({"files cannot be locked in this folder (" + locking + ")",
                            "export HDF5_USE_FILE_LOCKING=FALSE, or work in another folder"});
    } catch (const std::exception& error) {
      folder_error = error.what();
    }
    out["disk"] = {{"folder", fs::current_path().string()},
                   {"free_bytes", free},
                   {"write_bytes_per_second", bandwidth},
                   {"error", folder_error}};
    if (!folder_error.empty())
      warnings.push_back({"nothing can be written in the current folder: " + folder_error,
                          "work in a folder that you may write to, or give run.output"});
    if (known && free < 1e9)
      warnings.push_back({"less than 1 GB is free here", "make room, or work in another folder"});
    if (bandwidth > 0 && bandwidth < 20e6)
      warnings.push_back({fmt::format("writing here is slow: {}/s", bytes_text(bandwidth)),
                          "keep checkpoint.every_minutes large, or use a faster file system"});
  }

  DoctorResult result;
  std::vector<Check> checks;
  std::vector<double> gradient;
  checks.push_back(timed(world, "reference solution", result.exit_code, test_reference));
  checks.push_back(timed(world, "constrained solve", result.exit_code, test_constraint));
  checks.push_back(timed(world, "gradient", result.exit_code, [&] { return test_gradient(gradient); }));
  checks.push_back(timed(world, "sums over ranks", result.exit_code, [&] { return test_ranks(world); }));
  {
    // The same computation on every rank: other bits mean other processors or libraries.
    std::vector<double> first = gradient;
    world.broadcast(first);
    bool same = first.size() == gradient.size();
    for (std::size_t i = 0; same && i < first.size(); ++i)
      same = std::memcmp(&first[i], &gradient[i], sizeof(double)) == 0;
    checks.push_back(timed(world, "equal bits on all ranks", result.exit_code, [&] {
      if (!same)
        wrong(
            "this rank computes another gradient than rank 0; do all machines have the same processors "
            "and libraries?");
      return std::string("the gradient above");
    }));
  }
  checks.push_back(timed(world, "checkpoint", result.exit_code, [&] {
    if (!world.is_root()) return std::string();
    if (!folder) throw IoError(folder_error);
    return test_checkpoint(*folder);
  }));
  folder.reset();
  if (!world.is_root()) return result;

  out["warnings"] = Json::array();
  for (const Warning& warning : warnings)
    out["warnings"].push_back({{"what", warning.what}, {"remedy", warning.remedy}});
  out["self_test"] = Json::array();
  double seconds = 0;
  for (const Check& check : checks) {
    out["self_test"].push_back(
        {{"name", check.name}, {"good", check.good}, {"detail", check.detail}, {"seconds", check.seconds}});
    seconds += check.seconds;
  }
  out["exit_code"] = result.exit_code;
  if (json) {
    result.text = out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    return result;
  }
  std::string& text = result.text;
  for (const auto& [section, entries] : out.items()) {
    if (!entries.is_object()) continue;
    text += section + "\n";
    for (const auto& [name, value] : entries.items()) {
      std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
      if (value.is_null()) continue;
      if (name == "free_bytes" || name.starts_with("memory_")) shown = bytes_text(value.get<double>());
      if (name == "write_bytes_per_second") shown = bytes_text(value.get<double>()) + "/s";
      if (value.is_boolean()) shown = value.get<bool>() ? "yes" : "no";
      if (!shown.empty()) text += fmt::format("  {:<24} {}\n", name, shown);
    }
  }
  text += fmt::format("\nself-test, {}\n", duration_text(seconds));
  for (const Check& check : checks)
    text += fmt::format("  {}  {:<24} {}\n", check.good ? "good " : "WRONG", check.name, check.detail);
  text += warnings.empty() ? "\nno warnings\n" : "\nwarnings\n";
  for (const Warning& warning : warnings)
    text += fmt::format("  {}\n    remedy: {}\n", warning.what, warning.remedy);
  return result;
}

}  // namespace rankine::cli
