// Runs device bodies on the host: each thread of a team is a fibre, which barriers and shuffles switch. For
// proofs that a body's indices, barriers and trees are right, not for speed. kernels/ only, in builds with
// RANKINE_EMULATE_DEVICE.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <vector>

#include "kernels/launch_state.hpp"

namespace rankine::kernels::emulated {

struct Fibre {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  unsigned lane, warp;
  int barriers;  // met so far, those of a warp too
  bool waits, done;
};
struct Team {
  std::vector<Fibre> fibres;
  std::vector<double> slots;  // what a shuffle hands over
  ucontext_t scheduler;
  int current = 0, arrived = 0, alive = 0;

  void release_if_all_arrived() {
    if (arrived != alive) return;
    arrived = 0;
    for (Fibre& fibre : fibres) fibre.waits = false;
  }
};
inline Team* team = nullptr;

inline unsigned lane_index() { return team->fibres[static_cast<std::size_t>(team->current)].lane; }
inline unsigned warp_index() { return team->fibres[static_cast<std::size_t>(team->current)].warp; }

inline void switch_out() {
  Team& t = *team;
  Fibre& fibre = t.fibres[static_cast<std::size_t>(t.current)];
  swapcontext(&fibre.context, &t.scheduler);
}
/// The barrier that no fibre waits at, counted among those that a fibre meets: for proofs that the others do
/// notice.
inline int left_out = -1;
inline bool leave_out() {
  return team->fibres[static_cast<std::size_t>(team->current)].barriers++ == left_out;
}
inline void barrier() {
  if (leave_out()) return;
  Team& t = *team;
  Fibre& fibre = t.fibres[static_cast<std::size_t>(t.current)];
  fibre.waits = true;
  ++t.arrived;
  t.release_if_all_arrived();
  while (fibre.waits) switch_out();
}
// All lanes of a warp that take part call this equally often: two switches each keep them in step.
template <class T>
T exchange(T value, int source) {
  static_assert(sizeof(T) <= sizeof(double));
  Team& t = *team;
  std::memcpy(&t.slots[static_cast<std::size_t>(t.current)], &value, sizeof value);
  switch_out();
  T received;
  std::memcpy(&received, &t.slots[static_cast<std::size_t>(source)], sizeof received);
  switch_out();
  return received;
}
inline int first_lane(int width) { return team->current / width * width; }
template <class T>
T __shfl_down_sync(unsigned /*mask*/, T value, int by, int width) {
  const int lane = team->current % width;
  return exchange(value, first_lane(width) + (lane + by < width ? lane + by : lane));
}
template <class T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int by, int width) {
  return exchange(value, first_lane(width) + ((team->current % width) ^ by));
}
template <class T>
T __shfl_sync(unsigned /*mask*/, T value, int from, int width) {
  return exchange(value, first_lane(width) + from);
}
inline void __syncwarp() {
  if (!leave_out()) switch_out();
}

/// What a body sees of its team, under Kokkos' names.
struct Member {
  std::int64_t league;
  int rank, size;
  char* scratch;
  mutable std::size_t used = 0;
  std::int64_t league_rank() const { return league; }
  int team_rank() const { return rank; }
  int team_size() const { return size; }
  const Member& team_scratch(int /*level*/) const { return *this; }
  void* get_shmem(std::size_t bytes) const {
    void* const memory = scratch + used;
    used += (bytes + 15) / 16 * 16;
    return memory;
  }
  void team_barrier() const { barrier(); }
};

template <class Body>
struct Start {
  const Body* body;
  std::int64_t league;
  int size, vector;
  char* scratch;
};
template <class Body>
void enter(unsigned low, unsigned high) {
  const auto* start = reinterpret_cast<const Start<Body>*>((static_cast<std::uintptr_t>(high) << 32U) | low);
  Team& t = *team;
  const int me = t.current;
  const Member member{start->league, me / start->vector, start->size, start->scratch};
  (*start->body)(member);
  t.fibres[static_cast<std::size_t>(me)].done = true;
  --t.alive;
  t.release_if_all_arrived();
  switch_out();
}

/// A fibre that starts in `entry`. A function of its own, because GCC fears that getcontext, which may return
/// twice, loses what the caller holds in registers.
__attribute__((noinline)) inline void start_fibre(Fibre& fibre, std::size_t stack_bytes,
                                                  ucontext_t* scheduler, void (*entry)(),
                                                  std::uintptr_t address) {
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = fibre.stack.get();
  fibre.context.uc_stack.ss_size = stack_bytes;
  fibre.context.uc_link = scheduler;
  makecontext(&fibre.context, entry, 2, static_cast<unsigned>(address & 0xffffffffU),
              static_cast<unsigned>(address >> 32U));
}

/// Teams one after the other in `order`, and so the warps of a team, each as far as it gets: what waits for
/// no barrier must not need what others do. Within a warp fibres take turns.
template <class Body>
void run_teams(std::int64_t league, int size, int vector, std::size_t scratch, const Body& body,
               LaunchOrder order) {
  constexpr std::size_t stack_bytes = 65536;
  Team t;
  team = &t;
  const int threads = size * vector;
  t.fibres.resize(static_cast<std::size_t>(threads));
  t.slots.resize(static_cast<std::size_t>(threads));
  for (Fibre& fibre : t.fibres) fibre.stack.reset(new char[stack_bytes]);
  std::vector<char> memory(scratch + 4096);
  for (std::int64_t q = 0; q < league; ++q) {
    std::memset(memory.data(), 0xCB, memory.size());  // shared memory holds nothing at the start
    Start<Body> start{&body, permuted(q, league, order), size, vector, memory.data()};
    const auto address = reinterpret_cast<std::uintptr_t>(&start);
    t.alive = threads;
    t.arrived = 0;
    for (int i = 0; i < threads; ++i) {
      Fibre& fibre = t.fibres[static_cast<std::size_t>(i)];
      fibre.lane = static_cast<unsigned>(i % vector);
      fibre.warp = static_cast<unsigned>(i / vector);
      fibre.barriers = 0;
      fibre.waits = fibre.done = false;
      start_fibre(fibre, stack_bytes, &t.scheduler, reinterpret_cast<void (*)()>(&enter<Body>), address);
    }
    while (t.alive > 0)
      for (int w = 0; w < size; ++w) {
        const auto first = static_cast<int>(permuted(w, size, order)) * vector;
        for (bool moved = true; moved;) {
          moved = false;
          for (int i = 0; i < vector; ++i) {
            t.current = first + static_cast<int>(permuted(i, vector, order));
            Fibre& fibre = t.fibres[static_cast<std::size_t>(t.current)];
            if (fibre.waits || fibre.done) continue;
            swapcontext(&t.scheduler, &fibre.context);
            moved = true;
          }
        }
      }
  }
  team = nullptr;
}

}  // namespace rankine::kernels::emulated
