#include "src/comm/rendezvous.hpp"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <chrono>
#include <exception>
#include <stdexcept>
#include <thread>
#include <utility>

#include <mpi.h>

namespace rankine {

Rendezvous::Rendezvous(const Communicator& communicator, Report report, double patience)
    : channel_(communicator.duplicate()), report_(std::move(report)), patience_(patience) {}

Rendezvous Rendezvous::within(const Communicator& part) const {
  return {part, [this](const std::exception& failure, int) { return report_(failure, channel_.rank()); },
          patience_};
}

bool Rendezvous::all_meet() const {
  if (channel_.size() == 1) return true;
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::duration<double>(patience_);
  MPI_Request barrier = MPI_REQUEST_NULL;
  int done = 0;
  bool works = MPI_Ibarrier(*static_cast<const MPI_Comm*>(channel_.native()), &barrier) == MPI_SUCCESS;
  while (works && !done && Clock::now() < deadline) {
    works = MPI_Test(&barrier, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS;
    if (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return done != 0;  // if false, the caller aborts, which ends the unfinished barrier
}

void Rendezvous::guard(const std::function<void()>& work) const {
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) return;
  if (all_meet()) channel_.together([&failure] { std::rethrow_exception(failure); });
  int exit_code = MpiSession::exit_code_on_exception;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    exit_code = report_(error, channel_.rank());
  } catch (...) {
    exit_code = report_(std::runtime_error("an exception of unknown type"), channel_.rank());
  }
  MpiSession::abort(exit_code);
}

}  // namespace rankine
