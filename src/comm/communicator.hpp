// Access to MPI; only src/comm and solvers call it. A Communicator is an owning handle with typed, checked
// operations. No operation here sums floating-point numbers. TileTree (src/comm/tile_tree.hpp) does that,
// with the same bits on any number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/device.hpp"
#include "kernels/error.hpp"

namespace rankine {

/// An MPI call failed, or ranks disagree about the length of a message. The program ends as after an I/O
/// failure, with exit code 3.
struct CommunicationError : IoError {
  using IoError::IoError;
};

/// A numerical failure that all ranks throw together, so that they can decide together how to go on.
struct SharedNumericalError : NumericalError {
  SharedNumericalError(const std::string& message, int rank, std::string own)
      : NumericalError(message), rank(rank), own(std::move(own)) {}
  int rank;         ///< the lowest rank with the failure
  std::string own;  ///< the message without "rank r: "
};

template <class T>
concept Sendable = std::is_trivially_copyable_v<T>;

/// What this process has sent since its start, or since the last reset_traffic().
struct Traffic {
  std::int64_t messages = 0;          ///< point-to-point messages
  std::int64_t bytes = 0;             ///< sent in these messages
  std::int64_t collectives = 0;       ///< number of collective calls
  std::int64_t collective_bytes = 0;  ///< sent by this process in them
  double seconds = 0;                 ///< spent in calls of MPI
};

const Traffic& traffic();
void reset_traffic();

/// Initialises MPI and finalises it; to be the first local variable of main(). Does nothing if MPI runs
/// already. If an exception leaves the scope of the session, all ranks are ended with
/// `exit_code_on_exception`, because the other ranks could wait for this one for ever.
class MpiSession {
 public:
  MpiSession(int& argc, char**& argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  static constexpr int exit_code_on_exception = 70;

  /// Whether a launcher of MPI programs (mpirun, srun, ...) has started this process, so that there may be
  /// other ranks. Told by environment variables alone.
  static bool launched();
  /// Ends all ranks at once, from any rank. Output streams are flushed first.
  [[noreturn]] static void abort(int exit_code);
  /// Whether MPI is initialised and not yet finalised.
  static bool running();
  /// The MPI library in one line, such as "Open MPI v4.1.4, package: ...".
  static std::string library_version();
  /// Version of the MPI standard, such as "3.1".
  static std::string standard_version();
  /// The library's thread support: "single", "funneled", "serialized" or "multiple".
  static std::string thread_level();
  /// Whether the library says that it sends from and receives into the memory of a GPU.
  static bool takes_device_pointers();
};

class Communicator {
 public:
  /// All ranks. Not collective, and without cost.
  static Communicator world();
  /// This rank alone. MPI must run.
  static Communicator self();
  /// This rank alone, without any use of MPI, which need not run.
  static Communicator alone();

  ~Communicator();
  Communicator(Communicator&& other) noexcept;
  Communicator& operator=(Communicator&& other) noexcept;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  /// The ranks that give the same colour (>= 0), ordered by key and then by their rank here. Collective.
  Communicator split(int color, int key) const;
  /// A communicator of the same ranks, whose messages are separate from those of this one. Collective.
  Communicator duplicate() const;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool is_root() const { return rank_ == 0; }

  void barrier() const;

  // Broadcasts from `root`. Vectors and strings get the length that they have there.
  template <Sendable T>
  void broadcast(std::span<T> values, int root = 0) const {
    broadcast_bytes(values.data(), values.size_bytes(), root);
  }
  template <Sendable T>
  void broadcast(T& value, int root = 0) const {
    broadcast_bytes(&value, sizeof(T), root);
  }
  template <Sendable T>
  void broadcast(std::vector<T>& values, int root = 0) const {
    values.resize(broadcast_length(values.size(), root));
    broadcast_bytes(values.data(), values.size() * sizeof(T), root);
  }
  void broadcast(std::string& text, int root = 0) const;

  /// On the root: one value from each rank, in rank order. Empty on other ranks.
  template <Sendable T>
  std::vector<T> gather(const T& value, int root = 0) const {
    return gather_varying(std::span<const T>(&value, 1), root);
  }
  /// On all ranks: one value from each rank, in rank order.
  template <Sendable T>
  std::vector<T> all_gather(const T& value) const {
    std::vector<T> all(static_cast<std::size_t>(size_));
    all_gather_bytes(&value, all.data(), sizeof(T));
    return all;
  }
  /// On the root: the values of all ranks end to end. Empty on other ranks. Lengths may differ.
  template <Sendable T>
  std::vector<T> gather_varying(std::span<const T> values, int root = 0) const {
    const auto lengths = all_gather(values.size_bytes());
    std::vector<T> all;
    if (rank_ == root)
      all.resize(std::accumulate(lengths.begin(), lengths.end(), std::size_t{0}) / sizeof(T));
    gather_bytes(values.data(), all.data(), lengths, root);
    return all;
  }
  /// On all ranks: the values of all ranks end to end. Lengths may differ; `lengths`, if given, receives the
  /// number of values of each rank.
  template <Sendable T>
  std::vector<T> all_gather_varying(std::span<const T> values,
                                    std::vector<std::size_t>* lengths = nullptr) const {
    const auto bytes = all_gather(values.size_bytes());
    std::vector<T> all(std::accumulate(bytes.begin(), bytes.end(), std::size_t{0}) / sizeof(T));
    all_gather_bytes_varying(values.data(), all.data(), bytes);
    if (lengths) {
      *lengths = bytes;
      for (auto& length : *lengths) length /= sizeof(T);
    }
    return all;
  }
  /// On all ranks: one text from each rank.
  std::vector<std::string> all_gather_text(const std::string& text) const;

  /// Sends `send_counts[r]` values to each rank r and receives `receive_counts[r]` from it, both end to end
  /// in rank order. Both sides must know the counts.
  template <Sendable T>
  void all_to_all(std::span<const T> send, std::span<const std::size_t> send_counts, std::span<T> receive,
                  std::span<const std::size_t> receive_counts) const {
    all_to_all_bytes(send.data(), send_counts, send.size(), receive.data(), receive_counts, receive.size(),
                     sizeof(T));
  }

  // Reductions that are exact, so that results do not depend on the order of the ranks.
  std::int64_t sum(std::int64_t value) const;
  std::int64_t max(std::int64_t value) const;
  std::int64_t min(std::int64_t value) const;
  int sum(int value) const { return static_cast<int>(sum(static_cast<std::int64_t>(value))); }
  int max(int value) const { return static_cast<int>(max(static_cast<std::int64_t>(value))); }
  int min(int value) const { return static_cast<int>(min(static_cast<std::int64_t>(value))); }
  /// NaN if any rank's value is NaN.
  double max(double value) const;
  double min(double value) const;
  /// Element by element, in place.
  void sum(std::span<std::int64_t> values) const;
  /// On all ranks: whether `value` is true on every rank.
  bool all_agree(bool value) const { return min(value ? 1 : 0) == 1; }
  bool any(bool value) const { return max(value ? 1 : 0) == 1; }

  /// Runs `work` on every rank. If it throws on some ranks, all ranks throw the exception of the lowest of
  /// them: the same kind (InputError, SharedNumericalError, IoError or std::runtime_error) and the same
  /// message, which begins with "rank r: " unless r is 0. `work` must not communicate once a rank may have
  /// failed.
  void together(const std::function<void()>& work) const;
  /// Runs `work` on the root alone. If it throws, all ranks throw the same.
  void on_root(const std::function<void()>& work) const;

  /// For each rank the name of the machine that it runs on.
  std::vector<std::string> host_names() const;

  /// A pointer to the MPI_Comm, for PETSc: `*static_cast<const MPI_Comm*>(native())`.
  const void* native() const;

  /// Sets the size in bytes above which messages are sent in pieces, because counts of MPI are int. For
  /// tests.
  static void set_piece_bytes(std::size_t bytes);
  static std::size_t piece_bytes();

 private:
  friend class Exchange;
  struct Handle;
  explicit Communicator(std::unique_ptr<Handle> handle);

  void broadcast_bytes(void* data, std::size_t bytes, int root) const;
  std::size_t broadcast_length(std::size_t length, int root) const;
  void all_gather_bytes(const void* send, void* receive, std::size_t bytes) const;
  void gather_bytes(const void* send, void* receive, const std::vector<std::size_t>& lengths, int root) const;
  void all_gather_bytes_varying(const void* send, void* receive,
                                const std::vector<std::size_t>& lengths) const;
  void all_to_all_bytes(const void* send, std::span<const std::size_t> send_counts, std::size_t send_total,
                        void* receive, std::span<const std::size_t> receive_counts, std::size_t receive_total,
                        std::size_t value_bytes) const;

  bool without_mpi() const;

  std::unique_ptr<Handle> handle_;
  int rank_ = 0;
  int size_ = 1;
};

/// Non-blocking messages. Buffers must live until wait() or the destructor returns.
class Exchange {
 public:
  explicit Exchange(const Communicator& communicator);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// Starts a send; an empty span sends nothing. `tag` is in [0, 30000].
  template <Sendable T>
  void send(std::span<const T> values, int to, int tag = 0) {
    send_bytes(values.data(), values.size_bytes(), to, tag);
  }
  /// Starts a receive of exactly as many values as the span has.
  template <Sendable T>
  void receive(std::span<T> values, int from, int tag = 0) {
    receive_bytes(values.data(), values.size_bytes(), from, tag);
  }
  /// The same for device memory; kernels that were launched before have finished by then. An MPI library that
  /// knows device memory gets its addresses; otherwise messages go through pinned host memory.
  template <Sendable T>
  void send(DevicePtr<const T> values, std::int64_t count, int to, int tag = 0) {
    send_device_bytes(values.template as<const std::byte>(), static_cast<std::size_t>(count) * sizeof(T), to,
                      tag);
  }
  template <Sendable T>
  void receive(DevicePtr<T> values, std::int64_t count, int from, int tag = 0) {
    receive_device_bytes(values.template as<std::byte>(), static_cast<std::size_t>(count) * sizeof(T), from,
                         tag);
  }
  /// Waits for all messages. Throws CommunicationError if one has another length than expected.
  void wait();

 private:
  friend class Communicator;
  void send_bytes(const void* data, std::size_t bytes, int to, int tag);
  void receive_bytes(void* data, std::size_t bytes, int from, int tag);
  void send_device_bytes(DevicePtr<const std::byte> data, std::size_t bytes, int to, int tag);
  void receive_device_bytes(DevicePtr<std::byte> data, std::size_t bytes, int from, int tag);

  struct Pending;
  const Communicator& communicator_;
  std::unique_ptr<Pending> pending_;
};

}  // namespace rankine
