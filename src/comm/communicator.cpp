#include "src/comm/communicator.hpp"

// Without the C++ interface, which is no longer part of the standard.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <unistd.h>
#include <utility>

#include <mpi.h>
#ifdef RANKINE_MPI_SPEAKS_OF_CUDA
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#endif

#include "kernels/device_info.hpp"
#include "kernels/runtime.hpp"
#include "src/core/clock.hpp"

namespace rankine {

namespace {

Traffic traffic_so_far;
std::size_t piece_limit = std::size_t{1} << 30;
// Tags of collective operations that this file implements by messages. They lie above those of Exchange's
// callers.
constexpr int gather_tag = 30001;
constexpr int all_to_all_tag = 30002;

void check(int error, const char* call) {
  if (error == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(error, text, &length);
  throw CommunicationError(std::string(call) +
                           " failed: " + std::string(text, static_cast<std::size_t>(length)));
}

/// A scope whose duration is added to the time spent in MPI.
class MpiClock {
 public:
  MpiClock() = default;
  ~MpiClock() { traffic_so_far.seconds += watch_.seconds(); }
  MpiClock(const MpiClock&) = delete;
  MpiClock& operator=(const MpiClock&) = delete;

 private:
  Stopwatch watch_;
};

template <class Call>
int timed(Call&& call) {
  const MpiClock clock;
  return call();
}

#define RANKINE_MPI(call) check(timed([&] { return call; }), #call)

void count_collective(std::size_t bytes) {
  ++traffic_so_far.collectives;
  traffic_so_far.collective_bytes += static_cast<std::int64_t>(bytes);
}

std::byte* as_bytes(void* data) { return static_cast<std::byte*>(data); }
const std::byte* as_bytes(const void* data) { return static_cast<const std::byte*>(data); }

/// Calls piece(offset, length) for each piece of a message.
template <class F>
void in_pieces(std::size_t bytes, F&& piece) {
  for (std::size_t offset = 0; offset < bytes; offset += piece_limit) {
    piece(offset, static_cast<int>(std::min(piece_limit, bytes - offset)));
  }
}

}  // namespace

const Traffic& traffic() { return traffic_so_far; }
void reset_traffic() { traffic_so_far = {}; }

// ----------------------------------------------------------------------------------------------------
// MpiSession

namespace {
bool session_owns_mpi = false;
int exceptions_at_start = 0;
}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  int initialized = 0;
  RANKINE_MPI(MPI_Initialized(&initialized));
  if (initialized) return;
  exceptions_at_start = std::uncaught_exceptions();
  int provided = MPI_THREAD_SINGLE;
  RANKINE_MPI(MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided));
  session_owns_mpi = true;
  if (provided < MPI_THREAD_FUNNELED) {
    throw CommunicationError(
        "this MPI library (" + library_version() +
        ") does not allow a process to have threads (MPI_THREAD_FUNNELED); use another build of it");
  }
}

MpiSession::~MpiSession() {
  if (!session_owns_mpi || !running()) return;
  if (std::uncaught_exceptions() > exceptions_at_start) abort(exit_code_on_exception);
  MPI_Finalize();
  session_owns_mpi = false;
}

bool MpiSession::launched() {
  const auto given = [](const char* name) { return std::getenv(name) != nullptr; };
  // Variables of Open MPI; PMI and PMIx (MPICH, Intel MPI, srun); MVAPICH; Cray; Flux; IBM's jsrun.
  for (const char* name :
       {"OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_SIZE",
        "PALS_RANKID", "ALPS_APP_PE", "FLUX_TASK_RANK", "JSM_NAMESPACE_SIZE"}) {
    if (given(name)) return true;
  }
  // Slurm sets its variables for batch scripts, too; but only job steps that srun starts have several tasks.
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return given("SLURM_PROCID") && tasks != nullptr && std::atol(tasks) > 1;
}

void MpiSession::abort(int exit_code) {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  if (running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

bool MpiSession::running() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized && !finalized;
}

std::string MpiSession::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  RANKINE_MPI(MPI_Get_library_version(text, &length));
  std::string version(text, static_cast<std::size_t>(std::max(length, 0)));
  while (!version.empty() && (version.back() == '\0' || version.back() == '\n')) version.pop_back();
  std::replace(version.begin(), version.end(), '\n', ' ');
  return version;
}

std::string MpiSession::standard_version() {
  int major = 0, minor = 0;
  RANKINE_MPI(MPI_Get_version(&major, &minor));
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string MpiSession::thread_level() {
  int level = MPI_THREAD_SINGLE;
  RANKINE_MPI(MPI_Query_thread(&level));
  switch (level) {
    case MPI_THREAD_MULTIPLE:
      return "multiple";
    case MPI_THREAD_SERIALIZED:
      return "serialized";
    case MPI_THREAD_FUNNELED:
      return "funneled";
    default:
      return "single";
  }
}

bool MpiSession::takes_device_pointers() {
#ifdef RANKINE_MPI_SPEAKS_OF_CUDA
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

// --------------------------------------------------------------------------------------------------
// Communicator

struct Communicator::Handle {
  MPI_Comm comm = MPI_COMM_NULL;
  bool owned = false;

  Handle(MPI_Comm communicator, bool owns) : comm(communicator), owned(owns) {
    // MPI's default handler ends the program before check() can say what happened.
    if (comm != MPI_COMM_NULL) RANKINE_MPI(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  }
  ~Handle() {
    if (owned && MpiSession::running()) MPI_Comm_free(&comm);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

Communicator::Communicator(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {
  if (without_mpi()) return;
  RANKINE_MPI(MPI_Comm_rank(handle_->comm, &rank_));
  RANKINE_MPI(MPI_Comm_size(handle_->comm, &size_));
}

Communicator::~Communicator() = default;
Communicator::Communicator(Communicator&& other) noexcept = default;
Communicator& Communicator::operator=(Communicator&& other) noexcept = default;

Communicator Communicator::world() {
  RANKINE_ASSERT(MpiSession::running(), "MPI is used before its start or after its end");
  return Communicator(std::make_unique<Handle>(MPI_COMM_WORLD, false));
}

Communicator Communicator::self() {
  RANKINE_ASSERT(MpiSession::running(), "MPI is used before its start or after its end");
  return Communicator(std::make_unique<Handle>(MPI_COMM_SELF, false));
}

Communicator Communicator::alone() { return Communicator(std::make_unique<Handle>(MPI_COMM_NULL, false)); }

bool Communicator::without_mpi() const { return handle_->comm == MPI_COMM_NULL; }

Communicator Communicator::split(int color, int key) const {
  RANKINE_ASSERT(color >= 0, "the colour of a split is negative: " + std::to_string(color));
  if (without_mpi()) return alone();
  MPI_Comm part = MPI_COMM_NULL;
  RANKINE_MPI(MPI_Comm_split(handle_->comm, color, key, &part));
  return Communicator(std::make_unique<Handle>(part, true));
}

Communicator Communicator::duplicate() const {
  if (without_mpi()) return alone();
  MPI_Comm copy = MPI_COMM_NULL;
  RANKINE_MPI(MPI_Comm_dup(handle_->comm, &copy));
  return Communicator(std::make_unique<Handle>(copy, true));
}

const void* Communicator::native() const { return &handle_->comm; }

void Communicator::set_piece_bytes(std::size_t bytes) {
  RANKINE_ASSERT(bytes >= 1 && bytes <= static_cast<std::size_t>(INT_MAX),
                 "a piece must have 1 to INT_MAX bytes");
  piece_limit = bytes;
}

std::size_t Communicator::piece_bytes() { return piece_limit; }

void Communicator::barrier() const {
  count_collective(0);
  if (without_mpi()) return;
  RANKINE_MPI(MPI_Barrier(handle_->comm));
}

void Communicator::broadcast_bytes(void* data, std::size_t bytes, int root) const {
  if (size_ == 1) return;
  in_pieces(bytes, [&](std::size_t offset, int length) {
    count_collective(rank_ == root ? static_cast<std::size_t>(length) : 0);
    RANKINE_MPI(MPI_Bcast(as_bytes(data) + offset, length, MPI_BYTE, root, handle_->comm));
  });
}

std::size_t Communicator::broadcast_length(std::size_t length, int root) const {
  broadcast_bytes(&length, sizeof(length), root);
  return length;
}

void Communicator::broadcast(std::string& text, int root) const {
  text.resize(broadcast_length(text.size(), root));
  broadcast_bytes(text.data(), text.size(), root);
}

void Communicator::all_gather_bytes(const void* send, void* receive, std::size_t bytes) const {
  RANKINE_ASSERT(bytes <= static_cast<std::size_t>(INT_MAX), "all_gather of a value above 2 GiB");
  const int count = static_cast<int>(bytes);
  count_collective(bytes);
  if (without_mpi()) {
    std::copy_n(as_bytes(send), bytes, as_bytes(receive));
    return;
  }
  RANKINE_MPI(MPI_Allgather(send, count, MPI_BYTE, receive, count, MPI_BYTE, handle_->comm));
}

void Communicator::gather_bytes(const void* send, void* receive, const std::vector<std::size_t>& lengths,
                                int root) const {
  Exchange exchange(*this);
  if (rank_ == root) {
    std::size_t offset = 0;
    for (int from = 0; from < size_; ++from) {
      const std::size_t length = lengths[static_cast<std::size_t>(from)];
      if (from == rank_) {
        std::copy_n(as_bytes(send), length, as_bytes(receive) + offset);
      } else {
        exchange.receive_bytes(as_bytes(receive) + offset, length, from, gather_tag);
      }
      offset += length;
    }
  } else {
    exchange.send_bytes(send, lengths[static_cast<std::size_t>(rank_)], root, gather_tag);
  }
  exchange.wait();
}

void Communicator::all_gather_bytes_varying(const void* send, void* receive,
                                            const std::vector<std::size_t>& lengths) const {
  const std::size_t total = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
  if (total > piece_limit) {  // all ranks know all lengths, and so decide alike
    gather_bytes(send, receive, lengths, 0);
    broadcast_bytes(receive, total, 0);
    return;
  }
  std::vector<int> counts(lengths.begin(), lengths.end()), offsets(lengths.size(), 0);
  std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
  const int own = counts[static_cast<std::size_t>(rank_)];
  count_collective(static_cast<std::size_t>(own));
  if (without_mpi()) {
    std::copy_n(as_bytes(send), total, as_bytes(receive));
    return;
  }
  RANKINE_MPI(
      MPI_Allgatherv(send, own, MPI_BYTE, receive, counts.data(), offsets.data(), MPI_BYTE, handle_->comm));
}

std::vector<std::string> Communicator::all_gather_text(const std::string& text) const {
  std::vector<std::size_t> lengths;
  const auto all = all_gather_varying(std::span<const char>(text), &lengths);
  std::vector<std::string> texts;
  std::size_t offset = 0;
  for (const std::size_t length : lengths) {
    texts.emplace_back(all.data() + offset, length);
    offset += length;
  }
  return texts;
}

void Communicator::all_to_all_bytes(const void* send, std::span<const std::size_t> send_counts,
                                    std::size_t send_total, void* receive,
                                    std::span<const std::size_t> receive_counts, std::size_t receive_total,
                                    std::size_t value_bytes) const {
  const auto ranks = static_cast<std::size_t>(size_);
  const auto total = [](std::span<const std::size_t> counts) {
    return std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  };
  RANKINE_ASSERT(send_counts.size() == ranks && receive_counts.size() == ranks,
                 "all_to_all needs a count per rank");
  RANKINE_ASSERT(total(send_counts) == send_total && total(receive_counts) == receive_total,
                 "all_to_all's counts do not add up to its buffers");
  // By messages, because the int offsets of MPI_Alltoallv end at 2 GiB, and ranks without data for each other
  // need none.
  Exchange exchange(*this);
  std::size_t send_offset = 0, receive_offset = 0, own_send = 0, own_receive = 0;
  for (int other = 0; other < size_; ++other) {
    const std::size_t out = send_counts[static_cast<std::size_t>(other)] * value_bytes;
    const std::size_t in = receive_counts[static_cast<std::size_t>(other)] * value_bytes;
    if (other == rank_) {
      RANKINE_ASSERT(in == out, "all_to_all: a rank sends itself another length than it receives");
      own_send = send_offset;
      own_receive = receive_offset;
    } else {
      exchange.receive_bytes(as_bytes(receive) + receive_offset, in, other, all_to_all_tag);
    }
    send_offset += out;
    receive_offset += in;
  }
  send_offset = 0;
  for (int other = 0; other < size_; ++other) {
    const std::size_t out = send_counts[static_cast<std::size_t>(other)] * value_bytes;
    if (other != rank_) exchange.send_bytes(as_bytes(send) + send_offset, out, other, all_to_all_tag);
    send_offset += out;
  }
  std::copy_n(as_bytes(send) + own_send, send_counts[static_cast<std::size_t>(rank_)] * value_bytes,
              as_bytes(receive) + own_receive);
  exchange.wait();
}

namespace {
std::int64_t reduce(std::int64_t value, MPI_Op operation, MPI_Comm comm) {
  std::int64_t result = 0;
  count_collective(sizeof(value));
  if (comm == MPI_COMM_NULL) return value;  // Communicator::alone()
  RANKINE_MPI(MPI_Allreduce(&value, &result, 1, MPI_INT64_T, operation, comm));
  return result;
}
}  // namespace

std::int64_t Communicator::sum(std::int64_t value) const { return reduce(value, MPI_SUM, handle_->comm); }
std::int64_t Communicator::max(std::int64_t value) const { return reduce(value, MPI_MAX, handle_->comm); }
std::int64_t Communicator::min(std::int64_t value) const { return reduce(value, MPI_MIN, handle_->comm); }

double Communicator::max(double value) const {
  double result = value;  // the result of MPI_MAX for NaN depends on the implementation
  for (const double other : all_gather(value)) {
    if (std::isnan(other)) return other;
    if (other > result) result = other;
  }
  return result;
}

double Communicator::min(double value) const { return -max(-value); }

void Communicator::sum(std::span<std::int64_t> values) const {
  if (without_mpi()) return;
  const std::size_t piece = std::max<std::size_t>(piece_limit / sizeof(std::int64_t), 1);
  for (std::size_t first = 0; first < values.size(); first += piece) {
    const std::size_t count = std::min(piece, values.size() - first);
    count_collective(count * sizeof(std::int64_t));
    RANKINE_MPI(MPI_Allreduce(MPI_IN_PLACE, values.data() + first, static_cast<int>(count), MPI_INT64_T,
                              MPI_SUM, handle_->comm));
  }
}

namespace {

// Kinds of exceptions, as the numbers that ranks exchange. 0 is success.
enum FailureKind : int { success, input_failure, numerical_failure, io_failure, other_failure };

int run_and_catch(const std::function<void()>& work, std::string& message) {
  try {
    work();
    return success;
  } catch (const InputError& error) {
    message = error.what();
    return input_failure;
  } catch (const NumericalError& error) {
    message = error.what();
    return numerical_failure;
  } catch (const IoError& error) {
    message = error.what();
    return io_failure;
  } catch (const std::exception& error) {
    message = error.what();
    return other_failure;
  }
}

void throw_failure(int kind, const std::string& own, int rank) {
  const std::string message = rank > 0 ? "rank " + std::to_string(rank) + ": " + own : own;
  if (kind == input_failure) throw InputError(message);
  if (kind == numerical_failure) throw SharedNumericalError(message, rank, own);
  if (kind == io_failure) throw IoError(message);
  throw std::runtime_error(message);
}

}  // namespace

void Communicator::together(const std::function<void()>& work) const {
  std::string message;
  int kind = run_and_catch(work, message);
  const int failed = min(kind == success ? size_ : rank_);
  if (failed == size_) return;
  broadcast(kind, failed);
  broadcast(message, failed);
  throw_failure(kind, message, failed);
}

void Communicator::on_root(const std::function<void()>& work) const {
  std::string message;
  int kind = success;
  if (is_root()) kind = run_and_catch(work, message);
  broadcast(kind);
  if (kind == success) return;
  broadcast(message);
  throw_failure(kind, message, 0);
}

std::vector<std::string> Communicator::host_names() const {
  char name[MPI_MAX_PROCESSOR_NAME] = "";
  if (without_mpi()) {
    ::gethostname(name, sizeof name - 1);
    return {name};
  }
  int length = 0;
  RANKINE_MPI(MPI_Get_processor_name(name, &length));
  return all_gather_text(std::string(name, static_cast<std::size_t>(length)));
}

// ------------------------------------------------------------------------------------------------------
// Exchange

struct Exchange::Pending {
  std::vector<MPI_Request> requests;
  std::vector<int> expected;  // number of bytes of each receive, -1 for a send
  std::vector<int> partners;
  /// A message from or to device memory that goes through host memory.
  struct Staged {
    Pinned host;
    DevicePtr<std::byte> target;  // where received values go
    std::size_t bytes;
  };
  std::vector<Staged> staged;
};

namespace {
/// Whether MPI gets addresses of device memory. With RANKINE_MEMORY=separate it does not, because such
/// addresses only imitate a device.
bool passes_device_memory() {
  if (!kDeviceBuild) return !separate_memory();
  static const bool takes = MpiSession::takes_device_pointers();
  return takes;
}
}  // namespace

Exchange::Exchange(const Communicator& communicator)
    : communicator_(communicator), pending_(std::make_unique<Pending>()) {}

Exchange::~Exchange() {
  // Messages are still in progress here only after an exception. The buffers must outlive them, too.
  if (!pending_->requests.empty() && MpiSession::running()) {
    MPI_Waitall(static_cast<int>(pending_->requests.size()), pending_->requests.data(), MPI_STATUSES_IGNORE);
  }
}

void Exchange::send_bytes(const void* data, std::size_t bytes, int to, int tag) {
  in_pieces(bytes, [&](std::size_t offset, int length) {
    MPI_Request request = MPI_REQUEST_NULL;
    RANKINE_MPI(
        MPI_Isend(as_bytes(data) + offset, length, MPI_BYTE, to, tag, communicator_.handle_->comm, &request));
    pending_->requests.push_back(request);
    pending_->expected.push_back(-1);
    pending_->partners.push_back(to);
    ++traffic_so_far.messages;
    traffic_so_far.bytes += length;
  });
}

void Exchange::receive_bytes(void* data, std::size_t bytes, int from, int tag) {
  in_pieces(bytes, [&](std::size_t offset, int length) {
    MPI_Request request = MPI_REQUEST_NULL;
    RANKINE_MPI(MPI_Irecv(as_bytes(data) + offset, length, MPI_BYTE, from, tag, communicator_.handle_->comm,
                          &request));
    pending_->requests.push_back(request);
    pending_->expected.push_back(length);
    pending_->partners.push_back(from);
  });
}

void Exchange::send_device_bytes(DevicePtr<const std::byte> data, std::size_t bytes, int to, int tag) {
  if (passes_device_memory()) {
    fence();
    return send_bytes(data.opaque(), bytes, to, tag);
  }
  pending_->staged.push_back({pinned(bytes), nullptr, bytes});
  std::byte* const host = pending_->staged.back().host.get();
  copy_bytes_to_host(host, data, bytes);
  send_bytes(host, bytes, to, tag);
}

void Exchange::receive_device_bytes(DevicePtr<std::byte> data, std::size_t bytes, int from, int tag) {
  if (passes_device_memory()) {
    fence();
    return receive_bytes(data.opaque(), bytes, from, tag);
  }
  pending_->staged.push_back({pinned(bytes), data, bytes});
  receive_bytes(pending_->staged.back().host.get(), bytes, from, tag);
}

void Exchange::wait() {
  if (pending_->requests.empty()) return;
  std::vector<MPI_Status> statuses(pending_->requests.size());
  const int error = timed([&] {
    return MPI_Waitall(static_cast<int>(statuses.size()), pending_->requests.data(), statuses.data());
  });
  const Pending done = std::exchange(*pending_, {});
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    if (error == MPI_ERR_IN_STATUS && statuses[i].MPI_ERROR != MPI_SUCCESS &&
        statuses[i].MPI_ERROR != MPI_ERR_PENDING) {
      check(statuses[i].MPI_ERROR, ("a message between rank " + std::to_string(communicator_.rank()) +
                                    " and rank " + std::to_string(done.partners[i]))
                                       .c_str());
    }
    if (error != MPI_SUCCESS || done.expected[i] < 0) continue;
    int received = 0;
    RANKINE_MPI(MPI_Get_count(&statuses[i], MPI_BYTE, &received));
    if (received != done.expected[i]) {
      throw CommunicationError("rank " + std::to_string(communicator_.rank()) + " received " +
                               std::to_string(received) + " bytes from rank " +
                               std::to_string(done.partners[i]) + " where it expected " +
                               std::to_string(done.expected[i]));
    }
  }
  check(error, "MPI_Waitall");
  for (const Pending::Staged& staged : done.staged)
    if (staged.target) copy_bytes_to_device(staged.target, staged.host.get(), staged.bytes);
}

}  // namespace rankine
