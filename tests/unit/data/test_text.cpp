#include <filesystem>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/data/splits.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

using test::all_of;
using test::Folder;
using test::make_dataset;
using test::refusal;
using testing::AllOf;
using testing::HasSubstr;

class TextTest : public testing::Test {
 protected:
  // Every byte tells its place: file a has 200 different ones, file b 100 others in a different order.
  TextTest() {
    for (int i = 0; i < 200; ++i) a_ += static_cast<char>(i);
    for (int i = 0; i < 100; ++i) b_ += static_cast<char>(i % 2 == 0 ? 200 + i / 2 : i);
    folder_.write("a", a_);
    folder_.write("b", b_);
  }
  std::string deck(const std::string& more) const {
    return "name: text, path: '" + folder_.path() + "', " + more;
  }
  Folder folder_;
  std::string a_, b_;
};

TEST_F(TextTest, PredictsTheNextByte) {
  const auto data = make_dataset(deck("length: 8"));
  EXPECT_EQ(data->input_shape(), Shape{8});
  EXPECT_EQ(data->target_shape(), Shape{8});
  EXPECT_EQ(data->classes(), 256);
  // 160 + 80 bytes for training, of which the last is predicted only.
  EXPECT_EQ(data->size(Split::training), 29);
  EXPECT_EQ(data->size(Split::test), 3);
  const Examples two = data->examples(Split::training, std::vector<std::int64_t>{1, 19}, DType::f32);
  EXPECT_EQ(two.inputs.dtype(), DType::i32);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(host_read<std::int32_t>(two.inputs)[i], 8 + i);
    EXPECT_EQ(host_read<std::int32_t>(two.targets)[i], 9 + i);
  }
  // Window 19 begins at byte 152 of a, and what it predicts last is the first byte of b.
  EXPECT_EQ(two.ids, (std::vector<std::int64_t>{8, 152}));
  EXPECT_EQ(host_read<std::int32_t>(two.targets)[15], 200);
  EXPECT_EQ(data->examples(Split::training, std::vector<std::int64_t>{20}, DType::f32).ids[0], 200);
}

TEST_F(TextTest, SplitsShareNoByte) {
  const std::string all = a_ + b_;
  const auto data = make_dataset(deck("length: 5, stride: 1, validation: 0.2, test: 0.15"));
  std::map<std::int64_t, Split> owner;
  for (Split split : all_splits) {
    const Examples examples = data->examples(split, all_of(*data, split), DType::f32);
    ASSERT_GT(examples.ids.size(), 3u);
    for (std::size_t w = 0; w < examples.ids.size(); ++w)
      for (int i = 0; i <= 5; ++i) {
        const std::int32_t byte =
            i < 5 ? host_read<std::int32_t>(examples.inputs)[w * 5 + static_cast<std::size_t>(i)]
                  : host_read<std::int32_t>(examples.targets)[w * 5 + 4];
        if (i == 0) {
          EXPECT_EQ(byte, static_cast<unsigned char>(all[static_cast<std::size_t>(examples.ids[w])]));
        }
        // Bytes below 200 stand in a, odd ones below 100 also in b; those that stand once tell their place.
        if (byte % 2 == 0 || byte >= 100) {
          const auto [known, is_new] = owner.emplace(byte, split);
          EXPECT_EQ(static_cast<int>(known->second), static_cast<int>(split)) << "byte " << byte;
        }
      }
  }
  EXPECT_GT(owner.size(), 190u);
}

TEST_F(TextTest, NumbersTheBytesThatOccur) {
  Folder folder;
  folder.write("x", "zazbzczdzazbzczdzazbzczdzazbzczdzazbzczd");
  const auto data = make_dataset("name: text, path: '" + folder.path() + "', length: 2, alphabet: occurring");
  EXPECT_EQ(data->classes(), 5);
  const Examples first = data->examples(Split::training, std::vector<std::int64_t>{0}, DType::f32);
  EXPECT_EQ(host_read<std::int32_t>(first.inputs)[0], 4);
  EXPECT_EQ(host_read<std::int32_t>(first.inputs)[1], 0);
}

TEST_F(TextTest, TakesEachTextOnce) {
  std::filesystem::create_symlink("a", folder_.path() + "/0-link");
  folder_.write("copy", a_);
  const auto data = make_dataset(deck("length: 8"));
  ASSERT_EQ(data->sources().size(), 2u);
  EXPECT_THAT(data->sources()[0].first, testing::EndsWith("/a"));
  EXPECT_THAT(refusal(deck("length: 8, files: [a, b, copy]")),
              AllOf(HasSubstr("hold the same text"), HasSubstr("/copy")));
  EXPECT_THAT(refusal(deck("length: 8, files: [a, 0-link]")), HasSubstr("hold the same text"));
  EXPECT_EQ(make_dataset(deck("length: 8, files: [b]"))->size(Split::training), 9);
}

TEST_F(TextTest, SaysWhatIsWrong) {
  EXPECT_THAT(refusal(deck("files: [a, c]")), HasSubstr("/c is missing, or no file"));
  EXPECT_THAT(refusal("name: text, path: '" + folder_.path() + "/none'"),
              HasSubstr("none is not a folder; give data.path"));
  EXPECT_THAT(refusal(deck("length: 30")),
              HasSubstr("the validation split has 30 bytes, and a window with what it predicts has 31"));
  EXPECT_THAT(refusal(deck("validation: 0.5, test: 0.5")), HasSubstr("leaves nothing for training"));
  Folder empty;
  EXPECT_THAT(refusal("name: text, path: '" + empty.path() + "'"), HasSubstr("holds no files"));
}

TEST(Text, ReadsTheLicences) {
  const auto data = make_dataset("name: text, length: 64, files: [GPL-2, GPL-3, LGPL-2.1, Apache-2.0]");
  EXPECT_EQ(data->sources().size(), 4u);
  EXPECT_GT(data->size(Split::training), 900);
  EXPECT_GT(data->size(Split::test), 100);
  const auto all = make_dataset("name: text, alphabet: occurring");
  EXPECT_GT(all->sources().size(), 8u);
  EXPECT_LT(all->classes(), 130);
  std::set<std::string> hashes;
  for (const auto& [file, hash] : all->sources()) EXPECT_TRUE(hashes.insert(hash).second) << file;
}

}  // namespace
}  // namespace rankine
