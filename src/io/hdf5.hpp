// A thin owning layer over the C interface of HDF5 (1.10 and later). Every call is checked; handles stay
// private, so that hdf5.h is needed in src/io/hdf5*.cpp alone. Files are written so that equal content gives
// equal bytes: no time stamps, links and attributes in creation order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rankine::hdf5 {

using Shape = std::vector<std::uint64_t>;

enum class Type { i8, i32, i64, f32, f64, boolean, text, other };

template <class T>
concept Element =
    std::is_same_v<T, std::int8_t> || std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t> ||
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, bool>;

template <Element T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, bool>) return Type::boolean;
  if constexpr (std::is_same_v<T, std::int8_t>) return Type::i8;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::i32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::i64;
  if constexpr (std::is_same_v<T, float>) return Type::f32;
  return Type::f64;
}

/// "float64", "text", ... as messages and tables print it.
const char* type_name(Type type);
/// "(3, 41, 64)"; a scalar is "()".
std::string shape_text(const Shape& shape);
/// Number of elements; 1 for a scalar.
std::uint64_t element_count(const Shape& shape);
/// "1.10.8": the version of the HDF5 library that runs.
std::string library_version();
/// Whether a file could not be closed, after which HDF5 crashes at the end of MPI: the process must end
/// without that.
bool unusable();
/// Whether it was built for MPI.
bool parallel_library();

struct DatasetInfo {
  Type type;
  Shape shape;
};

/// Owns one HDF5 identifier of any kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(std::int64_t id) : id_(id) {}
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  ~Handle();
  std::int64_t get() const { return id_; }
  /// Gives the identifier away: it is not closed here any more.
  std::int64_t release() { return std::exchange(id_, -1); }

 private:
  std::int64_t id_ = -1;
};

/// What groups and datasets have in common: attributes. Writing errors are IoError.
class Object {
 public:
  void attribute(const std::string& name, std::string_view text);
  void attribute(const std::string& name, const char* text) { attribute(name, std::string_view(text)); }
  void attribute(const std::string& name, double value);
  void attribute(const std::string& name, std::int64_t value);
  void attribute(const std::string& name, int value) { attribute(name, static_cast<std::int64_t>(value)); }
  void attribute(const std::string& name, std::span<const double> values);
  void attribute(const std::string& name, std::span<const std::int64_t> values);

  bool has_attribute(const std::string& name) const;
  std::vector<std::string> attribute_names() const;
  /// InputError where the attribute is missing or is no text.
  std::string text_attribute(const std::string& name) const;
  /// All values of a numeric attribute of any shape; InputError where it is missing or is no number.
  std::vector<double> number_attribute(const std::string& name) const;
  /// Whether text_attribute() can read it, or number_attribute(); others may hold anything.
  bool attribute_is_text(const std::string& name) const;
  bool attribute_is_number(const std::string& name) const;
  /// The bytes in the file, whatever the type; texts end with zeros. None where they are references or lists
  /// of variable length.
  std::optional<std::vector<std::byte>> attribute_bytes(const std::string& name) const;
  /// Copies all attributes except those by which dimension scales refer to each other.
  void copy_attributes(const Object& other);

  /// Absolute path inside the file, and the file, for messages.
  const std::string& path() const { return path_; }
  const std::string& file() const { return *file_; }

 protected:
  Object() = default;
  Object(std::shared_ptr<const std::string> file, std::string path, Handle handle)
      : file_(std::move(file)), path_(std::move(path)), handle_(std::move(handle)) {}

  std::shared_ptr<const std::string> file_;
  std::string path_;
  Handle handle_;
};

/// Where the values of a contiguous dataset lie in its file, in bytes.
struct Place {
  std::uint64_t offset = 0, size = 0;
};

class Dataset : public Object {
 public:
  /// A text of fixed length. Writing another one of the same length under a name that is taken changes the
  /// bytes of the text and no others.
  void fixed_text_attribute(const std::string& name, std::string_view text);
  /// Where the bytes of a dataset from Group::reserve() lie.
  Place place() const;

  /// Turns this 1-D dataset into a dimension scale: the coordinate of the dimension `name`.
  void make_scale(const std::string& name);
  /// Declares `scale` to be the coordinate of dimension `dimension` (from 0).
  void attach_scale(unsigned dimension, const Dataset& scale);
  /// Its name as a dimension scale, if it is one.
  std::optional<std::string> scale_name() const;
  /// Names of the datasets attached to each dimension.
  std::vector<std::vector<std::string>> attached_scales() const;

 private:
  friend class Group;
  using Object::Object;
};

class Group : public Object {
 public:
  Group() = default;

  /// Opens the group `path` below this one and creates what is missing on the way.
  Group require_group(const std::string& path);
  /// InputError where it is missing.
  Group open_group(const std::string& path) const;

  /// Writes a new dataset in row-major order. An empty `shape` is a scalar. IoError on failure.
  template <Element T>
  Dataset write(const std::string& name, const Shape& shape, std::span<const T> values) {
    return write_raw(name, shape, type_of<T>(), values.data(), values.size());
  }
  template <Element T>
  Dataset write(const std::string& name, const Shape& shape, const std::vector<T>& values) {
    return write(name, shape, std::span<const T>(values));
  }
  template <Element T>
  Dataset write(const std::string& name, T value) {
    return write_raw(name, {}, type_of<T>(), &value, 1);
  }
  /// A new contiguous dataset that has its place in the file at once. Its values are written later, by
  /// whatever means, as memory holds them; until then they are zeros in memory and undefined on a disk.
  Dataset reserve(const std::string& name, const Shape& shape, Type type);
  /// Writes a dataset whose type is known at run time.
  Dataset write_bytes(const std::string& name, const Shape& shape, Type type,
                      std::span<const std::byte> bytes);
  /// A dataset as its bytes in memory, converted to `type`.
  std::vector<std::byte> read_bytes(const std::string& path, Type type) const;
  /// A dataset's bytes without conversion, whatever the type; none where they are references or lists of
  /// variable length.
  std::optional<std::vector<std::byte>> read_any(const std::string& path) const;
  Dataset write_text(const std::string& name, std::string_view text);
  Dataset write_texts(const std::string& name, const std::vector<std::string>& texts);

  /// Copies attributes, groups and datasets of a group of another file here, in their order, as they are;
  /// dimension scales, which must stand in the group of the datasets that they belong to, are attached anew.
  void copy_from(const Group& other);

  bool has(const std::string& path) const;
  bool has_group(const std::string& path) const;
  /// Whether the name is a link to another place in the file, or to another file.
  bool is_link(const std::string& name) const;
  bool has_dataset(const std::string& path) const;
  /// Names of the links, in order of creation where the file has tracked it, else alphabetical.
  std::vector<std::string> names() const;

  Dataset open_dataset(const std::string& path) const;
  /// InputError where the dataset is missing.
  DatasetInfo info(const std::string& path) const;
  /// Reads a whole dataset, row-major. Integers and bools may be read as any larger type or as a
  /// floating-point type, floats as double or float. InputError, naming file, dataset, what was found and
  /// what is needed, for everything else. An `expected` shape that is given is checked; `any` in it matches
  /// every extent.
  template <Element T>
  std::vector<T> read(const std::string& path, const Shape& expected = {}, bool check_shape = false) const {
    static_assert(!std::is_same_v<T, bool>, "read bools as std::int8_t");
    const Shape shape = check(path, type_of<T>(), expected, check_shape || !expected.empty());
    std::vector<T> values(element_count(shape));
    read_raw(path, type_of<T>(), values.data());
    return values;
  }
  template <Element T>
  T read_scalar(const std::string& path) const {
    return read<T>(path, {}, true).front();
  }
  std::string read_text(const std::string& path) const;
  std::vector<std::string> read_texts(const std::string& path) const;

  static constexpr std::uint64_t any = ~std::uint64_t{0};

 private:
  friend class File;
  using Object::Object;
  std::string below(const std::string& name) const;
  Dataset create(const std::string& name, const Shape& shape, Type type, bool at_once);
  Dataset write_raw(const std::string& name, const Shape& shape, Type type, const void* values,
                    std::size_t size);
  Dataset write_variable_texts(const std::string& name, const Shape& shape,
                               const std::vector<std::string>& texts);
  void check_size(const std::string& path, const Dataset& dataset) const;
  Shape check(const std::string& path, Type wanted, const Shape& expected, bool check_shape) const;
  void read_raw(const std::string& path, Type type, void* values) const;
};

/// One open file. Closing it invalidates all its groups and datasets. A file that was created is complete
/// only after close(): its destructor alone, as after an error, does not write what HDF5 still holds.
class File {
 public:
  /// Creates or overwrites the file `at`. Messages call it `called` where that is given (the name that it
  /// gets later). IoError where that fails.
  static File create(const std::string& at, const std::string& called = {});
  /// A file that exists in memory only, where reserved datasets need no memory until they are written.
  /// Datasets of at least a page are aligned to pages. `called`: its name in messages. IoError, here or where
  /// a dataset is made, where this process may not make files of the length that it gets, and a few pages
  /// more.
  static File create_in_memory(const std::string& called);
  /// Length and parts of what flush() or close() has written so far of a file that create_in_memory() has
  /// made.
  std::uint64_t memory_size() const;
  void read_memory(std::uint64_t offset, std::span<std::byte> to) const;
  /// Opens bytes, which are not copied and must outlive the file. InputError where they are no HDF5 file.
  static File open_image(std::span<const std::byte> bytes, const std::string& called);
  /// Opens for reading. InputError for a missing, truncated or foreign file.
  static File open(const std::string& path);
  File(File&&) noexcept = default;
  File& operator=(File&&) noexcept;
  ~File();

  Group& root() { return root_; }
  const Group& root() const { return root_; }
  void flush();
  /// Flushes and closes; IoError where something could not be written.
  void close();
  /// Closes without caring for the content: for a file that is removed next, maybe because it could not be
  /// written.
  void discard() noexcept;
  const std::string& path() const { return *path_; }

 private:
  File(std::shared_ptr<const std::string> path, Handle handle, Group root);
  static File create_with(const Handle& access, const std::string& at, const std::string& path);
  static File adopt(Handle file, const std::string& path);
  bool close_once() noexcept;
  std::shared_ptr<const std::string> path_;
  Handle handle_;
  Group root_;
  struct Memory;
  std::shared_ptr<const Memory> memory_;  // of create_in_memory()
};

}  // namespace rankine::hdf5
