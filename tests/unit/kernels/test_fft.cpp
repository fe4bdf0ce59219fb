// fft() by the library of this build, and the portable transform, against the definition.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "kernels/fft.hpp"
#include "kernels/fft_host.hpp"
#include "kernels/fft_plans.hpp"
#include "kernels/fft_portable.hpp"
#include "kernels/real_fft.hpp"
#include "kernels/runtime.hpp"

namespace rankine::kernels {
namespace {

constexpr FftDirection kDirections[] = {FftDirection::forward, FftDirection::backward};
constexpr std::int64_t kLengths[] = {1, 2, 3, 4, 5, 8, 12, 16, 35, 40, 64, 97, 101, 210, 256};

template <class T>
using Line = std::vector<std::complex<T>>;

template <class T>
Line<T> random_line(std::int64_t n, unsigned seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<T> uniform(-1, 1);
  Line<T> x(static_cast<std::size_t>(n));
  for (auto& value : x) {
    const T re = uniform(rng);
    value = {re, uniform(rng)};
  }
  return x;
}

std::int64_t count_of(const FftLines& lines) { return lines.outer * lines.n * lines.inner; }

/// Memory of the device with a copy of `values`.
template <class T>
class OnDevice {
 public:
  explicit OnDevice(const Line<T>& values)
      : count_(static_cast<std::int64_t>(values.size())),
        memory_(device_allocate(values.size() * sizeof(std::complex<T>) + 1)) {
    copy_to_device(data(), values.data(), count_);
  }
  ~OnDevice() { device_free(memory_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  DevicePtr<std::complex<T>> data() const { return memory_.template as<std::complex<T>>(); }
  Line<T> values() const {
    Line<T> out(static_cast<std::size_t>(count_));
    copy_to_host(out.data(), data(), count_);
    return out;
  }

 private:
  std::int64_t count_;
  DevicePtr<std::byte> memory_;
};

/// fft() of numbers that begin `offset` numbers after the beginning of their memory.
template <class T>
Line<T> transformed(const FftLines& lines, FftDirection direction, T factor, const Line<T>& x,
                    std::int64_t offset = 0) {
  Line<T> padded(static_cast<std::size_t>(offset));
  padded.insert(padded.end(), x.begin(), x.end());
  const OnDevice<T> from(padded), to(padded), work(Line<T>(static_cast<std::size_t>(fft_work<T>(lines))));
  fft<T>(lines, direction, factor, from.data() + offset, to.data() + offset, work.data());
  EXPECT_EQ(from.values(), padded) << "the input was written to";
  const Line<T> y = to.values();
  EXPECT_TRUE(std::equal(y.begin(), y.begin() + offset, padded.begin())) << "written before the output";
  return {y.begin() + offset, y.end()};
}

template <class T>
Line<T> by_definition(const FftLines& lines, FftDirection direction, T factor, const Line<T>& x) {
  Line<T> y(x.size());
  const long double turn = (direction == FftDirection::forward ? -2 : 2) * std::numbers::pi_v<long double>;
  std::vector<std::complex<long double>> roots;
  for (std::int64_t k = 0; k < lines.n; ++k)
    roots.push_back(std::polar(1.0L, turn * static_cast<long double>(k) / static_cast<long double>(lines.n)));
  for (std::int64_t o = 0; o < lines.outer; ++o)
    for (std::int64_t i = 0; i < lines.inner; ++i) {
      const auto at = [&](std::int64_t j) {
        return static_cast<std::size_t>((o * lines.n + j) * lines.inner + i);
      };
      for (std::int64_t k = 0; k < lines.n; ++k) {
        std::complex<long double> sum = 0;
        for (std::int64_t j = 0; j < lines.n; ++j) {
          const std::complex<long double>& w = roots[static_cast<std::size_t>(j * k % lines.n)];
          const long double re = x[at(j)].real(), im = x[at(j)].imag();
          sum += std::complex<long double>(re * w.real() - im * w.imag(), re * w.imag() + im * w.real());
        }
        y[at(k)] = std::complex<T>(sum * static_cast<long double>(factor));
      }
    }
  return y;
}

/// The largest difference, in units of what rounding once costs a sum of n terms of size 1.
template <class T>
double distance(const Line<T>& a, const Line<T>& b, std::int64_t n) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i)
    worst = std::max(worst, static_cast<double>(std::abs(a[i] - b[i])));
  return worst / (std::numeric_limits<T>::epsilon() * std::sqrt(static_cast<double>(n)));
}

template <class T>
bool same_bits(const Line<T>& a, const Line<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

template <class T>
struct Portable {
  const PortableFft<T>* plan;
  void operator()(const FftLines& lines, std::int64_t first, std::int64_t last, const std::complex<T>* x,
                  std::complex<T>* y) const {
    portable_fft(*plan, lines, first, last, false, T(1), x, y);
  }
};

template <class T>
class Fft : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Fft, Types);

TYPED_TEST(Fft, MatchesTheDefinition) {
  using T = TypeParam;
  for (const std::int64_t n : kLengths)
    for (const auto& [outer, inner] : {std::pair{1, 1}, {3, 1}, {1, 5}, {2, 19}})
      for (const FftDirection direction : kDirections) {
        const FftLines lines{outer, n, inner};
        const T factor = direction == FftDirection::forward ? T(1) : T(1) / static_cast<T>(n);
        const Line<T> x = random_line<T>(count_of(lines), 1);
        const Line<T> expected = by_definition(lines, direction, factor, x);
        // The most that was seen: 12, for n = 210 by the portable one.
        EXPECT_LE(distance(transformed(lines, direction, factor, x), expected, n) / factor, 25)
            << fft_library() << ", n = " << n << ", " << outer << " x " << inner;
        Line<T> own(x.size());
        portable_fft(PortableFft<T>(n), lines, 0, outer * inner, direction == FftDirection::backward, factor,
                     x.data(), own.data());
        EXPECT_LE(distance(own, expected, n) / factor, 25)
            << "portable, n = " << n << ", " << outer << " x " << inner;
      }
}

// A rank may hold any number of lines, wherever they lie: its bits must be those of any other rank.
TYPED_TEST(Fft, BitsDependOnTheLineAlone) {
  using T = TypeParam;
  for (const std::int64_t n : kLengths)
    for (const FftDirection direction : kDirections)
      for (const T factor : {T(1), T(0.3)}) {
        const Line<T> x = random_line<T>(n, 2);
        const Line<T> alone = transformed({1, n, 1}, direction, factor, x);
        for (const auto& [outer, inner] : {std::pair{1, 1}, {64, 1}, {1, 2}, {1, 3}, {1, 33}, {3, 17}})
          for (const std::int64_t offset : {0, 1, 3}) {
            const FftLines lines{outer, n, inner};
            Line<T> many = random_line<T>(count_of(lines), 3);
            const std::int64_t o = outer - 1, i = inner / 2;
            const auto at = [&](std::int64_t j) { return static_cast<std::size_t>((o * n + j) * inner + i); };
            for (std::int64_t j = 0; j < n; ++j) many[at(j)] = x[static_cast<std::size_t>(j)];
            many = transformed(lines, direction, factor, many, offset);
            Line<T> found;
            for (std::int64_t k = 0; k < n; ++k) found.push_back(many[at(k)]);
            EXPECT_TRUE(same_bits(found, alone))
                << "n = " << n << ", " << outer << " x " << inner << " lines, offset " << offset;
          }
      }
}

TYPED_TEST(Fft, BackwardIsTheAdjointOfForward) {  // <F x, y> = <x, F* y>
  using T = TypeParam;
  const auto product = [](const Line<T>& a, const Line<T>& b) {
    std::complex<double> sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += std::conj(std::complex<double>(a[i])) * std::complex<double>(b[i]);
    return sum;
  };
  for (const std::int64_t n : kLengths) {
    const FftLines lines{2, n, 3};
    const Line<T> x = random_line<T>(count_of(lines), 4), y = random_line<T>(count_of(lines), 5);
    const auto left = product(transformed(lines, FftDirection::forward, T(1), x), y);
    const auto right = product(x, transformed(lines, FftDirection::backward, T(1), y));
    EXPECT_LE(std::abs(left - right), 50 * std::numeric_limits<T>::epsilon() * static_cast<double>(n))
        << "n = " << n;
  }
}

TYPED_TEST(Fft, ThroughCopiesOnTheHostTheSame) {
  using T = TypeParam;
  const FftLines lines{3, 12, 5};
  const Line<T> x = random_line<T>(count_of(lines), 7);
  const OnDevice<T> from(x), in_place(x), copied(x);
  const PortableFft<T> plan(lines.n);
  const Portable<T> transform{&plan};
  transform_copies<T>(transform, lines, from.data(), copied.data());
  Line<T> expected(x.size());
  transform(lines, 0, 15, x.data(), expected.data());
  EXPECT_TRUE(same_bits(copied.values(), expected));
  if constexpr (kHostAccess) {
    transform_in_place<T>(transform, lines, from.data(), in_place.data());
    EXPECT_TRUE(same_bits(in_place.values(), expected));
  }
}

TYPED_TEST(Fft, NoLinesAreNoWork) {
  using T = TypeParam;
  fft<T>({0, 5, 3}, FftDirection::forward, 1, nullptr, nullptr, nullptr);
  fft<T>({3, 5, 0}, FftDirection::forward, 1, nullptr, nullptr, nullptr);
  EXPECT_THROW(fft<T>({1, 0, 1}, FftDirection::forward, 1, nullptr, nullptr, nullptr), std::logic_error);
}

TEST(FftPlans, AreMadeOnceByManyThreads) {
  FftPlans<int, int> plans;
  std::atomic<int> inside = 0, made = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        const int& plan = plans.find(n, [&](int key) {
          if (++inside != 1) ++wrong;
          ++made;
          --inside;
          return 3 * key;
        });
        if (plan != 3 * n || &plan != &plans.find(n, [&](int) { return ++wrong, 0; })) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1000);
  EXPECT_EQ(wrong, 0);
}

TEST(FftLibrary, IsTheOneThatWasConfigured) {
  EXPECT_THAT(fft_library(), ::testing::StartsWith(RANKINE_TEST_FFT_LIBRARY));
}

/// Boxes of one to three axes against the definition, and back.
TEST(RealFft, SumsOverCellsAndBack) {
  struct Box {
    std::vector<int> cells;
    int waves;
  };
  for (const auto& [cells, waves] :
       {Box{{2}, 0}, Box{{16}, 7}, Box{{18}, 5}, Box{{5, 8}, 3}, Box{{6, 4}, 1}, Box{{3, 4, 10}, 4}}) {
    const RealFft transform(cells, waves);
    const long n = transform.cells(), modes = transform.modes(), count = 3;
    const auto phase = [&](long mode, long cell) {
      const std::array<int, 3> k = transform.wave(mode);
      double sum = 0;
      for (std::size_t axis = cells.size(); axis-- > 0; cell /= cells[axis])
        sum += 2 * std::numbers::pi * k[axis] * static_cast<double>(cell % cells[axis]) / cells[axis];
      return sum;
    };
    const Line<double> random = random_line<double>(count * n, 1);
    std::vector<double> u, back(static_cast<std::size_t>(count * n));
    for (const auto& value : random) u.push_back(value.real());
    Line<double> kept(static_cast<std::size_t>(count * modes));
    transform.forward(count, u.data(), kept.data());
    transform.backward(count, kept.data(), back.data());
    for (long f = 0; f < count; ++f) {
      for (long mode = 0; mode < modes; ++mode) {
        std::complex<double> sum = 0;
        for (long i = 0; i < n; ++i) sum += u[f * n + i] * std::polar(1.0, -phase(mode, i));
        EXPECT_LT(std::abs(kept[f * modes + mode] - sum), 1e-14 * static_cast<double>(n));
      }
      for (long i = 0; i < n; ++i) {
        double sum = 0;  // a wave along the last axis counts with its conjugate
        for (long mode = 0; mode < modes; ++mode)
          sum += (transform.wave(mode)[cells.size() - 1] > 0 ? 2 : 1) *
                 (kept[f * modes + mode] * std::polar(1.0, phase(mode, i))).real() / static_cast<double>(n);
        EXPECT_NEAR(back[f * n + i], sum, 1e-14 * static_cast<double>(n));
      }
    }
  }
}

}  // namespace
}  // namespace rankine::kernels
