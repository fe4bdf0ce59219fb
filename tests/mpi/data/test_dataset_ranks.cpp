// Every rank has the same examples, bit for bit, and the same reasons to refuse a file.
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/io/data_file.hpp"
#include "tests/support/data_files.hpp"

namespace rankine {
namespace {

/// The bytes of all examples of all splits.
std::string fingerprint(const Dataset& data) {
  std::string bytes;
  const auto add = [&](const Tensor& t) {
    const std::vector<std::byte> own = t.to_bytes();
    bytes.append(reinterpret_cast<const char*>(own.data()), own.size());
  };
  for (Split split : {Split::training, Split::validation, Split::test}) {
    const Examples examples = data.examples(split, test::all_of(data, split), DType::f64, 5, 3);
    add(examples.inputs);
    add(examples.targets);
    for (std::int64_t id : examples.ids) bytes += std::to_string(id) + " ";
  }
  for (const auto& [name, hash] : data.sources()) bytes += name + hash;
  return xxh3_text(bytes);
}

/// A folder that all ranks know; the root writes it.
class SharedFolder {
 public:
  SharedFolder() {
    const Communicator world = Communicator::world();
    if (world.is_root()) folder_.emplace();
    path_ = folder_ ? folder_->path() : "";
    world.broadcast(path_);
  }
  ~SharedFolder() { Communicator::world().barrier(); }
  const std::string& path() const { return path_; }
  const test::Folder* on_root() const { return folder_ ? &*folder_ : nullptr; }

 private:
  std::optional<test::Folder> folder_;
  std::string path_;
};

void expect_equal_on_all_ranks(const std::string& options) {
  const Communicator world = Communicator::world(), self = Communicator::self();
  const auto together = test::make_dataset(options, world);
  const std::vector<std::string> prints = world.all_gather_text(fingerprint(*together));
  // One rank that makes it alone has the same.
  const std::string alone = fingerprint(*test::make_dataset(options, self));
  for (const std::string& print : prints) EXPECT_EQ(print, alone) << options;
}

TEST(DatasetRanks, ImagesAreEqual) {
  const SharedFolder folder;
  if (folder.on_root()) test::write_images(*folder.on_root(), 40, 20);
  Communicator::world().barrier();
  expect_equal_on_all_ranks(
      "name: fashion_mnist, path: '" + folder.path() +
      "', train: 20, validation: 10, test: 20, pool: 2, label_noise: 0.5, normalise: standard, "
      "augmentation: {flip: true, shift: 1}");
}

TEST(DatasetRanks, TablesTextsAndGeneratedSetsAreEqual) {
  expect_equal_on_all_ranks("name: table, table: breast_cancer, validation: 50");
  expect_equal_on_all_ranks("name: table, table: diabetes");
  expect_equal_on_all_ranks("name: text, files: [GPL-2, GPL-3], alphabet: occurring");
  for (const char* name :
       {"gaussian_mixture", "teacher", "sine", "parity", "modular_addition", "latency_spikes"})
    expect_equal_on_all_ranks(std::string("name: ") + name);
}

TEST(DatasetRanks, RefusalsAreEqual) {
  const SharedFolder folder;
  const Communicator world = Communicator::world();
  const std::string said = test::refusal("name: fashion_mnist, path: '" + folder.path() + "'");
  EXPECT_THAT(said, testing::HasSubstr("is missing; install the Debian package"));
  for (const std::string& other : world.all_gather_text(said)) EXPECT_EQ(other, said);
}

}  // namespace
}  // namespace rankine
