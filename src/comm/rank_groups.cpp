#include "src/comm/rank_groups.hpp"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include <mpi.h>

namespace rankine {
namespace {

constexpr int told_tag = 1;

MPI_Comm comm_of(const Communicator& communicator) {
  return *static_cast<const MPI_Comm*>(communicator.native());
}

void check(int error, const char* what) {
  if (error != MPI_SUCCESS) throw CommunicationError(std::string(what) + " between groups of ranks failed");
}

int group_of(int rank, int ranks, int groups) {
  return static_cast<int>(static_cast<std::int64_t>(rank) * groups / ranks);
}

}  // namespace

struct RankGroups::Messages {
  std::vector<MPI_Request> requests;
};

RankGroups::RankGroups(const Communicator& world, int wanted)
    : count_(std::clamp(wanted, 1, world.size())),
      index_(group_of(world.rank(), world.size(), count_)),
      channel_(world.duplicate()),
      group_(world.split(index_, world.rank())),
      sent_(std::make_unique<Messages>()) {}

RankGroups::~RankGroups() = default;

int RankGroups::root_of(int group) const {
  int rank = 0;
  while (group_of(rank, channel_.size(), count_) < group) ++rank;
  return rank;
}

void RankGroups::tell(std::int64_t value) {
  if (own_ != 0) return;
  own_ = value;
  largest_ = std::max(largest_, value);
  for (int group = 0; group < count_; ++group) {
    const int root = root_of(group);
    if (root == channel_.rank()) continue;
    check(MPI_Isend(&own_, 1, MPI_INT64_T, root, told_tag, comm_of(channel_),
                    &sent_->requests.emplace_back(MPI_REQUEST_NULL)),
          "a message");
  }
}

void RankGroups::receive_one() {
  std::int64_t value = 0;
  check(MPI_Recv(&value, 1, MPI_INT64_T, MPI_ANY_SOURCE, told_tag, comm_of(channel_), MPI_STATUS_IGNORE),
        "a message");
  ++received_;
  largest_ = std::max(largest_, value);
}

std::int64_t RankGroups::told() {
  while (group_.is_root()) {
    int waiting = 0;
    check(MPI_Iprobe(MPI_ANY_SOURCE, told_tag, comm_of(channel_), &waiting, MPI_STATUS_IGNORE), "a message");
    if (waiting == 0) break;
    receive_one();
  }
  return largest_;
}

std::int64_t RankGroups::meet(const std::function<void()>& meanwhile) {
  MPI_Request barrier = MPI_REQUEST_NULL;
  int all_here = 0;
  check(MPI_Ibarrier(comm_of(channel_), &barrier), "waiting");
  while (all_here == 0) {
    check(MPI_Test(&barrier, &all_here, MPI_STATUS_IGNORE), "waiting");
    if (all_here != 0) break;
    meanwhile();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  // All messages must have been received before the communicator is freed.
  const std::int64_t tellers = channel_.sum(std::int64_t{own_ != 0 ? 1 : 0});
  if (group_.is_root()) {
    const std::int64_t expected = tellers - (own_ != 0 ? 1 : 0);
    while (received_ < expected) receive_one();
  }
  check(MPI_Waitall(static_cast<int>(sent_->requests.size()), sent_->requests.data(), MPI_STATUSES_IGNORE),
        "a message");
  sent_->requests.clear();
  return channel_.max(largest_);
}

}  // namespace rankine
