// Calls of HDF5's C interface with their failures as exceptions, for the files that implement hdf5.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <hdf5.h>

#include "kernels/error.hpp"
#include "src/io/hdf5.hpp"

namespace rankine::hdf5 {

static_assert(sizeof(hid_t) == sizeof(std::int64_t), "HDF5 1.10 and later");

/// Keeps HDF5 from printing its error stack on its own: we put the gist of it into our messages.
void prepare_library();

/// The innermost entry of HDF5's error stack, which names the cause; the outer ones only say who called whom.
std::string last_error();

/// What a user can do about a failure of this cause, "; ..."; "" where nothing is known.
std::string remedy(const std::string& cause);

[[noreturn]] void fail(const std::string& file, const std::string& path, const char* doing);

/// `result`, unless it is negative: InputError, because what cannot be read is somebody's wrong input.
template <class Result>
Result readable(Result result, const std::string& file, const std::string& path, const char* doing) {
  if (result >= 0) return result;
  throw InputError(fmt::format("{}{}{}: cannot {}, the file may be damaged: HDF5: {}", file,
                               path.empty() ? "" : ":", path, doing, last_error()));
}

/// `result`, unless it is negative: IoError with HDF5's reason.
template <class Result>
Result checked(Result result, const std::string& file, const std::string& path, const char* doing) {
  if (result < 0) fail(file, path, doing);
  return result;
}

/// An identifier owned for the length of a scope, from a call that is checked.
Handle owned(hid_t id, const std::string& file, const std::string& path, const char* doing);

hid_t text_type();
/// Type::other has none.
hid_t memory_type(Type type);
hid_t file_type(Type type);
Type classify(hid_t type);
bool is_number(Type type);
/// Whether values stored as `stored` may be read as `wanted` without a surprise.
bool readable_as(Type stored, Type wanted);

/// Bytes that HDF5 writes beside an array in a file in memory: headers, attributes, names, and a page's rest.
inline constexpr std::uint64_t memory_margin = 4 * 4096;

/// Makes sure that the disk has room for all that HDF5 holds of the file, and for `bytes` more, before it
/// tries to write them: HDF5 1.10 cannot close a file any more after a failed flush, and crashes at the end
/// of MPI.
void reserve(hid_t object, std::uint64_t bytes, const std::string& path, const std::string& where);

/// InputError where it is missing.
Handle open_attribute(hid_t object, const std::string& file, const std::string& path,
                      const std::string& name);

Handle make_space(const Shape& shape, const std::string& file, const std::string& path);
Shape shape_of(hid_t space);

/// Texts of a dataset or attribute, whether stored with fixed or variable length. `read` is H5Dread or
/// H5Aread bound to the object.
template <class Read>
std::vector<std::string> read_all_texts(hid_t stored, std::uint64_t count, Read read) {
  std::vector<std::string> texts;
  texts.reserve(count);
  if (H5Tis_variable_str(stored) > 0) {
    const Handle type(H5Tcopy(stored));
    std::vector<char*> pointers(count, nullptr);
    if (count > 0 && read(type.get(), pointers.data()) < 0) throw std::runtime_error(last_error());
    for (char* pointer : pointers) {
      texts.emplace_back(pointer ? pointer : "");
      if (pointer) H5free_memory(pointer);
    }
  } else {
    const std::size_t size = H5Tget_size(stored);
    std::vector<char> bytes(size * count);
    if (count > 0 && read(stored, bytes.data()) < 0) throw std::runtime_error(last_error());
    for (std::uint64_t i = 0; i < count; ++i) {
      const char* begin = bytes.data() + i * size;
      texts.emplace_back(begin, strnlen(begin, size));
    }
  }
  return texts;
}

inline constexpr H5T_class_t variable_parts[] = {H5T_VLEN, H5T_REFERENCE, H5T_STRING};

/// Values of any type as bytes that can be compared.
template <class Read>
std::optional<std::vector<std::byte>> any_bytes(hid_t type, hid_t space, const std::string& file,
                                                const std::string& where, const Read& read) {
  const std::uint64_t count = element_count(shape_of(space));
  std::vector<std::byte> bytes;
  const auto add = [&](const void* from, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  const auto has_parts = [](hid_t of) {
    return std::any_of(std::begin(variable_parts), std::end(variable_parts),
                       [&](H5T_class_t kind) { return H5Tdetect_class(of, kind) > 0; });
  };
  const auto check = [&](herr_t status) {
    if (status < 0)
      throw InputError(fmt::format("{}: cannot read '{}': HDF5: {}", file, where, last_error()));
  };
  if (count == 0) return bytes;
  if (H5Tget_class(type) == H5T_STRING) {
    for (const std::string& text : read_all_texts(type, count, read)) add(text.c_str(), text.size() + 1);
    return bytes;
  }
  if (H5Tget_class(type) == H5T_VLEN) {
    const Handle base(H5Tget_super(type));
    if (has_parts(base.get())) return std::nullopt;
    std::vector<hvl_t> lists(count);
    check(read(type, lists.data()));
    for (const hvl_t& list : lists) {
      add(&list.len, sizeof list.len);
      if (list.len > 0) add(list.p, list.len * H5Tget_size(base.get()));
    }
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, lists.data());
    return bytes;
  }
  if (has_parts(type)) return std::nullopt;
  bytes.resize(H5Tget_size(type) * count);
  check(read(type, bytes.data()));
  return bytes;
}

}  // namespace rankine::hdf5
