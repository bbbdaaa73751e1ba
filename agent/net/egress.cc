// SPDX-License-Identifier: Apache-2.0
// The blocks are those of the IANA special-purpose registries that are not globally reachable.
#include "agent/net/egress.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyturn::net {
namespace {

constexpr absl::string_view kSpecialBlocks[] = {
    "0.0.0.0/8",                          // this host
    "10.0.0.0/8",                         // private
    "100.64.0.0/10",                      // carrier-grade NAT
    "127.0.0.0/8",                        // loopback
    "169.254.0.0/16",                     // link-local, and the metadata services of clouds
    "172.16.0.0/12",                      // private
    "192.0.0.0/24",                       // protocol assignments
    "192.0.2.0/24",                       // documentation
    "192.168.0.0/16",                     // private
    "198.18.0.0/15",                      // benchmarks
    "198.51.100.0/24", "203.0.113.0/24",  // documentation
    "224.0.0.0/4",                        // multicast
    "240.0.0.0/4",                        // reserved, broadcast
    "::/128",          "::1/128",         // unspecified, loopback
    "64:ff9b:1::/48",                     // translation within one network
    "100::/64",                           // discard
    "2001::/32",                          // Teredo hides an address behind a mask
    "2001:db8::/32",                      // documentation
    "fc00::/7",                           // unique local
    "fe80::/10",       "fec0::/10",       // link-local, site-local
    "ff00::/8",                           // multicast
};

// The IPv4 address that an IPv6 address carries at `at`, if it begins with `prefix`.
std::optional<IpAddress> Carried(const IpAddress& address, absl::string_view prefix, size_t bytes,
                                 size_t at) {
  const auto start = IpAddress::Parse(prefix);
  if (!address.v6 || !start.has_value() ||
      !std::equal(start->bytes.begin(), start->bytes.begin() + static_cast<std::ptrdiff_t>(bytes),
                  address.bytes.begin())) {
    return std::nullopt;
  }
  IpAddress v4;
  std::copy_n(address.bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, v4.bytes.begin());
  return v4;
}

std::optional<IpAddress> CarriedIpv4(const IpAddress& address) {
  for (absl::string_view prefix : {"::ffff:0:0", "64:ff9b::", "::"}) {
    if (auto v4 = Carried(address, prefix, 12, 12)) return v4;
  }
  return Carried(address, "2002::", 2, 2);
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  address.v6 = true;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::Of(const sockaddr* address) {
  IpAddress result;
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof v4);
    std::memcpy(result.bytes.data(), &v4.sin_addr, 4);
    return result;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, address, sizeof v6);
    result.v6 = true;
    std::memcpy(result.bytes.data(), &v6.sin6_addr, 16);
    return result;
  }
  return std::nullopt;
}

bool EgressRules::Block::Contains(const IpAddress& other) const {
  if (other.v6 != address.v6) return false;
  for (int bit = 0; bit < prefix_bits; ++bit) {
    const auto byte = static_cast<size_t>(bit / 8);
    const int mask = 0x80 >> (bit % 8);
    if ((other.bytes[byte] & mask) != (address.bytes[byte] & mask)) return false;
  }
  return true;
}

absl::StatusOr<EgressRules::Block> EgressRules::ParseBlock(absl::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no address block; write for instance 10.1.0.0/16"));
  }
  Block block;
  block.address = *address;
  const int bits_max = address->v6 ? 128 : 32;
  block.prefix_bits = bits_max;
  if (slash != absl::string_view::npos &&
      (!absl::SimpleAtoi(text.substr(slash + 1), &block.prefix_bits) || block.prefix_bits < 0 ||
       block.prefix_bits > bits_max)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": the prefix must be a number from 0 to ", bits_max));
  }
  return block;
}

absl::StatusOr<EgressRules::Host> EgressRules::ParseHost(absl::string_view text) {
  Host host;
  absl::string_view name = text;
  absl::string_view port;
  if (absl::StartsWith(text, "[")) {
    const size_t end = text.find(']');
    if (end == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" has no closing bracket"));
    }
    name = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else if (!IpAddress::Parse(text).has_value() && absl::StrContains(text, ":")) {
    name = text.substr(0, text.find(':'));
    port = text.substr(text.find(':'));
  }
  if (!port.empty() && (port[0] != ':' || !absl::SimpleAtoi(port.substr(1), &host.port) ||
                        host.port < 1 || host.port > 65535)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" has no valid port"));
  }
  if (name.empty() || name.find_first_of("/@ ") != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no host; write for instance localhost or 127.0.0.1:8080"));
  }
  host.name = absl::AsciiStrToLower(name);
  return host;
}

absl::StatusOr<EgressRules> EgressRules::Create(const std::vector<std::string>& allow_private,
                                                const std::vector<std::string>& allow_http) {
  EgressRules rules;
  for (const std::string& text : allow_private) {
    auto block = ParseBlock(text);
    if (!block.ok()) return block.status();
    rules.allow_private_.push_back(*block);
  }
  for (const std::string& text : allow_http) {
    auto host = ParseHost(text);
    if (!host.ok()) return host.status();
    rules.allow_http_.push_back(*std::move(host));
  }
  return rules;
}

bool EgressRules::IsSpecial(const IpAddress& address) {
  static const std::vector<Block>* const blocks = [] {
    auto* parsed = new std::vector<Block>;
    for (absl::string_view text : kSpecialBlocks) parsed->push_back(ParseBlock(text).value());
    return parsed;
  }();
  return std::any_of(blocks->begin(), blocks->end(),
                     [&](const Block& block) { return block.Contains(address); });
}

bool EgressRules::AllowsAddress(const IpAddress& address) const {
  for (const Block& block : allow_private_) {
    if (block.Contains(address)) return true;
  }
  if (IsSpecial(address)) return false;
  if (const auto v4 = CarriedIpv4(address)) return AllowsAddress(*v4);
  return true;
}

bool EgressRules::AllowsHttp(absl::string_view host, int port) const {
  return std::any_of(allow_http_.begin(), allow_http_.end(), [&](const Host& allowed) {
    return allowed.name == absl::AsciiStrToLower(host) &&
           (allowed.port == 0 || allowed.port == port);
  });
}

}  // namespace keyturn::net
