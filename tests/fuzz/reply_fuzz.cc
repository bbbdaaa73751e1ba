// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a provider's reply, read as JSON and as XML: whatever comes out keeps to the
// limits. The first byte chooses the status.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "agent/base/check.h"
#include "agent/providers/recipe/extract.h"
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

// The same over XML, with everything that is done to a text.
constexpr char kXmlRecipe[] = R"(recipe: fuzz
class: untagged
reply_format: xml
create:
  path: /k
  extract:
    find: { items: /R/L/m, at: /n, equals: "{tag}" }
    id: { at: /i, last_segment: true }
    value: { at: /v, base64: true, prefix: k }
    fields: { extra: { at: /e, document: true } }
    expires_at: /t
  outcomes: [ { status: [2xx], match: [ { at: /R/ok, starts_with: y } ], is: ok } ]
list:
  path: /k
  paging: { query: p, next: /R/next, more: /R/more }
  extract:
    items: /R/L/m
    items_optional: true
    id: /i
    hint: /h
    only: [ { at: /n, starts_with: k } ]
    dead: [ { at: /s, equals: dead } ]
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

namespace {

using namespace keyturn;  // NOLINT

void TryRecipe(const providers::Recipe& recipe, const net::HttpResult& result) {
  const auto call = providers::SortReply(*recipe.create, result, absl::FromUnixSeconds(1700000000));
  KEYTURN_CHECK(call.retry_after >= absl::ZeroDuration() && call.retry_after <= absl::Hours(1),
                "a senseless wait");
  CheckText(call.cause, 16);
  const std::map<std::string, std::string> params;
  providers::TemplateValues values;
  values.params = &params;
  values.tag = "kt";
  providers::NewParts parts;
  if (providers::ReadParts(recipe, *recipe.create, result.reply, values, &parts)) {
    if (const auto minted = providers::FinishKey(recipe, std::move(parts), "", {})) {
      KEYTURN_CHECK(!minted->id.empty() && minted->value.fields.size() == 2, "a hollow key");
      CheckText(minted->id, 256);
      CheckText(minted->value.Primary()->Reveal(), 16 * 1024);
      for (const auto& field : minted->value.fields) {
        KEYTURN_CHECK(!field.value.empty() && field.value.size() <= 16 * 1024, "an odd field");
      }
    }
  }
  if (const auto page = providers::ReadPage(recipe, result.reply)) {
    KEYTURN_CHECK(page->hints.size() == page->keys.size(), "a hint too many or too few");
    for (size_t i = 0; i < page->keys.size(); ++i) {
      const auto& key = page->keys[i];
      CheckText(key.id, 256);
      CheckText(key.tag, 256);
      if (!key.value.empty()) CheckText(key.value.Primary()->Reveal(), 16 * 1024);
      (void)providers::HintFits(page->hints[i], "key-of-some-length", "key-");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto& recipe = *new auto(providers::ReadRecipe(kRecipe, "fuzz").value());
  static const auto& xml_recipe = *new auto(providers::ReadRecipe(kXmlRecipe, "fuzz").value());
  if (size == 0) return 0;
  constexpr int kStatuses[] = {200, 201, 204, 302, 400, 401, 404, 429, 500, 503};
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = kStatuses[data[0] % 10];
  const absl::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  result.reply.body = base::Secret(text);
  result.reply.headers.emplace_back("retry-after", std::string(text.substr(0, 40)));
  TryRecipe(*recipe, result);
  TryRecipe(*xml_recipe, result);
  return 0;
}
