#include "src/run/packing.hpp"

#include <cstring>

#include <nlohmann/json.hpp>

namespace rankine {

using nlohmann::json;

std::vector<std::uint8_t> packed(const CheckpointContent& content) {
  json state = json::object();
  for (const auto& [name, value] : content.state) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(value.bytes.data());
    state[name] = {{"type", static_cast<int>(value.type)},
                   {"shape", value.shape},
                   {"bytes", json::binary({bytes, bytes + value.bytes.size()})}};
  }
  return json::to_cbor({{"texts", content.texts}, {"state", std::move(state)}});
}

CheckpointContent unpacked(std::span<const std::uint8_t> bytes) {
  const json all = json::from_cbor(bytes.begin(), bytes.end());
  CheckpointContent content;
  all.at("texts").get_to(content.texts);
  for (const auto& [name, from] : all.at("state").items()) {
    StateValue value{static_cast<DType>(from.at("type").get<int>()), {}, {}};
    from.at("shape").get_to(value.shape);
    const json::binary_t& data = from.at("bytes").get_binary();
    value.bytes.resize(data.size());
    if (!data.empty()) std::memcpy(value.bytes.data(), data.data(), data.size());
    content.state.emplace(name, std::move(value));
  }
  return content;
}

}  // namespace rankine
