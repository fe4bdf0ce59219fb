#include "src/io/checkpoint.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <exception>
#include <filesystem>
#include <list>
#include <optional>

#include <fmt/format.h>

#include "src/core/clock.hpp"
#include "src/io/files.hpp"
#include "src/io/folder_lock.hpp"
#include "src/io/hdf5.hpp"
#include "src/io/safe_file.hpp"

namespace rankine {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t big_bytes = std::uint64_t{1} << 20U;  // from here on, all ranks write
// At most this many bytes in one write, unless one element has more. Larger writes were several times slower
// on a virtual machine whose host takes free memory back in units of 2 MiB: the page cache asks for such
// units then.
constexpr std::uint64_t block_bytes = std::uint64_t{1} << 20U;
constexpr std::uint64_t sync_bytes = std::uint64_t{8} << 20U;  // go to the disk together

/// How HDF5 stores a type: complex numbers as pairs, in a last dimension of 2.
struct Stored {
  hdf5::Type type;
  bool pairs = false;
};

Stored stored(DType type) {
  switch (type) {
    case DType::f32:
      return {hdf5::Type::f32};
    case DType::f64:
      return {hdf5::Type::f64};
    case DType::c64:
      return {hdf5::Type::f32, true};
    case DType::c128:
      return {hdf5::Type::f64, true};
    case DType::i32:
      return {hdf5::Type::i32};
    case DType::i64:
      return {hdf5::Type::i64};
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      break;
  }
  return {hdf5::Type::i8};
}

DType dtype_named(const std::string& name, const std::string& where) {
  for (const DType type : {DType::f32, DType::f64, DType::c64, DType::c128, DType::i32, DType::i64, DType::i8,
                           DType::u8, DType::boolean}) {
    if (name == name_of(type)) return type;
  }
  throw DamagedFile(where + ": '" + name + "' is no type of an array");
}

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The hash of an array from those of its pieces.
std::uint64_t combined(std::span<const std::uint64_t> pieces) {
  if (pieces.size() == 1) return pieces.front();
  return xxh3(std::as_bytes(pieces));
}

/// A part of an array that one rank writes at once.
struct Block {
  std::uint64_t begin = 0, end = 0;  // bytes from the array's first
  int writer = 0;
  std::span<const std::byte> bytes;  // on the rank that writes it
};

/// Cuts an array: of the leading dimensions one element each, of the next a few, the others whole.
std::vector<Block> blocks_of(const hdf5::Shape& shape, std::uint64_t bytes) {
  std::size_t cut = 0;
  std::uint64_t row = bytes / shape[0], outer = 1;
  while (row > block_bytes && cut + 1 < shape.size()) {
    outer *= shape[cut++];
    row /= shape[cut];
  }
  const std::uint64_t rows = std::clamp<std::uint64_t>(block_bytes / row, 1, shape[cut]);
  std::vector<Block> blocks;
  std::uint64_t begin = 0;
  for (std::uint64_t i = 0; i < outer; ++i) {
    for (std::uint64_t first = 0; first < shape[cut]; first += rows) {
      Block& block = blocks.emplace_back();
      block.begin = begin;
      begin = block.end = begin + std::min(rows, shape[cut] - first) * row;
    }
  }
  return blocks;
}

/// An array on its way into a file.
struct Item {
  std::string name;
  DType type;
  std::vector<std::int64_t> shape;   // of the whole
  std::span<const std::byte> bytes;  // what this rank has of it
  std::uint64_t size = 0;            // of the whole, in bytes
  std::vector<Block> blocks;         // empty: the root writes it at once
  hdf5::Place place;                 // in the file, of what has blocks

  Item(std::string called, DType of, std::vector<std::int64_t> extents, std::span<const std::byte> held)
      : name(std::move(called)), type(of), shape(std::move(extents)), bytes(held), size(held.size()) {}

  void cut() {
    if (size >= big_bytes) blocks = blocks_of(extents(), size);
  }
  hdf5::Shape extents() const {
    hdf5::Shape all(shape.begin(), shape.end());
    if (stored(type).pairs) all.push_back(2);
    if (all.empty()) all.push_back(1);
    return all;
  }
};

struct BlockHash {
  std::uint64_t item, block, hash;
};

/// One checkpoint being written. All ranks take the same steps, and where one fails, all throw.
class Writing {
 public:
  Writing(const Communicator& communicator, std::string path, const CheckpointContent& content,
          std::span<const CheckpointPart> parts)
      : communicator_(communicator), path_(std::move(path)), texts_(content.texts) {
    communicator_.broadcast(path_);
    for (const CheckpointPart& part : parts) {
      items_.emplace_back(part.name, part.view.type, part.view.shape, part.view.bytes);
      if (part.kind != StateKind::replicated) gather(items_.back());
    }
    share(parts);
    if (!communicator_.is_root()) return;
    for (const auto& [name, value] : content.state) {
      items_.emplace_back(name, value.type, value.shape, value.bytes);
      items_.back().cut();
      for (Block& block : items_.back().blocks) {
        block.bytes = items_.back().bytes.subspan(block.begin, block.end - block.begin);
      }
    }
  }

  /// Returns the size of the file.
  std::uint64_t write() {
    communicator_.on_root([&] { begin(); });
    bool any_big = std::any_of(items_.begin(), items_.end(), [](const Item& i) { return !i.blocks.empty(); });
    communicator_.broadcast(any_big);
    if (any_big) write_blocks();
    std::uint64_t bytes = 0;
    communicator_.on_root([&] { bytes = end(); });
    return bytes;
  }

  /// Reads the file again, each rank its share of the pieces; the root has HDF5 open it.
  void verify() const {
    communicator_.together([&] {
      const SealedFile file(path_);
      file.forget_pages();
      const auto count = file.pieces().size(), ranks = static_cast<std::size_t>(communicator_.size()),
                 rank = static_cast<std::size_t>(communicator_.rank());
      file.verify(count * rank / ranks, count * (rank + 1) / ranks);
      if (!communicator_.is_root()) return;
      if (file.pieces() != pieces_) throw DamagedFile(path_ + ": its seal is not the one that was written");
      const hdf5::File opened = hdf5::File::open(path_);
      for (const Item& item : items_) {
        if (opened.root().info("state/" + item.name).shape != item.extents()) {
          throw DamagedFile(path_ + ":/state/" + item.name + ": has another shape than was written");
        }
      }
    });
  }

 private:
  /// Gathers an array's blocks, whose rows lie on ranks. The rank with a block's first byte writes the block
  /// and gets what others have of it.
  void gather(Item& item) {
    RANKINE_ASSERT(!item.shape.empty(),
                   "state '" + item.name + "' is spread over ranks and has no dimension");
    item.shape[0] = communicator_.sum(item.shape[0]);
    std::vector<std::uint64_t> ends = communicator_.all_gather(item.size);
    for (std::size_t r = 1; r < ends.size(); ++r) ends[r] += ends[r - 1];
    item.size = ends.back();
    item.cut();
    if (item.blocks.empty()) {
      item.bytes = received_.emplace_back(communicator_.gather_varying(item.bytes));
      return;
    }
    const int self = communicator_.rank();
    const auto end_of = [&](int rank) { return ends[static_cast<std::size_t>(rank)]; };
    const auto begin_of = [&](int rank) { return rank == 0 ? 0 : end_of(rank - 1); };
    Exchange exchange(communicator_);
    for (Block& block : item.blocks) {
      block.writer = static_cast<int>(std::upper_bound(ends.begin(), ends.end(), block.begin) - ends.begin());
      const bool own = block.writer == self, whole = block.end <= end_of(block.writer);
      if (own && whole) {
        block.bytes = item.bytes.subspan(block.begin - begin_of(self), block.end - block.begin);
      }
      if (whole) continue;
      std::span<std::byte> all;
      if (own) {
        all = received_.emplace_back(block.end - block.begin);
        block.bytes = all;
      }
      for (int holder = block.writer; holder < communicator_.size(); ++holder) {
        if (begin_of(holder) >= block.end) break;
        const std::uint64_t from = std::max(begin_of(holder), block.begin);
        const std::uint64_t size = std::min(end_of(holder), block.end) - from;
        if (holder == self) {
          const auto held = item.bytes.subspan(from - begin_of(self), size);
          if (own) std::copy(held.begin(), held.end(), all.begin());
          if (!own) exchange.send(held, block.writer);
        } else if (own) {
          exchange.receive(all.subspan(from - block.begin, size), holder);
        }
      }
    }
    exchange.wait();
  }

  /// Deals the blocks of what all ranks have out to them, in equal parts.
  void share(std::span<const CheckpointPart> parts) {
    std::uint64_t total = 0, before = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].kind != StateKind::replicated) continue;
      items_[i].cut();
      if (!items_[i].blocks.empty()) total += items_[i].size;
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].kind != StateKind::replicated) continue;
      for (Block& block : items_[i].blocks) {
        block.writer = static_cast<int>(static_cast<unsigned __int128>(before) *
                                        static_cast<unsigned>(communicator_.size()) / total);
        before += block.end - block.begin;
        if (block.writer == communicator_.rank()) {
          block.bytes = items_[i].bytes.subspan(block.begin, block.end - block.begin);
        }
      }
    }
  }

  /// Root: lays the file out in memory and makes it on the disk, all but the blocks.
  void begin() {
    layout_.emplace(hdf5::File::create_in_memory(path_));
    hdf5::Group& root = layout_->root();
    root.attribute("format", "rankine-checkpoint");
    root.attribute("format_version", 2);
    if (const auto run = texts_.find("results"); run != texts_.end())
      root.attribute("run", run_mark(run->second));
    hdf5::Group texts = root.require_group("texts");
    for (const auto& [name, text] : texts_) {
      texts.write_bytes(name, {text.size()}, hdf5::Type::i8, bytes_of(text));
    }
    hdf5::Group state = root.require_group("state");
    std::map<std::string, Item*> by_name;
    for (Item& item : items_) {
      RANKINE_ASSERT(by_name.emplace(item.name, &item).second, "two arrays named " + item.name);
    }
    for (auto& [name, item] : by_name) {
      const std::size_t slash = name.rfind('/');
      hdf5::Group parent = state.require_group(slash == std::string::npos ? "" : name.substr(0, slash));
      const std::string last = slash == std::string::npos ? name : name.substr(slash + 1);
      const hdf5::Type type = stored(item->type).type;
      hdf5::Dataset dataset = item->blocks.empty()
                                  ? parent.write_bytes(last, item->extents(), type, item->bytes)
                                  : parent.reserve(last, item->extents(), type);
      dataset.fixed_text_attribute("dtype", name_of(item->type));
      dataset.attribute("scalar", item->shape.empty() ? 1 : 0);
      dataset.fixed_text_attribute("xxh3_64", hex(item->blocks.empty() ? xxh3(item->bytes) : 0));
      if (item->blocks.empty()) continue;
      item->place = dataset.place();
      big_.emplace(item->place.offset, item);
    }
    layout_->flush();
    const std::uint64_t size = layout_->memory_size();
    safe_.emplace(path_, FileContent::checkpoint);
    file_.emplace(safe_->temporary(), path_);
    file_->resize(size);
  }

  /// Root: what lies between the blocks, which is small, and its hashes.
  void write_rest(std::uint64_t size) {
    std::vector<std::byte> bytes;
    std::uint64_t begin = 0;
    const auto gap = [&](std::uint64_t end) {
      if (end == begin) return;
      bytes.resize(end - begin);
      layout_->read_memory(begin, bytes);
      file_->write(begin, bytes);
      pieces_.push_back({end, xxh3(bytes)});
    };
    for (const auto& [offset, item] : big_) {
      gap(offset);
      const auto& hashes = hashes_[item];
      for (std::size_t b = 0; b < item->blocks.size(); ++b) {
        pieces_.push_back({offset + item->blocks[b].end, hashes[b]});
      }
      begin = offset + item->size;
    }
    gap(size);
  }

  /// Collective: each rank writes its blocks at their places in the file and syncs them. It needs no other
  /// rank for that (no MPI, no HDF5), so that a disk that fails on one leaves all in step.
  void write_blocks() {
    std::string at = safe_ ? safe_->temporary() : "";
    communicator_.broadcast(at);
    std::vector<hdf5::Place> places;
    for (const Item& item : items_) places.push_back(item.place);
    communicator_.broadcast(places);
    std::vector<BlockHash> own;
    communicator_.together([&] {
      std::optional<FileBytes> opened;
      if (!file_) opened.emplace(at, path_);
      FileBytes& file = file_ ? *file_ : *opened;
      for (std::size_t i = 0; i < items_.size(); ++i) {
        const std::vector<Block>& blocks = items_[i].blocks;
        std::uint64_t written = 0, synced = 0;  // consecutive blocks
        for (std::size_t b = 0; b < blocks.size(); ++b) {
          const Block& block = blocks[b];
          if (block.bytes.empty()) continue;
          own.push_back({i, b, xxh3(block.bytes)});
          file.write(places[i].offset + block.begin, block.bytes);
          if (written != block.begin) synced = block.begin;
          written = block.end;
          if (written - synced < sync_bytes && b + 1 < blocks.size()) continue;
          file.start_syncing(places[i].offset + synced, written - synced);
          synced = written;
        }
      }
      if (!opened) return;  // the root syncs last
      opened->sync();
      opened->close();
    });
    for (const BlockHash& hash : communicator_.gather_varying(std::span<const BlockHash>(own))) {
      const Item* item = &items_[hash.item];
      auto& hashes = hashes_[item];
      hashes.resize(item->blocks.size());
      hashes[hash.block] = hash.hash;
    }
  }

  /// Root: the hashes, the seal, and the name. Returns the size of the file.
  std::uint64_t end() {
    for (const auto& [offset, item] : big_) {
      layout_->root()
          .open_dataset("state/" + item->name)
          .fixed_text_attribute("xxh3_64", hex(combined(hashes_[item])));
    }
    layout_->close();
    const std::uint64_t size = layout_->memory_size();
    write_rest(size);
    const std::string seal = make_seal(pieces_);
    file_->resize(size + seal.size());  // HDF5 needs less after closing than before
    file_->write(size, bytes_of(seal));
    file_->sync();
    file_->close();
    safe_->commit();
    return size + seal.size();
  }

  const Communicator& communicator_;
  std::string path_;
  const std::map<std::string, std::string>& texts_;
  std::vector<Item> items_;                     // the parts on all ranks, then what the root adds
  std::list<std::vector<std::byte>> received_;  // from other ranks
  // root only
  std::optional<hdf5::File> layout_;
  std::optional<SafeFile> safe_;
  std::optional<FileBytes> file_;
  std::map<std::uint64_t, const Item*> big_;  // by their places
  std::map<const Item*, std::vector<std::uint64_t>> hashes_;
  std::vector<SealedPiece> pieces_;
};

/// The hash of the bytes [begin, begin + size) as it was written: from the pieces where it has its own.
std::uint64_t hash_of(const std::byte* content, std::uint64_t begin, std::uint64_t size,
                      const std::vector<SealedPiece>& pieces) {
  auto piece = std::lower_bound(pieces.begin(), pieces.end(), begin + 1,
                                [](const SealedPiece& p, std::uint64_t at) { return p.end < at; });
  const std::uint64_t start = piece == pieces.begin() ? 0 : std::prev(piece)->end;
  std::vector<std::uint64_t> hashes;
  for (; start == begin && piece != pieces.end() && piece->end <= begin + size; ++piece) {
    hashes.push_back(piece->hash);
    if (piece->end == begin + size) return combined(hashes);
  }
  return xxh3({content + begin, size});
}

void read_values(const hdf5::Group& group, const std::string& prefix, std::span<const std::byte> content,
                 const std::vector<SealedPiece>& pieces, StateSnapshot& out) {
  for (const std::string& name : group.names()) {
    if (group.has_group(name)) {
      read_values(group.open_group(name), prefix + name + "/", content, pieces, out);
      continue;
    }
    const hdf5::Dataset dataset = group.open_dataset(name);
    const std::string where = dataset.file() + ":" + dataset.path();
    StateValue value;
    value.type = dtype_named(dataset.text_attribute("dtype"), where);
    const Stored as = stored(value.type);
    const hdf5::DatasetInfo info = group.info(name);
    if (info.type != as.type) throw DamagedFile(where + ": holds " + hdf5::type_name(info.type));
    value.shape.assign(info.shape.begin(), info.shape.end());
    if (as.pairs && !value.shape.empty()) value.shape.pop_back();
    if (dataset.number_attribute("scalar").front() == 1) value.shape.clear();
    const hdf5::Place place = dataset.place();
    if (place.offset > content.size() || place.size > content.size() - place.offset) {
      throw DamagedFile(where + ": lies outside the file");
    }
    if (hex(hash_of(content.data(), place.offset, place.size, pieces)) != dataset.text_attribute("xxh3_64")) {
      throw DamagedFile(where + ": its hash is not the one that it was written with");
    }
    const std::byte* begin = content.data() + place.offset;
    value.bytes.assign(begin, begin + place.size);
    out.emplace(prefix + name, std::move(value));
  }
}

/// The number in "checkpoint-00000012.h5<ending>".
std::optional<std::int64_t> number_of(const std::string& name, std::string_view ending) {
  constexpr std::string_view start = "checkpoint-";
  if (!name.starts_with(start) || !name.ends_with(ending) || name.size() <= start.size() + ending.size()) {
    return std::nullopt;
  }
  const std::string digits = name.substr(start.size(), name.size() - start.size() - ending.size());
  const bool number = digits.size() <= 18 && std::all_of(digits.begin(), digits.end(), [](unsigned char c) {
                        return std::isdigit(c) != 0;
                      });
  return number ? std::optional(std::stoll(digits)) : std::nullopt;
}

std::vector<fs::path> files_in(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

constexpr std::string_view group_start = "group_";

bool named_like_group(const fs::path& path) {  // such as "group_2"
  const std::string name = path.filename().string(),
                    digits = name.substr(std::min(name.size(), group_start.size()));
  return name.starts_with(group_start) && !digits.empty() &&
         digits.find_first_not_of("0123456789") == std::string::npos;
}

/// A folder, no link, that is named so.
bool is_group(const fs::path& path) {
  std::error_code ignored;
  return named_like_group(path) && fs::is_directory(fs::symlink_status(path, ignored));
}

}  // namespace

CheckpointCost write_checkpoint(const Communicator& communicator, const std::string& path,
                                const CheckpointContent& content, std::span<const CheckpointPart> parts) {
  CheckpointCost cost;
  Stopwatch watch;
  try {
    Writing writing(communicator, path, content, parts);
    cost.bytes = writing.write();
    cost.write_seconds = watch.lap();
    try {
      writing.verify();
    } catch (const std::exception& error) {
      if (communicator.is_root()) remove_checkpoint(path);
      throw IoError(std::string(error.what()) + "; it was written just now and is removed again");
    }
  } catch (const InputError& error) {
    throw IoError(error.what());  // the folder was there when the run began
  }
  cost.verify_seconds = watch.seconds();
  return cost;
}

CheckpointCost write_checkpoint(const std::string& path, const CheckpointContent& content) {
  return write_checkpoint(Communicator::self(), path, content);
}

CheckpointContent read_checkpoint(const std::string& path) {
  const SealedFile sealed(path);
  const std::unique_ptr<std::byte[]> bytes = sealed.read();
  const std::span<const std::byte> whole(bytes.get(), sealed.content_size());
  CheckpointContent content;
  try {
    const hdf5::File file = hdf5::File::open_image(whole, path);
    if (file.root().text_attribute("format") != "rankine-checkpoint" ||
        file.root().number_attribute("format_version").front() != 2) {
      throw DamagedFile(path + ": holds something else than a checkpoint");
    }
    const hdf5::Group texts = file.root().open_group("texts");
    for (const std::string& name : texts.names()) {
      const std::vector<std::byte> text = texts.read_bytes(name, hdf5::Type::i8);
      content.texts.emplace(name, std::string(reinterpret_cast<const char*>(text.data()), text.size()));
    }
    read_values(file.root().open_group("state"), "", whole, sealed.pieces(), content.state);
  } catch (const DamagedFile&) {
    throw;
  } catch (const std::exception& error) {
    throw DamagedFile(error.what());
  }
  return content;
}

CheckpointFolder CheckpointFolder::of_group(int group) const {
  return group == 0 ? *this : CheckpointFolder(fmt::format("{}/{}{}", path_, group_start, group + 1), run_);
}

std::vector<CheckpointFolder> CheckpointFolder::groups() const {
  std::vector<CheckpointFolder> all;
  for (const fs::path& file : files_in(path_)) {
    if (is_group(file)) all.emplace_back(file.string(), run_);
  }
  return all;
}

void CheckpointFolder::adopt(const std::string& checkpoint) const {
  std::error_code error;
  const fs::path from(checkpoint);
  if (!number_of(from.filename().string(), ".h5") || fs::equivalent(from.parent_path(), path_, error)) return;
  create();
  copy_checkpoint(checkpoint, path_of(next_number()));
}

CheckpointFolder CheckpointFolder::holding(const std::string& checkpoint) {
  fs::path folder = fs::path(checkpoint).parent_path();
  if (is_group(folder)) folder = folder.parent_path();
  return CheckpointFolder(folder.empty() ? "." : folder.string());
}

std::vector<CheckpointFolder::Item> CheckpointFolder::list() const {
  std::vector<Item> items;
  for (const fs::path& file : files_in(path_)) {
    if (const auto number = number_of(file.filename().string(), ".h5"))
      items.push_back({*number, file.string()});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.number > b.number; });
  return items;
}

bool CheckpointFolder::is_mine(const std::string& checkpoint) const {
  if (!is_own_checkpoint(checkpoint)) return false;
  // What is too damaged to say whose it is, or was written before checkpoints said so, is taken for this
  // run's.
  const std::string run = run_.empty() ? "" : run_of_checkpoint(checkpoint);
  return run.empty() || run == run_;
}

bool CheckpointFolder::has_mine() const {
  const auto in = [](const CheckpointFolder& folder) {
    const std::vector<fs::path> files = files_in(folder.path_);
    return std::any_of(files.begin(), files.end(),
                       [&](const fs::path& file) { return folder.is_mine(file.string()); });
  };
  const std::vector<CheckpointFolder> parts = groups();
  return in(*this) || std::any_of(parts.begin(), parts.end(), in);
}

std::int64_t CheckpointFolder::next_number() const {
  std::int64_t next = 1;
  for (const fs::path& file : files_in(path_)) {
    for (const char* ending : {".h5", ".h5.damaged"}) {
      if (const auto number = number_of(file.filename().string(), ending)) next = std::max(next, *number + 1);
    }
  }
  return next;
}

std::string CheckpointFolder::path_of(std::int64_t number) const {
  return fmt::format("{}/checkpoint-{:08d}.h5", path_, number);
}

std::string CheckpointFolder::finished_path(const std::string& variant, std::int64_t seed) const {
  return fmt::format("{}/finished-{}-seed_{}.h5", path_, variant, seed);
}

std::vector<std::string> CheckpointFolder::others() const {
  std::vector<std::string> names;
  const auto look = [&](const CheckpointFolder& folder, const std::string& start) {
    for (const fs::path& file : files_in(folder.path_)) {
      const std::string name = file.filename().string();
      std::error_code error;
      const bool own_folder = (start.empty() && file.string() == previous()) || is_group(file);
      const bool lock = name.ends_with(FolderLock::name) ||
                        (name == "lock" && fs::file_size(file, error) == 0);  // as versions before left it
      if (!own_folder && !lock && !names_half_written_checkpoint(name) && !is_mine(file.string()))
        names.push_back(start + name);
    }
  };
  const CheckpointFolder before(previous(), run_);
  look(*this, "");
  for (const CheckpointFolder& part : groups()) look(part, fs::path(part.path_).filename().string() + "/");
  look(before, "previous/");
  for (const CheckpointFolder& part : before.groups())
    look(part, "previous/" + fs::path(part.path_).filename().string() + "/");
  return names;
}

bool CheckpointFolder::takes(const std::string& path) const {
  std::error_code error;
  fs::path target;
  try {
    target = output_target(path);
  } catch (const InputError&) {
    return false;  // no output can stand there
  }
  const fs::path file = fs::weakly_canonical(fs::absolute(target), error);
  if (error || !named_like_checkpoint(file.filename().string())) return false;
  fs::path folder = file.parent_path();
  const fs::path own = fs::weakly_canonical(fs::absolute(path_), error);
  if (error) return false;
  if (folder != own && named_like_group(folder)) folder = folder.parent_path();
  return folder == own || folder == own / fs::path(previous()).filename();
}

void CheckpointFolder::check(const std::vector<std::string>& finished, bool archives) const {
  std::error_code error;
  const fs::file_status status = fs::status(path_, error);
  if (fs::exists(status) && !fs::is_directory(status))
    throw InputError(path_ + ": is no folder; choose another checkpoint.directory");
  const auto refuse = [&](const std::string& path, const std::string& what) {
    throw InputError(fmt::format("{}: {}; move it away, or choose another checkpoint.directory", path, what));
  };
  const auto whose = [&](const std::string& path) {
    return is_own_checkpoint(path) ? fmt::format("is of another run (results {})", run_of_checkpoint(path))
                                   : std::string("is no checkpoint that Rankine wrote");
  };
  for (const std::string& path : finished) {
    if (fs::exists(fs::symlink_status(path, error)) && !is_mine(path))
      refuse(path, whose(path) + ", and has the name of one that this run will write");
  }
  const std::vector<std::pair<std::string, std::string>> all = archives ? moves() : decltype(moves()){};
  if (all.empty()) return;
  const fs::file_status before = fs::symlink_status(previous(), error);
  if (fs::exists(before) && !fs::is_directory(before))
    refuse(previous(), "is no folder, and what an earlier run left would be moved there");
  for (const auto& [from, to] : all) {
    if (fs::exists(fs::symlink_status(to, error)) && !is_mine(to))
      refuse(to, fmt::format("{}, and {} would be moved there", whose(to), from));
    const fs::path folder = fs::path(to).parent_path();
    const fs::file_status there = fs::symlink_status(folder, error);
    if (fs::exists(there) && !fs::is_directory(there))
      refuse(folder.string(), fmt::format("is no folder, and {} would be moved there", from));
  }
}

void CheckpointFolder::create() const { make_folders(path_); }

/// From where to where archive() moves.
std::vector<std::pair<std::string, std::string>> CheckpointFolder::moves() const {
  std::vector<std::pair<std::string, std::string>> all;
  const auto add = [&](const CheckpointFolder& folder, const std::string& to) {
    for (const fs::path& file : files_in(folder.path_)) {
      const std::string name = file.filename().string();
      if (!name.ends_with(".damaged") && is_mine(file.string()))
        all.emplace_back(file.string(), to + "/" + name);
    }
  };
  add(*this, previous());
  for (const CheckpointFolder& part : groups()) {
    add(part, previous() + "/" + fs::path(part.path_).filename().string());
  }
  return all;
}

bool CheckpointFolder::archive() const {
  const std::vector<std::pair<std::string, std::string>> all = moves();
  if (all.empty()) return false;
  try {
    check({}, true);
  } catch (const InputError& error) {
    throw IoError(error.what());
  }
  const CheckpointFolder before(previous(), run_);
  std::vector<CheckpointFolder> parts = before.groups();
  parts.push_back(before);
  for (const CheckpointFolder& part : parts) {
    bool emptied = false;
    for (const fs::path& file : files_in(part.path_)) {
      if (is_mine(file.string()) && remove_checkpoint(file.string())) emptied = true;
    }
    if (emptied && part.path_ != before.path_) remove_empty_folder(part.path_);
  }
  for (const auto& [from, to] : all) {
    make_folders(fs::path(to).parent_path().string());
    move_checkpoint(from, to);
    const std::string folder = fs::path(from).parent_path().string();
    if (folder != path_) remove_empty_folder(folder);
  }
  return true;
}

void CheckpointFolder::set_aside(const std::string& path) {
  try {
    move_checkpoint(path, path + ".damaged");
  } catch (const IoError&) {
    // It stays, and is skipped again.
  }
}

void CheckpointFolder::remove_temporaries() const { remove_checkpoint_temporaries(path_); }

void CheckpointFolder::prune(int keep_last, int keep_every) const {
  int kept = 0;
  for (const Item& item : list()) {
    if (!is_mine(item.path)) continue;
    if (kept++ < keep_last || (keep_every > 0 && item.number % keep_every == 0)) continue;
    remove_checkpoint(item.path);
  }
  for (const fs::path& file : files_in(path_)) {
    if (file.extension() == ".damaged" && is_mine(file.string())) remove_checkpoint(file.string());
  }
}

}  // namespace rankine
