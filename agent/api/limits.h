// SPDX-License-Identifier: Apache-2.0
// The bounds on what callers of one socket may hold. Plain values.
#pragma once

#include <cstddef>

namespace keyturn::api {

struct ConnectionLimits {
  size_t connections = 4096;
  size_t connections_per_uid = 1024;
  // New connections of one uid: so many at once, and so many a second after that.
  size_t connect_burst = 500;
  double connects_per_second = 250;
};

}  // namespace keyturn::api
