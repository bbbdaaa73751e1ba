// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as each of the messages people write: no input may crash or hang the reader, and
// what it accepts must read back the same after being written.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>

#include "agent/base/check.h"
#include "agent/base/strict_yaml.h"
#include "keyturn/internal/v1/config.pb.h"
#include "keyturn/internal/v1/recipe.pb.h"
#include "keyturn/v1/resources.pb.h"

namespace {

template <typename M>
void Try(absl::string_view text) {
  M message;
  keyturn::base::SourceMap where;
  if (!keyturn::base::ParseYaml(text, "fuzz", &message, &where).ok()) return;
  M back;
  KEYTURN_CHECK(keyturn::base::ParseYaml(keyturn::base::ToYaml(message), "again", &back).ok(),
                "what was written is refused");
  KEYTURN_CHECK(google::protobuf::util::MessageDifferencer::Equals(message, back),
                "what was written reads differently");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  Try<keyturn::v1::Resources>(text);
  Try<keyturn::internal::v1::Recipe>(text);
  Try<keyturn::internal::v1::Config>(text);
  return 0;
}
