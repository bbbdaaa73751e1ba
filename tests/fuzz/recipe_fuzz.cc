// SPDX-License-Identifier: Apache-2.0
// Arbitrary text as a recipe: the reader must survive it, and what it accepts must be usable.
#include <cstddef>
#include <cstdint>

#include "agent/base/check.h"
#include "agent/providers/recipe/recipe.h"
#include "agent/providers/recipe/request_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keyturn;  // NOLINT
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto recipe = providers::ReadRecipe(text, "fuzz");
  if (!recipe.ok()) return 0;
  const std::map<std::string, std::string> params;
  const auto value = base::CredentialValue::Of(base::Secret("\"secret\r\n/{key}"));
  providers::TemplateValues values;
  values.params = &params;
  values.manager = &value;
  values.key = &value;
  values.key_id = "id";
  values.tag = "kt-1";
  values.secret = values.manager_token = value.Primary();
  values.slot = "slot";
  for (const auto* call : {&(*recipe)->create, &(*recipe)->list, &(*recipe)->revoke,
                           &(*recipe)->verify, &(*recipe)->manager_token}) {
    if (!call->has_value()) continue;
    // A parameter that stands in for the endpoint is the registry's to fill in.
    if (!(*call)->spec.endpoint().empty()) continue;
    const auto http = providers::BuildRequest(**call, "https://h", values, "", absl::Seconds(1));
    if (!http.ok()) continue;
    for (const char c : http->url) KEYTURN_CHECK(c > 0x20 && c < 0x7f, "a URL of odd characters");
    for (const auto& [name, header] : http->headers) {
      for (const char c : header.Reveal()) KEYTURN_CHECK(c >= 0x20 && c < 0x7f, "an odd header");
    }
  }
  return 0;
}
