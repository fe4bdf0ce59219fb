#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/comm/communicator.hpp"

namespace rankine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Cuts messages in pieces of a few bytes, so that a small test takes the path of messages above 2 GiB.
struct SmallPieces {
  explicit SmallPieces(std::size_t bytes) { Communicator::set_piece_bytes(bytes); }
  ~SmallPieces() { Communicator::set_piece_bytes(before); }
  std::size_t before = Communicator::piece_bytes();
};

class CommunicatorTest : public testing::TestWithParam<std::size_t> {
 protected:
  CommunicatorTest() : pieces_(GetParam()) {}
  const Communicator world = Communicator::world();
  const int rank = world.rank(), size = world.size();

 private:
  SmallPieces pieces_;
};
INSTANTIATE_TEST_SUITE_P(PieceBytes, CommunicatorTest,
                         testing::Values(std::size_t{1} << 30, std::size_t{13}));

TEST_P(CommunicatorTest, BroadcastsFromAnyRoot) {
  for (int root = 0; root < size; ++root) {
    double value = rank == root ? 1.5 : 0.0;
    std::string text = rank == root ? "a text longer than a piece" : "x";
    std::vector<int> values;
    if (rank == root) values = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    std::vector<int> none = rank == root ? std::vector<int>{} : std::vector<int>{1, 2};
    world.broadcast(value, root);
    world.broadcast(text, root);
    world.broadcast(values, root);
    world.broadcast(none, root);
    EXPECT_EQ(value, 1.5);
    EXPECT_EQ(text, "a text longer than a piece");
    EXPECT_THAT(values, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
    EXPECT_TRUE(none.empty());
  }
}

TEST_P(CommunicatorTest, GathersInRankOrder) {
  std::vector<std::int64_t> own(static_cast<std::size_t>(3 * rank), rank);  // rank 0 has none
  std::vector<std::int64_t> expected;
  for (int r = 0; r < size; ++r) expected.insert(expected.end(), static_cast<std::size_t>(3 * r), r);
  std::vector<std::size_t> lengths;
  EXPECT_EQ(world.all_gather_varying(std::span<const std::int64_t>(own), &lengths), expected);
  for (int r = 0; r < size; ++r)
    EXPECT_EQ(lengths[static_cast<std::size_t>(r)], static_cast<std::size_t>(3 * r));
  const int root = size - 1;
  const auto gathered = world.gather_varying(std::span<const std::int64_t>(own), root);
  EXPECT_EQ(gathered, rank == root ? expected : std::vector<std::int64_t>{});
  EXPECT_EQ(world.all_gather(rank).back(), size - 1);
  EXPECT_EQ(world.gather(rank).size(), rank == 0 ? static_cast<std::size_t>(size) : 0);
  const auto texts = world.all_gather_text(std::string(static_cast<std::size_t>(rank), 'a'));
  EXPECT_EQ(texts.back(), std::string(static_cast<std::size_t>(size - 1), 'a'));
}

TEST_P(CommunicatorTest, SendsToAll) {
  // Rank a sends a + b values (100 a + b) to rank b; rank 0 sends itself nothing.
  std::vector<float> send, expected;
  std::vector<std::size_t> send_counts, receive_counts;
  for (int other = 0; other < size; ++other) {
    send_counts.push_back(static_cast<std::size_t>(rank + other));
    receive_counts.push_back(static_cast<std::size_t>(rank + other));
    send.insert(send.end(), send_counts.back(), static_cast<float>(100 * rank + other));
    expected.insert(expected.end(), receive_counts.back(), static_cast<float>(100 * other + rank));
  }
  std::vector<float> received(expected.size());
  world.all_to_all(std::span<const float>(send), send_counts, std::span<float>(received), receive_counts);
  EXPECT_EQ(received, expected);
}

TEST_P(CommunicatorTest, ExchangesWithNeighbours) {
  const int right = (rank + 1) % size, left = (rank + size - 1) % size;
  const std::vector<double> own(5, rank);
  std::vector<double> from_left(5), from_right(5);
  Exchange exchange(world);
  exchange.receive(std::span<double>(from_left), left, 1);
  exchange.receive(std::span<double>(from_right), right, 2);
  exchange.send(std::span<const double>(own), right, 1);
  exchange.send(std::span<const double>(own), left, 2);
  exchange.wait();
  EXPECT_EQ(from_left, std::vector<double>(5, left));
  EXPECT_EQ(from_right, std::vector<double>(5, right));
}

TEST_P(CommunicatorTest, ReducesExactly) {
  const std::int64_t large = std::int64_t{1} << 60;
  EXPECT_EQ(world.sum(rank == 0 ? large : std::int64_t{1}), large + size - 1);
  EXPECT_EQ(world.max(rank), size - 1);
  EXPECT_EQ(world.min(rank), 0);
  EXPECT_EQ(world.max(0.5 * rank), 0.5 * (size - 1));
  EXPECT_EQ(world.min(-0.5 * rank), -0.5 * (size - 1));
  EXPECT_TRUE(std::isnan(world.max(rank == size - 1 ? std::numeric_limits<double>::quiet_NaN() : 1.0)));
  std::vector<std::int64_t> counts{1, rank, 2, 3, 4};
  world.sum(counts);
  EXPECT_THAT(counts, ElementsAre(size, size * (size - 1) / 2, 2 * size, 3 * size, 4 * size));
  EXPECT_TRUE(world.all_agree(true));
  EXPECT_FALSE(world.all_agree(rank != size - 1));
  EXPECT_EQ(world.any(rank == 1), size > 1);
}

template <class Error>
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_P(CommunicatorTest, RanksFailTogether) {
  const auto last_fails = [&] {
    world.together([&] {
      if (rank == size - 1) throw NumericalError("the pivot is 0");
    });
  };
  const std::string place = size == 1 ? "" : "rank " + std::to_string(size - 1) + ": ";
  EXPECT_EQ(message_of<NumericalError>(last_fails), place + "the pivot is 0");
  EXPECT_EQ(message_of<InputError>([&] { world.together([] { throw InputError("no such key"); }); }),
            "no such key");
  EXPECT_EQ(message_of<IoError>([&] { world.on_root([] { throw IoError("disk full"); }); }), "disk full");
  EXPECT_EQ(
      message_of<std::runtime_error>([&] { world.on_root([] { throw std::out_of_range("index 3"); }); }),
      "index 3");
  int runs = 0;
  world.on_root([&] { ++runs; });
  EXPECT_EQ(world.sum(runs), 1);
}

TEST(Communicator, AShorterMessageIsAnError) {
  const Communicator world = Communicator::world();
  if (world.size() < 2) GTEST_SKIP() << "needs two ranks";
  std::vector<int> values(4);
  if (world.rank() == 0) {
    Exchange exchange(world);
    exchange.send(std::span<const int>(values).first(3), 1);
    exchange.wait();
  } else if (world.rank() == 1) {
    Exchange exchange(world);
    exchange.receive(std::span<int>(values), 0);
    EXPECT_EQ(message_of<CommunicationError>([&] { exchange.wait(); }),
              "rank 1 received 12 bytes from rank 0 where it expected 16");
  }
}

TEST(Communicator, ALongerMessageIsAnError) {
  const Communicator world = Communicator::world();
  if (world.size() < 2) GTEST_SKIP() << "needs two ranks";
  std::vector<int> values(4);
  if (world.rank() == 0) {
    Exchange exchange(world);
    exchange.send(std::span<const int>(values), 1);
    exchange.wait();
  } else if (world.rank() == 1) {
    Exchange exchange(world);
    exchange.receive(std::span<int>(values).first(3), 0);
    EXPECT_THAT(message_of<CommunicationError>([&] { exchange.wait(); }),
                testing::AllOf(HasSubstr("rank 1"), HasSubstr("rank 0"), HasSubstr("truncate")));
  }
}

TEST(Communicator, SplitsAndMoves) {
  Communicator world = Communicator::world();
  Communicator half = world.split(world.rank() % 2, -world.rank());  // reversed order
  EXPECT_EQ(half.size(), (world.size() + (world.rank() % 2 ? 0 : 1)) / 2);
  EXPECT_EQ(half.all_gather(world.rank()).front(), half.max(world.rank()));
  const Communicator moved = std::move(half);
  EXPECT_EQ(moved.sum(1), moved.size());
  Communicator copy = world.duplicate();
  copy = world.duplicate();
  EXPECT_EQ(copy.rank(), world.rank());
  const Communicator self = Communicator::self();
  EXPECT_EQ(self.size(), 1);
  EXPECT_EQ(self.sum(std::int64_t{7}), 7);
}

TEST(Communicator, CountsWhatItSends) {
  const Communicator world = Communicator::world();
  reset_traffic();
  const int partner = world.rank() ^ 1;
  if (partner < world.size()) {
    double in = 0;
    const double out = world.rank();
    Exchange exchange(world);
    exchange.receive(std::span<double>(&in, 1), partner);
    exchange.send(std::span<const double>(&out, 1), partner);
    exchange.wait();
    EXPECT_EQ(in, partner);
  }
  EXPECT_EQ(traffic().messages, partner < world.size() ? 1 : 0);
  EXPECT_EQ(traffic().bytes, partner < world.size() ? 8 : 0);
  world.sum(1);
  EXPECT_EQ(traffic().collectives, 1);
  EXPECT_EQ(traffic().collective_bytes, 8);
}

TEST(Communicator, KnowsLibraryAndHosts) {
  const Communicator world = Communicator::world();
  EXPECT_FALSE(MpiSession::library_version().empty());
  EXPECT_EQ(MpiSession::library_version().find('\n'), std::string::npos);
  EXPECT_THAT(MpiSession::standard_version(), HasSubstr("."));
  const auto hosts = world.host_names();
  EXPECT_EQ(hosts.size(), static_cast<std::size_t>(world.size()));
  EXPECT_FALSE(hosts.back().empty());
}

TEST_P(CommunicatorTest, AloneNeedsNoMpi) {
  const Communicator alone = Communicator::alone();
  EXPECT_EQ(alone.rank(), 0);
  EXPECT_EQ(alone.size(), 1);
  alone.barrier();
  std::string text = "a text longer than a piece";
  alone.broadcast(text);
  EXPECT_EQ(text, "a text longer than a piece");
  const std::vector<int> values{1, 2, 3, 4, 5};
  EXPECT_EQ(alone.gather_varying(std::span<const int>(values)), values);
  EXPECT_EQ(alone.all_gather_varying(std::span<const int>(values)), values);
  EXPECT_EQ(alone.all_gather(7), std::vector<int>{7});
  EXPECT_EQ(alone.all_gather_text("x"), std::vector<std::string>{"x"});
  const std::vector<std::size_t> counts{values.size()};
  std::vector<int> received(values.size());
  alone.all_to_all<int>(values, counts, received, counts);
  EXPECT_EQ(received, values);
  EXPECT_EQ(alone.sum(3), 3);
  EXPECT_EQ(alone.max(-1.5), -1.5);
  std::vector<std::int64_t> sums{4, 5};
  alone.sum(std::span(sums));
  EXPECT_THAT(sums, ElementsAre(4, 5));
  EXPECT_EQ(alone.split(3, 0).size(), 1);
  EXPECT_EQ(alone.duplicate().size(), 1);
  EXPECT_FALSE(alone.host_names().front().empty());
  EXPECT_THROW(alone.together([] { throw InputError("wrong"); }), InputError);
  EXPECT_THROW(alone.on_root([] { throw IoError("broken"); }), IoError);
}

}  // namespace
}  // namespace rankine
