#include "src/experts/sample_fields.hpp"

#include "src/tensor/op_support.hpp"

namespace rankine {
namespace {

// What goes between ranks are the samples of one on the tiles of another, [tile][sample][channel][frame]
// [cell]. By tile they lie end to end in the fields of all tiles of one rank's samples.

void send(Exchange& exchange, const Tensor& x, int to) {
  if (x.count() > 0)
    exchange.send(DevicePtr<const std::byte>(x.address()),
                  x.count() * static_cast<std::int64_t>(size_of(x.dtype())), to);
}
void receive(Exchange& exchange, const Tensor& x, int from) {
  if (x.count() > 0)
    exchange.receive(x.address(), x.count() * static_cast<std::int64_t>(size_of(x.dtype())), from);
}

/// Views of both layouts, for each rank.
struct Pieces {
  const TilePartition& tiles;
  BlockPartition samples;
  /// Of `all` [tile][local sample]...: the tiles of rank r.
  Tensor of_tiles(const Tensor& all, int r) const {
    Shape shape = all.shape();
    shape[0] = tiles.end(r) - tiles.begin(r);
    return all.view(shape, all.strides(), tiles.begin(r) * all.strides()[0]);
  }
  /// Of `fields` [local tile][sample]...: the samples of rank r.
  Tensor of_samples(const Tensor& fields, int r) const {
    Shape shape = fields.shape();
    shape[1] = samples.size(r);
    return fields.view(shape, fields.strides(), samples.begin(r) * fields.strides()[1]);
  }
};

/// [local tile][sample]... to [tile][local sample]...
Tensor gathered(const Tensor& fields, const SampleTranspose& transpose) {
  const Communicator& communicator = transpose.communicator();
  if (communicator.size() == 1) return fields;
  const Pieces pieces{transpose.partition(), transpose.samples(fields.extent(1))};
  const int me = communicator.rank();
  Shape shape = fields.shape();
  shape[0] = pieces.tiles.grid().tiles();
  shape[1] = pieces.samples.size(me);
  const Tensor all = Tensor::empty(shape, fields.dtype());
  std::vector<Tensor> messages;
  Exchange exchange(communicator);
  for (int r = 0; r < communicator.size(); ++r)
    if (r != me) receive(exchange, pieces.of_tiles(all, r), r);
  for (int r = 0; r < communicator.size(); ++r)
    if (r != me) send(exchange, messages.emplace_back(pieces.of_samples(fields, r).clone()), r);
  pieces.of_tiles(all, me).assign(pieces.of_samples(fields, me));
  exchange.wait();
  return all;
}

/// The inverse of gathered(), for `batch` samples.
Tensor scattered(const Tensor& all, std::int64_t batch, const SampleTranspose& transpose) {
  const Communicator& communicator = transpose.communicator();
  if (communicator.size() == 1) return all;
  const Pieces pieces{transpose.partition(), transpose.samples(batch)};
  const int me = communicator.rank();
  Shape shape = all.shape();
  shape[0] = pieces.tiles.local_tiles();
  shape[1] = batch;
  const Tensor fields = Tensor::empty(shape, all.dtype());
  std::vector<Tensor> messages;
  Exchange exchange(communicator);
  for (int r = 0; r < communicator.size(); ++r) {
    messages.push_back(Tensor::empty(pieces.of_samples(fields, r).shape(), all.dtype()));
    if (r != me) receive(exchange, messages.back(), r);
  }
  for (int r = 0; r < communicator.size(); ++r)
    if (r != me) send(exchange, pieces.of_tiles(all, r), r);
  messages[static_cast<std::size_t>(me)] = pieces.of_tiles(all, me);
  exchange.wait();
  for (int r = 0; r < communicator.size(); ++r)
    pieces.of_samples(fields, r).assign(messages[static_cast<std::size_t>(r)]);
  return fields;
}

/// One axis of the grid while tiles become whole fields: [before][tiles][between][points][after], where the
/// axes before it are still cut into tiles and those after it are whole.
struct AxisCut {
  std::int64_t before, tiles, between, points, after;
};
std::vector<AxisCut> cuts_of(const TileGrid& grid, std::int64_t planes) {
  std::vector<AxisCut> cuts;
  std::int64_t before = grid.tiles(), between = planes * grid.tile_points(), after = 1;
  for (int axis = grid.axes() - 1; axis >= 0; --axis) {
    const std::int64_t tiles = grid.tiling()[axis], points = grid.tile_shape()[axis];
    before /= tiles;
    between /= points;
    cuts.push_back({before, tiles, between, points, after});
    after *= tiles * points;
  }
  return cuts;
}

/// [tile][sample][channel][point of the tile] to [sample][point of the grid][channel].
Tensor whole_fields(const Tensor& tiles, const TileGrid& grid, std::int64_t samples, std::int64_t channels) {
  Tensor fields = tiles;
  for (const AxisCut& c : cuts_of(grid, samples * channels))
    if (c.tiles > 1)
      fields = contiguous(
          permute(reshape(fields, {c.before, c.tiles, c.between, c.points, c.after}), {0, 2, 1, 3, 4}));
  return permute(reshape(fields, {samples, channels, grid.tiles() * grid.tile_points()}), {0, 2, 1});
}

/// The inverse of whole_fields().
Tensor cut_fields(const Tensor& whole, const TileGrid& grid, std::int64_t samples, std::int64_t channels) {
  Tensor fields =
      contiguous(permute(reshape(whole, {samples, grid.tiles() * grid.tile_points(), channels}), {0, 2, 1}));
  const std::vector<AxisCut> cuts = cuts_of(grid, samples * channels);
  for (auto c = cuts.rbegin(); c != cuts.rend(); ++c)
    if (c->tiles > 1)
      fields = contiguous(
          permute(reshape(fields, {c->before, c->between, c->tiles, c->points, c->after}), {0, 2, 1, 3, 4}));
  return fields;
}

Tensor to_tiles(const Tensor& samples, std::int64_t batch, const SampleTranspose& transpose) {
  const TileGrid& grid = transpose.partition().grid();
  const std::int64_t local = samples.extent(0), channels = samples.extent(3);
  std::vector<std::int64_t> all{grid.tiles(), local, channels};
  all.insert(all.end(), grid.tile_shape().begin(), grid.tile_shape().end());
  return scattered(reshape(cut_fields(samples, grid, local, channels), Shape(all)), batch, transpose);
}

}  // namespace

Tensor tiles_to_samples(const Tensor& fields, const SampleTranspose& transpose) {
  const Region<"tiles_to_samples"> region;
  const TileGrid& grid = transpose.partition().grid();
  const std::int64_t batch = fields.extent(1), channels = fields.extent(2),
                     local = transpose.local_samples(batch);
  const Shape whole{local, grid.points()[0], grid.tiles() * grid.tile_points() / grid.points()[0], channels};
  Tensor out;
  {
    const NoGrad off;
    const Tensor tiles = gathered(dense(fields), transpose);
    out = cast(reshape(whole_fields(tiles, grid, local, channels), whole), DType::f64);
  }
  return apply_op(
      "tiles_to_samples", {fields}, out,
      [&transpose, batch, type = fields.dtype()](const std::vector<Tensor>& bar, const VjpContext&) {
        return std::vector<Tensor>{to_tiles(cast(dense(bar[0]), type), batch, transpose)};
      },
      {.first_order_only = true});
}

Tensor samples_to_tiles(const Tensor& samples, std::int64_t batch, const SampleTranspose& transpose) {
  return apply_op("samples_to_tiles", {samples}, to_tiles(dense(samples), batch, transpose),
                  [&transpose](const std::vector<Tensor>& bar, const VjpContext&) {
                    return std::vector<Tensor>{tiles_to_samples(bar[0].detach(), transpose)};
                  },
                  {.first_order_only = true});
}

}  // namespace rankine
