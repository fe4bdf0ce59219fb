#include <filesystem>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/data/idx.hpp"
#include "src/io/data_file.hpp"
#include "tests/support/data_files.hpp"
#include "tests/support/host_elements.hpp"

namespace rankine {
namespace {

using test::all_of;
using test::Folder;
using test::gzip;
using test::idx;
using test::make_dataset;
using test::refusal;
using testing::AllOf;
using testing::HasSubstr;

template <class Error = InputError, class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string noise(std::size_t n) {
  std::string text;
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < n; ++i) text += static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}

TEST(Gunzip, GivesBackWhatWasCompressed) {
  for (const std::string& text :
       {std::string(), std::string("a"), noise(100'000), std::string(3'000'000, 'x')})
    EXPECT_EQ(gunzip(gzip(text), "f"), text);
}

TEST(Gunzip, JoinsMembers) { EXPECT_EQ(gunzip(gzip("one ") + gzip("two"), "f"), "one two"); }

TEST(Gunzip, RefusesEveryTruncation) {
  const std::string whole = gzip(noise(300) + std::string(1000, 'z'));
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_THAT(message([&] { gunzip(whole.substr(0, length), "data.gz"); }),
                AllOf(HasSubstr("data.gz: "), HasSubstr("install its package again")))
        << length;
}

TEST(Gunzip, NeverGivesOtherBytes) {
  const std::string text = noise(50), whole = gzip(text);
  int refused = 0, flips = 0;
  for (std::size_t byte = 0; byte < whole.size(); ++byte)
    for (int bit = 0; bit < 8; ++bit, ++flips) {
      std::string flipped = whole;
      flipped[byte] = static_cast<char>(flipped[byte] ^ (1 << bit));
      // Time and system in the header, and what fills the last byte before the trailer, mean nothing.
      try {
        EXPECT_EQ(gunzip(flipped, "f"), text) << byte << ":" << bit;
      } catch (const InputError&) {
        ++refused;
      }
    }
  EXPECT_GT(refused, flips * 3 / 4);
}

TEST(Gunzip, RefusesMoreThanItsLimitAndWhatFollows) {
  EXPECT_THAT(message([] { gunzip(gzip(std::string(1 << 20, ' ')), "bomb.gz", 1 << 16); }),
              HasSubstr("bomb.gz: it decompresses to more than 65536 bytes"));
  EXPECT_EQ(gunzip(gzip(std::string(1 << 16, ' ')), "f", 1 << 16).size(), 1 << 16);
  EXPECT_THROW(gunzip(gzip("a") + "rubbish", "f"), InputError);
}

TEST(Idx, ReadsExtentsAndValues) {
  const IdxArray array = parse_idx(idx({2, 3}, "abcdef"), 2, "f");
  EXPECT_EQ(array.extents, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(array.values()[4], 'e');
}

TEST(Idx, RefusesOtherFiles) {
  const auto told = [](const std::string& bytes, int rank) {
    return message([&] { parse_idx(bytes, rank, "images"); });
  };
  EXPECT_THAT(told("", 3),
              HasSubstr("images: has 0 bytes, but the header of an IDX file with 3 extents has 16"));
  EXPECT_THAT(told(idx({4}, "abcd") + std::string(20, 'x'), 3), HasSubstr("begins with 0x00000801"));
  EXPECT_THAT(told(std::string("\0\0\x0d\x01\0\0\0\0", 8), 1),
              HasSubstr("an IDX file of bytes with 1 extent begins with 0x00000801"));
  EXPECT_THAT(told(idx({2, 2}, "abc"), 2), HasSubstr("the header says 2 x 2 = 4 bytes, but 3 follow"));
  EXPECT_THAT(told(idx({2, 2}, "abcde"), 2), HasSubstr("but 5 follow"));
  EXPECT_THAT(told(idx({0}, ""), 1), HasSubstr("no size of a data set"));
  EXPECT_THAT(told(idx({0xffffffff, 0xffffffff, 0xffffffff}, "a"), 3), HasSubstr("no size of a data set"));
}

class FashionMnistTest : public testing::Test {
 protected:
  FashionMnistTest() { test::write_images(folder_, 40, 20); }
  std::string deck(const std::string& more = "") const {
    return "name: fashion_mnist, path: '" + folder_.path() + "', train: 25, validation: 10, test: 20" +
           (more.empty() ? "" : ", " + more);
  }
  Folder folder_;
};

TEST_F(FashionMnistTest, GivesImagesLabelsAndIds) {
  const auto data = make_dataset(deck());
  EXPECT_EQ(data->input_shape(), (Shape{1, 4, 4}));
  EXPECT_EQ(data->classes(), 10);
  EXPECT_EQ(data->target_shape(), Shape{});
  EXPECT_EQ(data->size(Split::training), 25);
  EXPECT_EQ(data->size(Split::validation), 10);
  EXPECT_EQ(data->size(Split::test), 20);
  std::set<std::int64_t> seen;
  for (Split split : {Split::training, Split::validation}) {
    const Examples examples = data->examples(split, all_of(*data, split), DType::f32);
    for (std::size_t i = 0; i < examples.ids.size(); ++i) {
      const std::int64_t id = examples.ids[i];
      EXPECT_TRUE(seen.insert(id).second) << id;
      EXPECT_EQ(host_read<std::int32_t>(examples.targets)[i], id % 10);
      for (std::size_t p = 0; p < 16; ++p)
        EXPECT_EQ(host_read<float>(examples.inputs)[i * 16 + p],
                  static_cast<float>(static_cast<double>((7 * id + 3 * p) % 256) / 255.0));
    }
  }
  EXPECT_EQ(*seen.rbegin() < 40, true);
  const std::vector<std::int64_t> some{3, 0};
  const Examples examples = data->examples(Split::test, some, DType::f64);
  EXPECT_EQ(examples.ids, (std::vector<std::int64_t>{43, 40}));
  EXPECT_EQ(host_read<double>(examples.inputs)[5], (5 * 3 + 5) / 255.0);
  EXPECT_EQ(data->sources().size(), 4u);
  EXPECT_EQ(data->sources()[0].second.size(), 16u);
}

TEST_F(FashionMnistTest, AveragesSquares) {
  const auto data = make_dataset(deck("pool: 2"));
  EXPECT_EQ(data->input_shape(), (Shape{1, 2, 2}));
  const Examples examples = data->examples(Split::test, std::vector<std::int64_t>{2}, DType::f64);
  // Image 2 is 10 + p.
  EXPECT_NEAR(host_read<double>(examples.inputs)[0], (10 + 11 + 14 + 15) / 4.0 / 255.0, 1e-15);
  EXPECT_NEAR(host_read<double>(examples.inputs)[3], (20 + 21 + 24 + 25) / 4.0 / 255.0, 1e-15);
}

TEST_F(FashionMnistTest, StandardisesByTheTrainingExamples) {
  const auto data = make_dataset(deck("normalise: standard, pool: 2"));
  const Tensor x = data->examples(Split::training, all_of(*data, Split::training), DType::f64).inputs;
  double sum = 0, squares = 0;
  for (double v : x.to_vector()) sum += v, squares += v * v;
  const auto n = static_cast<double>(x.count());
  EXPECT_NEAR(sum / n, 0, 1e-12);
  EXPECT_NEAR(squares / n, 1, 1e-12);
}

TEST_F(FashionMnistTest, DrawsBySeed) {
  const auto ids = [&](const std::string& more) {
    const auto data = make_dataset(deck(more));
    return data->examples(Split::training, all_of(*data, Split::training), DType::f32).ids;
  };
  EXPECT_EQ(ids(""), ids("seed: 0"));
  EXPECT_NE(ids("seed: 0"), ids("seed: 1"));
  EXPECT_EQ(ids("seed: 0"), ids("label_noise: 0.5"));
}

TEST_F(FashionMnistTest, AugmentsTrainingImagesByStepAndId) {
  const auto plain = make_dataset(deck());
  const auto data = make_dataset(deck("augmentation: {flip: true, shift: 1}"));
  const std::vector<std::int64_t> which = all_of(*data, Split::training), one{7}, pair{3, 7};
  const auto x = [&](const Dataset& set, Split split, const std::vector<std::int64_t>& w, std::uint64_t seed,
                     std::int64_t step) {
    return set.examples(split, w, DType::f64, seed, step).inputs.to_vector();
  };
  EXPECT_EQ(x(*data, Split::test, one, 5, 1), x(*plain, Split::test, one, 5, 1));
  EXPECT_EQ(x(*data, Split::training, which, 5, 1), x(*data, Split::training, which, 5, 1));
  EXPECT_NE(x(*data, Split::training, which, 5, 1), x(*data, Split::training, which, 5, 2));
  EXPECT_NE(x(*data, Split::training, which, 5, 1), x(*data, Split::training, which, 6, 1));
  // The neighbours in a batch change nothing.
  const std::vector<double> alone = x(*data, Split::training, one, 5, 1),
                            beside = x(*data, Split::training, pair, 5, 1);
  EXPECT_EQ(alone, std::vector<double>(beside.begin() + 16, beside.end()));
  // Every augmented image is one of the 18 flips and shifts of its own, and all of them occur.
  std::set<int> seen;
  const std::vector<double> original = x(*plain, Split::training, one, 0, 0);
  for (std::int64_t step = 0; step < 400; ++step) {
    const std::vector<double> image = x(*data, Split::training, one, 5, step);
    bool found = false;
    for (int flip = 0; flip < 2; ++flip)
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
          std::vector<double> expected(16, 0.0);
          for (int y = 0; y < 4; ++y)
            for (int c = 0; c < 4; ++c) {
              const int sy = y - dy, sc = c - dx;
              if (sy < 0 || sy > 3 || sc < 0 || sc > 3) continue;
              expected[static_cast<std::size_t>(4 * y + c)] =
                  original[static_cast<std::size_t>(4 * sy + (flip ? 3 - sc : sc))];
            }
          if (expected != image) continue;
          found = true;
          seen.insert(flip * 9 + (dy + 1) * 3 + dx + 1);
        }
    ASSERT_TRUE(found) << "step " << step;
  }
  EXPECT_EQ(seen.size(), 18u);
}

TEST_F(FashionMnistTest, ReplacesLabelsOfTheTrainingSplitOnly) {
  test::write_images(folder_, 4000, 20);
  const auto data = make_dataset("name: fashion_mnist, path: '" + folder_.path() +
                                 "', train: 3000, validation: 1000, test: 20, label_noise: 0.3");
  const auto wrong = [&](Split split) {
    const Examples examples = data->examples(split, all_of(*data, split), DType::f32);
    double count = 0;
    for (std::size_t i = 0; i < examples.ids.size(); ++i)
      if (host_read<std::int32_t>(examples.targets)[i] !=
          (examples.ids[i] < 4000 ? examples.ids[i] % 10 : (examples.ids[i] - 4000) % 10))
        ++count;
    return count / static_cast<double>(examples.ids.size());
  };
  EXPECT_NEAR(wrong(Split::training), 0.3, 0.034);  // four standard deviations
  EXPECT_EQ(wrong(Split::validation), 0);
  EXPECT_EQ(wrong(Split::test), 0);
}

TEST_F(FashionMnistTest, SaysWhatIsWrongWithFiles) {
  const std::string labels = "train-labels-idx1-ubyte.gz", images = "train-images-idx3-ubyte.gz";
  folder_.write(labels, gzip(idx({39}, std::string(39, '\1'))));
  EXPECT_THAT(refusal(deck()), AllOf(HasSubstr(labels + ": has 39 labels"), HasSubstr("has 40 images")));
  std::string values(40, '\1');
  values[17] = 10;
  folder_.write(labels, gzip(idx({40}, values)));
  EXPECT_THAT(refusal(deck()), HasSubstr(labels + ": label 17 is 10; classes are 0 to 9"));
  folder_.write(labels, gzip(idx({40}, std::string(40, '\1'))).substr(0, 30));
  EXPECT_THAT(refusal(deck()), HasSubstr(labels + ": the file ends too early"));
  folder_.write(labels, gzip(idx({40}, std::string(40, '\1'))));
  folder_.write(images, gzip(idx({40, 4, 4}, std::string(39 * 16, 'x'))));
  EXPECT_THAT(refusal(deck()), HasSubstr("the header says 40 x 4 x 4 = 640 bytes, but 624 follow"));
  folder_.write(images, gzip(idx({40, 5, 4}, std::string(40 * 20, 'x'))));
  EXPECT_THAT(refusal(deck()), HasSubstr("the files do not belong together"));
  std::filesystem::remove(folder_.path() + "/" + images);
  EXPECT_THAT(refusal(deck()), AllOf(HasSubstr("deck.yaml:1:"),
                                     HasSubstr(images + " is missing; install the Debian package "
                                                        "dataset-fashion-mnist, or give data.path")));
}

TEST_F(FashionMnistTest, RefusesMoreExamplesThanThereAre) {
  const std::string path = "name: fashion_mnist, path: '" + folder_.path() + "', ";
  EXPECT_THAT(refusal(path + "train: 41, validation: 0, test: 0"),
              HasSubstr("train + validation = 41 examples, but"));
  EXPECT_THAT(refusal(path + "train: 35, validation: 6, test: 0"), HasSubstr("holds 40; make them smaller"));
  EXPECT_THAT(refusal(path + "train: 35, validation: 5, test: 21"), HasSubstr("test = 21 examples, but"));
  test::write_images(folder_, 40, 20, 5);
  EXPECT_THAT(refusal(path + "train: 5, validation: 5, test: 5, pool: 2"),
              HasSubstr("images of even sizes; these are 5 x 5"));
}

TEST_F(FashionMnistTest, ReadsFilesThatAreNotCompressed) {
  const auto values = [&] {
    const auto data = make_dataset(deck());
    return data->examples(Split::training, all_of(*data, Split::training), DType::f32).inputs.to_vector();
  };
  const std::vector<double> zipped = values();
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    const std::string path = entry.path().string();
    folder_.write(entry.path().stem().string(), read_data_file(path).bytes);
    std::filesystem::remove(path);
  }
  EXPECT_EQ(values(), zipped);
}

TEST_F(FashionMnistTest, ReadsFilesOnceForAllWhoWantTheSame) {
  auto first = make_dataset(deck());
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path()))
    std::filesystem::remove(entry.path());
  const auto which = all_of(*first, Split::test);
  EXPECT_EQ(make_dataset(deck())->examples(Split::test, which, DType::f32).inputs.to_vector(),
            first->examples(Split::test, which, DType::f32).inputs.to_vector());
  for (const char* other : {"seed: 1", "pool: 2", "label_noise: 0.1"})
    EXPECT_THAT(refusal(deck(other)), HasSubstr("is missing")) << other;
  first.reset();
  EXPECT_THAT(refusal(deck()), HasSubstr("is missing"));
}

TEST(FashionMnist, ReadsTheInstalledFiles) {
  const auto data = make_dataset("name: fashion_mnist, pool: 2, train: 10000, validation: 5000, test: 10000");
  EXPECT_EQ(data->input_shape(), (Shape{1, 14, 14}));
  const Examples test = data->examples(Split::test, all_of(*data, Split::test), DType::f64);
  std::vector<int> count(10, 0);
  for (int i = 0; i < 10000; ++i) ++count[static_cast<std::size_t>(host_read<std::int32_t>(test.targets)[i])];
  EXPECT_EQ(count, std::vector<int>(10, 1000));            // the test file is balanced
  EXPECT_EQ(host_read<std::int32_t>(test.targets)[0], 9);  // the first test image is an ankle boot
  double sum = 0;
  for (double v : test.inputs.to_vector()) sum += v;
  EXPECT_NEAR(sum / static_cast<double>(test.inputs.count()), 0.2868,
              1e-4);  // the known mean of the test images
}

}  // namespace
}  // namespace rankine
