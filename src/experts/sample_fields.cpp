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

}  // namespace

Tensor tiles_to_samples(const Tensor& fields, const SampleTranspose& transpose) {
  const Region<"tiles_to_samples"> region;
  const TileGrid& grid = transpose.partition().grid();
  const std::int64_t batch = fields.extent(1), channels = fields.extent(2),
                     local = transpose.local_samples(batch);
  const Shape split{grid.t_tiles(), grid.x_tiles(), local, channels, grid.tile_nt(), grid.tile_nx()};
  const Shape whole{local, grid.nt(), grid.nx(), channels};
  Tensor out;
  {
    const NoGrad off;
    const Tensor tiles = reshape(gathered(dense(fields), transpose), split);
    out = cast(reshape(permute(tiles, {2, 0, 4, 1, 5, 3}), whole), DType::f64);
  }
  return apply_op("tiles_to_samples", {fields}, out,
                  [&transpose, grid, batch, split, shape = fields.shape(), type = fields.dtype()](
                      const std::vector<Tensor>& bar, const VjpContext&) {
                    const Tensor from = reshape(cast(dense(bar[0]), type),
                                                {split[2], split[0], split[4], split[1], split[5], split[3]});
                    const Tensor tiles = contiguous(permute(from, {1, 3, 0, 5, 2, 4}));
                    Shape all = shape;
                    all[0] = grid.tiles();
                    all[1] = split[2];
                    return std::vector<Tensor>{scattered(reshape(tiles, all), batch, transpose)};
                  },
                  {.first_order_only = true});
}

}  // namespace rankine
