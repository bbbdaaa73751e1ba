// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a provider's reply: whatever comes out keeps to the limits. The first byte
// chooses the status.
#include <cstddef>
#include <cstdint>

#include "agent/base/check.h"
#include "agent/providers/recipe/recipe.h"
#include "agent/providers/recipe/reply.h"

namespace {

constexpr char kRecipe[] = R"(recipe: fuzz
class: listed
create:
  path: /k
  extract: { id: /id, value: /token, fields: { extra: /a/b } }
  outcomes:
    - { status: [2xx], match: [ { at: /ok, exists: false }, { contains: e } ], is: ok }
    - { is: rejected, match: [ { at: /error/code, equals: "7" } ] }
list:
  path: /k
  paging: { query: p, next: /next }
  extract: { items: /data, id: /id, tag: /tag, value: /token }
  outcomes: [ { status: [2xx], is: ok } ]
revoke:
  path: /k/{key.id}
  outcomes: [ { is: ok } ]
)";

void CheckText(absl::string_view text, size_t length_max) {
  KEYTURN_CHECK(text.size() <= length_max, "longer than the limit");
  for (const char c : text) KEYTURN_CHECK(c > 0x20 && c < 0x7f, "not a graphic character");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keyturn;  // NOLINT
  static const auto& recipe = *new auto(providers::ReadRecipe(kRecipe, "fuzz").value());
  if (size == 0) return 0;
  constexpr int kStatuses[] = {200, 201, 204, 302, 400, 401, 404, 429, 500, 503};
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = kStatuses[data[0] % 10];
  const absl::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  result.reply.body = base::Secret(text);
  result.reply.headers.emplace_back("retry-after", std::string(text.substr(0, 40)));
  const auto call = providers::SortReply(recipe->create, result, absl::FromUnixSeconds(1700000000));
  KEYTURN_CHECK(call.retry_after >= absl::ZeroDuration() && call.retry_after <= absl::Hours(1),
                "a senseless wait");
  CheckText(call.cause, 16);
  if (const auto minted = providers::ReadMinted(*recipe, result.reply)) {
    KEYTURN_CHECK(!minted->id.empty() && minted->value.fields.size() == 2, "a hollow key");
    CheckText(minted->id, 256);
    for (const auto& field : minted->value.fields) CheckText(field.value.Reveal(), 16 * 1024);
  }
  if (const auto page = providers::ReadPage(*recipe, result.reply)) {
    for (const auto& key : page->keys) {
      CheckText(key.id, 256);
      CheckText(key.tag, 256);
      CheckText(key.value.Primary()->Reveal(), 16 * 1024);
    }
  }
  return 0;
}
