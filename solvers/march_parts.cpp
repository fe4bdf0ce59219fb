#include "solvers/march_parts.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace rankine {

const MarchMatrices& first_of(const std::vector<MarchPart>& parts) {
  RANKINE_ASSERT(!parts.empty(), "each rank of a distributed march gives a part");
  return *parts.front().matrices;
}

int owned_by(const std::vector<MarchPart>& parts) {
  size_t cells = 0;
  for (const MarchPart& part : parts) cells += part.owned.size();
  return static_cast<int>(cells);
}

std::vector<int> distinct_frames(MPI_Comm communicator, const std::vector<MarchPart>& parts, Frames which,
                                 int frames, std::vector<int>& matrix_of_frame) {
  std::vector<char> same(static_cast<size_t>(frames) * frames, 1);
  for (const MarchPart& part : parts) {
    std::vector<int> number;
    distinct_matrices(part.matrices->*which, number);
    for (int j = 0; j < frames; ++j)
      for (int k = 0; k < j; ++k) same[j * frames + k] &= number[j] == number[k];
  }
  MPI_Allreduce(MPI_IN_PLACE, same.data(), static_cast<int>(same.size()), MPI_BYTE, MPI_BAND, communicator);
  std::vector<int> firsts;
  matrix_of_frame.assign(frames, 0);
  for (int j = 0; j < frames; ++j) {
    const auto found =
        std::find_if(firsts.begin(), firsts.end(), [&](int first) { return same[j * frames + first]; });
    matrix_of_frame[j] = static_cast<int>(found - firsts.begin());
    if (found == firsts.end()) firsts.push_back(j);
  }
  return firsts;
}

}  // namespace rankine
