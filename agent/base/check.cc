// SPDX-License-Identifier: Apache-2.0
#include "agent/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace keyturn::base {

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "keyturn: broken invariant at %s:%d: %s\n", file, line, what);
  std::abort();
}

void EndProcess(const char* why, int exit_code) {
  std::fprintf(stderr, "keyturnd: %s\n", why);
  std::_Exit(exit_code);
}

}  // namespace keyturn::base
