// SPDX-License-Identifier: Apache-2.0
// Where the agent may connect to. A provider's URL is text that somebody wrote or a name somebody
// else resolves, so each address is judged at the moment of connecting: addresses that lead back
// into the host or its network are denied unless listed. Pure and immutable, hence thread-safe.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace keyturn::net {

// An address in network order; the four bytes of an IPv4 address come first.
struct IpAddress {
  bool v6 = false;
  std::array<uint8_t, 16> bytes = {};

  static std::optional<IpAddress> Parse(absl::string_view text);
  // Null for families other than IPv4 and IPv6.
  static std::optional<IpAddress> Of(const sockaddr* address);
};

class EgressRules {
 public:
  // Nothing listed: public addresses and https only.
  EgressRules() = default;

  // `allow_private`: CIDR blocks (`10.1.0.0/16`, `127.0.0.1`, `fd00::/8`). `allow_http`: hosts,
  // with or without a port (`localhost`, `127.0.0.1:8080`, `[::1]:80`). InvalidArgument names the
  // entry.
  static absl::StatusOr<EgressRules> Create(const std::vector<std::string>& allow_private,
                                            const std::vector<std::string>& allow_http);

  // False for loopback, link-local, private, carrier-grade NAT, multicast, documentation and
  // reserved addresses, also when written as an IPv6 address that carries one of them (mapped,
  // compatible, 6to4, NAT64), unless the address or the one it carries is in a listed block.
  bool AllowsAddress(const IpAddress& address) const;

  // Whether plain http may be spoken with this host. IPv6 hosts come without brackets.
  bool AllowsHttp(absl::string_view host, int port) const;

 private:
  struct Block {
    IpAddress address;
    int prefix_bits = 0;
    bool Contains(const IpAddress& other) const;
  };
  struct Host {
    std::string name;  // lower case
    int port = 0;      // 0: any
  };
  static absl::StatusOr<Block> ParseBlock(absl::string_view text);
  static absl::StatusOr<Host> ParseHost(absl::string_view text);
  static bool IsSpecial(const IpAddress& address);

  std::vector<Block> allow_private_;
  std::vector<Host> allow_http_;
};

}  // namespace keyturn::net
