#include "src/data/fashion_mnist.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "src/core/random.hpp"
#include "src/data/idx.hpp"
#include "src/io/data_file.hpp"
#include "src/tensor/host_array.hpp"

namespace rankine {
namespace {

constexpr int classes_there_are = 10;

struct ImageFile {
  IdxArray images, labels;
  std::vector<std::pair<std::string, std::string>> sources;
};

ImageFile read_pair(const std::string& folder, const std::string& stem, const DeckNode& node) {
  ImageFile file;
  const auto read = [&](const std::string& name, int rank, IdxArray& array) {
    const std::string zipped = folder + "/" + name + ".gz", plain = folder + "/" + name;
    const std::string& path =
        !std::filesystem::exists(zipped) && std::filesystem::exists(plain) ? plain : zipped;
    if (!std::filesystem::exists(path))
      node.error_at("path", fmt::format("{} is missing; install the Debian package dataset-fashion-mnist, or "
                                        "give data.path, the folder that holds the four files",
                                        path));
    constexpr std::size_t limit = std::size_t{1} << 31;
    DataFile data = read_data_file(path, limit);
    file.sources.emplace_back(path, data.hash);
    array = parse_idx(std::move(data.bytes), rank, path);
  };
  read(stem + "-images-idx3-ubyte", 3, file.images);
  read(stem + "-labels-idx1-ubyte", 1, file.labels);
  const std::string& labels = file.sources.back().first;
  if (file.images.extents[0] != file.labels.extents[0])
    throw InputError(fmt::format("{}: has {} labels, but {} has {} images; the files do not belong together",
                                 labels, file.labels.extents[0], file.sources.front().first,
                                 file.images.extents[0]));
  const std::span<const std::uint8_t> classes = file.labels.values();
  for (std::size_t i = 0; i < classes.size(); ++i)
    if (classes[i] >= classes_there_are)
      throw InputError(fmt::format("{}: label {} is {}; classes are 0 to {}", labels, i, classes[i],
                                   classes_there_are - 1));
  return file;
}

}  // namespace

void FashionMnistOptions::Augmentation::options(OptionVisitor& o) {
  o("flip", flip, {.help = "mirror a training image, left to right, with probability 1/2"});
  o("shift", shift,
    {.help = "move a training image by up to so many pixels, of the pooled image, along both axes; black "
             "moves in",
     .min = 0,
     .max = 14});
}

void FashionMnistOptions::options(OptionVisitor& o) {
  o("path", path,
    {.help = "folder with the four IDX files, compressed by gzip or not", .file = FileUse::input});
  o("pool", pool,
    {.help = "side of the squares of pixels that are averaged to one; 2: 14 x 14 images",
     .min = 1,
     .max = 2});
  o("train", train, {.help = "training examples, drawn from the training file", .min = 1});
  o("validation", validation,
    {.help = "examples to choose hyper-parameters on, drawn from the rest of that file", .min = 0});
  o("test", test, {.help = "examples to measure on, the first of the test file", .min = 0});
  o("seed", seed, {.help = "seed of the draws and of the label noise", .min = 0});
  o("normalise", normalise,
    {.help = "unit: pixels divided by 255; standard: less their mean and over their standard deviation on "
             "the training examples",
     .choices = {"unit", "standard"}});
  o("label_noise", label_noise,
    {.help = "probability that a training label is replaced by another class", .min = 0, .max = 1});
  o.group("augmentation", augmentation, "what is done to training images, anew in every step");
}

FashionMnist::FashionMnist(const DeckNode& node, const DatasetContext& context) {
  node.read(options_);
  // Variants of a deck mostly read the same images: it takes longer to decompress them than to make all else.
  static std::map<std::string, std::weak_ptr<const Images>> known;
  std::weak_ptr<const Images>& entry =
      known[fmt::format("{} {} {} {} {} {} {}", options_.pool, options_.train, options_.validation,
                        options_.test, options_.seed, options_.label_noise, options_.path)];
  images_ = entry.lock();
  if (context.communicator.min(images_ ? 1 : 0) == 0) entry = images_ = images(node, context.communicator);
  scale_pixels();
}

std::shared_ptr<const FashionMnist::Images> FashionMnist::images(const DeckNode& node,
                                                                 const Communicator& communicator) const {
  auto made = std::make_shared<Images>();
  communicator.on_root([&] { read(node, *made); });
  communicator.broadcast(made->height);
  communicator.broadcast(made->width);
  for (Split split : all_splits) {
    communicator.broadcast(made->parts[split].pixels);
    communicator.broadcast(made->parts[split].sums);
    communicator.broadcast(made->parts[split].labels);
    communicator.broadcast(made->parts[split].ids);
  }
  made->sources.resize(4);
  for (auto& [name, hash] : made->sources) {
    communicator.broadcast(name);
    communicator.broadcast(hash);
  }
  add_label_noise(made->parts[Split::training]);
  return made;
}

void FashionMnist::read(const DeckNode& node, Images& into) const {
  const ImageFile training = read_pair(options_.path, "train", node),
                  test = read_pair(options_.path, "t10k", node);
  into.sources = training.sources;
  into.sources.insert(into.sources.end(), test.sources.begin(), test.sources.end());
  const std::int64_t rows = training.images.extents[1], columns = training.images.extents[2];
  if (test.images.extents[1] != rows || test.images.extents[2] != columns)
    throw InputError(
        fmt::format("{}: has images of {} x {}, but {} of {} x {}; the files do not belong together",
                    into.sources[2].first, test.images.extents[1], test.images.extents[2],
                    into.sources[0].first, rows, columns));
  if (rows % options_.pool != 0 || columns % options_.pool != 0)
    node.error_at("pool",
                  fmt::format("pool: 2 needs images of even sizes; these are {} x {}", rows, columns));
  into.height = rows / options_.pool;
  into.width = columns / options_.pool;

  const std::int64_t there = training.images.extents[0], test_there = test.images.extents[0];
  const std::int64_t drawn = static_cast<std::int64_t>(options_.train) + options_.validation;
  if (drawn > there)
    node.error_at(options_.train > there ? "train" : "validation",
                  fmt::format("train + validation = {} examples, but {} holds {}; make them smaller", drawn,
                              into.sources[0].first, there));
  if (options_.test > test_there)
    node.error_at("test", fmt::format("test = {} examples, but {} holds {}; make it smaller", options_.test,
                                      into.sources[2].first, test_there));

  const RandomStream stream(static_cast<std::uint64_t>(options_.seed), "data/split");
  const std::vector<std::int64_t> order = stream.permutation(there, 0);
  const std::span<const std::int64_t> all(order);
  const auto n = static_cast<std::size_t>(options_.train), m = static_cast<std::size_t>(options_.validation);
  std::vector<std::int64_t> first(static_cast<std::size_t>(options_.test));
  std::iota(first.begin(), first.end(), std::int64_t{0});
  choose(training.images.values(), training.labels.values(), rows, columns, all.first(n), 0,
         into.parts[Split::training]);
  choose(training.images.values(), training.labels.values(), rows, columns, all.subspan(n, m), 0,
         into.parts[Split::validation]);
  choose(test.images.values(), test.labels.values(), rows, columns, first, there, into.parts[Split::test]);
  SplitIds ids;
  for (Split split : all_splits) ids[split] = into.parts[split].ids;
  check_disjoint(ids, node);
}

void FashionMnist::choose(std::span<const std::uint8_t> images, std::span<const std::uint8_t> labels,
                          std::int64_t rows, std::int64_t columns, std::span<const std::int64_t> which,
                          std::int64_t first_id, Part& part) const {
  for (std::int64_t number : which) {
    const std::uint8_t* image = images.data() + number * rows * columns;
    if (options_.pool == 1) {
      part.pixels.insert(part.pixels.end(), image, image + rows * columns);
    } else {
      for (std::int64_t y = 0; y < rows / 2; ++y)
        for (std::int64_t x = 0; x < columns / 2; ++x) {
          const std::uint8_t* corner = image + 2 * y * columns + 2 * x;
          part.sums.push_back(
              static_cast<std::uint16_t>(corner[0] + corner[1] + corner[columns] + corner[columns + 1]));
        }
    }
    part.labels.push_back(labels[static_cast<std::size_t>(number)]);
    part.ids.push_back(first_id + number);
  }
}

void FashionMnist::add_label_noise(Part& part) const {
  if (options_.label_noise == 0) return;
  const RandomStream stream(static_cast<std::uint64_t>(options_.seed), "data/label_noise");
  for (std::size_t i = 0; i < part.ids.size(); ++i) {
    if (stream.uniform(0, part.ids[i], 0) >= options_.label_noise) continue;
    const std::int64_t other = 1 + stream.integer(classes_there_are - 1, 0, part.ids[i], 0);
    part.labels[i] = static_cast<std::uint8_t>((part.labels[i] + other) % classes_there_are);
  }
}

void FashionMnist::scale_pixels() {
  const int squares = options_.pool * options_.pool, brightest = 255 * squares;
  double mean = 0, deviation = 1;
  if (options_.normalise == "standard") {
    // Sums of integers are exact in any order.
    std::int64_t count = 0, sum = 0, squared = 0;
    const auto add = [&](const auto& pixels) {
      for (const std::int64_t pixel : pixels) sum += pixel, squared += pixel * pixel;
      count += static_cast<std::int64_t>(pixels.size());
    };
    add(images_->parts[Split::training].pixels);
    add(images_->parts[Split::training].sums);
    mean = static_cast<double>(sum) / static_cast<double>(count) / brightest;
    const double second = static_cast<double>(squared) / static_cast<double>(count) / brightest / brightest;
    deviation = std::sqrt(std::max(0.0, second - mean * mean));
    if (deviation == 0) deviation = 1;
  }
  for (int pixel = 0; pixel <= brightest; ++pixel)
    values_.push_back((static_cast<double>(pixel) / brightest - mean) / deviation);
}

Examples FashionMnist::examples(Split split, std::span<const std::int64_t> which, DType type,
                                std::uint64_t seed, std::int64_t step) const {
  const Part& part = images_->parts[split];
  const std::int64_t height = images_->height, width = images_->width;
  const std::int64_t n = static_cast<std::int64_t>(which.size()), area = height * width;
  Examples out;
  HostArray<std::int32_t> labels({n});
  const bool augment =
      split == Split::training && (options_.augmentation.flip || options_.augmentation.shift > 0);
  const RandomStream stream(seed, "data/augmentation");
  dispatch_real(type, "fashion_mnist", [&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> values(values_.begin(), values_.end());
    const auto fill = [&](const auto* pixels, std::int64_t id, T* image) {
      if (!augment) {
        for (std::int64_t i = 0; i < area; ++i) image[i] = values[pixels[i]];
        return;
      }
      const std::int64_t reach = options_.augmentation.shift;
      const bool flip = options_.augmentation.flip && stream.integer(2, step, id, 0) == 1;
      const std::int64_t down = stream.integer(2 * reach + 1, step, id, 1) - reach;
      const std::int64_t right = stream.integer(2 * reach + 1, step, id, 2) - reach;
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x) {
          const std::int64_t from_y = y - down, from_x = (flip ? width - 1 - x : x) - (flip ? -right : right);
          const bool inside = from_y >= 0 && from_y < height && from_x >= 0 && from_x < width;
          image[y * width + x] = values[inside ? pixels[from_y * width + from_x] : 0];
        }
    };
    HostArray<T> images({n, 1, height, width});
    T* image = images.data();
    for (std::int64_t i = 0; i < n; ++i, image += area) {
      const std::int64_t number = which[static_cast<std::size_t>(i)];
      RANKINE_ASSERT(0 <= number && number < size(split), "example " + std::to_string(number));
      const auto at = static_cast<std::size_t>(number);
      out.ids.push_back(part.ids[at]);
      labels[i] = part.labels[at];
      if (options_.pool == 1)
        fill(part.pixels.data() + number * area, part.ids[at], image);
      else
        fill(part.sums.data() + number * area, part.ids[at], image);
    }
    out.inputs = images.to_device();
  });
  out.targets = labels.to_device();
  return out;
}

}  // namespace rankine
