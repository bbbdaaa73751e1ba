// SPDX-License-Identifier: Apache-2.0
// Window: the days and hours within which rotations may begin, in a time zone. A span whose two
// ends fall into the same gap of local time is left out that day; one that holds an hour twice is
// that much longer. Immutable.
#pragma once

#include <bitset>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

// What is wrong with a window, and in which of its fields; empty: in the window as a whole.
struct WindowMistake {
  std::string field;
  std::string message;
};

class Window {
 public:
  struct Span {
    absl::Time opens = absl::InfiniteFuture();
    absl::Time closes = absl::InfiniteFuture();  // itself no longer within
  };

  // InvalidArgument says what is wrong; `mistake`, when not null, also where.
  static absl::StatusOr<Window> Parse(const v1::Window& spec, WindowMistake* mistake = nullptr);

  // The span that holds `at`, or else the first one that opens after it.
  Span At(absl::Time at) const;
  bool Holds(absl::Time at) const { return At(at).opens <= at; }

 private:
  Window() = default;

  std::bitset<7> days_;  // monday is 0
  absl::Duration from_;  // local time since midnight
  absl::Duration to_;    // over a day: on the day after
  absl::TimeZone zone_;
};

}  // namespace keyturn::lifecycle
