// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/extract.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"
#include "agent/providers/xml_tree.h"

namespace keyturn::providers {
namespace {

namespace pb = internal::v1;
using nlohmann::json;
using Picks = google::protobuf::Map<std::string, pb::Pick>;

constexpr size_t kIdLengthMax = 256;
constexpr size_t kTagLengthMax = 256;
constexpr size_t kHintLengthMax = 256;
constexpr size_t kValueLengthMax = 16 * 1024;
constexpr size_t kCursorLengthMax = 2048;
constexpr size_t kItemsMax = 10'000;
// Of a hint's characters, those in front of the key's own part aside; and of those at its end.
constexpr size_t kHintKnownMin = 6;
constexpr size_t kHintTailMin = 4;

bool Graphic(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsDocument(const std::string& text) {
  if (text.empty() || absl::StrContains(text, absl::string_view("\0", 1))) return false;
  try {
    std::string written = json(text).dump();  // refuses what is not UTF-8
    base::Wipe(written);
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

// The text at the pointer if it is a scalar of graphic characters within the limit; else empty.
std::string Take(const json& tree, const std::string& pointer, size_t length_max) {
  std::string text;
  const json* found = Lookup(tree, pointer);
  if (found == nullptr || !ScalarText(*found, &text)) return "";
  if (text.size() > length_max || !Graphic(text)) base::Wipe(text);
  return text;
}

void Replace(std::string& text, std::string with) {
  base::Wipe(text);
  text.swap(with);
}

std::string Take(const json& tree, const pb::Pick& pick, size_t length_max) {
  std::string text;
  const json* found = Lookup(tree, pick.at());
  if (found == nullptr || !ScalarText(*found, &text)) return "";
  if (pick.base64()) {
    std::string decoded;
    if (!absl::Base64Unescape(text, &decoded)) base::Wipe(decoded);
    Replace(text, std::move(decoded));
  }
  if (pick.last_segment()) Replace(text, text.substr(text.rfind('/') + 1));
  if (!pick.prefix().empty() && !text.empty() && !absl::StartsWith(text, pick.prefix())) {
    Replace(text, absl::StrCat(pick.prefix(), text));
  }
  const bool good = pick.document() ? IsDocument(text) : Graphic(text);
  if (!good || text.size() > length_max) base::Wipe(text);
  return text;
}

// False when one cannot be read.
bool TakeFields(const json& tree, const Picks& picks, std::vector<base::Field>* fields) {
  std::vector<std::string> names;
  for (const auto& [name, unused] : picks) names.push_back(name);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    std::string text = Take(tree, picks.at(name), kValueLengthMax);
    if (text.empty()) return false;
    fields->push_back({name, base::Secret::Take(text), true});
  }
  return true;
}

// Null for a time that cannot be read, infinite future for never.
std::optional<absl::Time> TakeTime(const json& tree, const pb::TimePick& pick, absl::Time now) {
  const json* found = Lookup(tree, pick.at());
  if (found == nullptr || found->is_null()) return absl::InfiniteFuture();
  std::string text;
  if (!ScalarText(*found, &text)) return std::nullopt;
  if (text.empty()) return absl::InfiniteFuture();
  if (pick.as() == pb::RFC3339 || pick.as() == pb::TIME_FORMAT_UNSPECIFIED) {
    absl::Time time;
    if (absl::ParseTime(absl::RFC3339_full, text, &time, nullptr) ||
        absl::ParseTime("%Y-%m-%d", text, &time, nullptr)) {
      // A zero time: of year 1 in some languages, of 1970 in others.
      return time <= absl::UnixEpoch() ? absl::InfiniteFuture() : time;
    }
    return std::nullopt;
  }
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number)) return std::nullopt;
  if (number <= 0) return absl::InfiniteFuture();
  switch (pick.as()) {
    case pb::UNIX_MS:
      return absl::FromUnixMillis(number);
    case pb::SECONDS:
      return now + absl::Seconds(number);
    default:
      return absl::FromUnixSeconds(number);
  }
}

// The one item of the list that fits, or null.
const json* FindItem(const json& tree, const RecipeRequest& request, const TemplateValues& values) {
  const pb::Find& find = request.spec.extract().find();
  auto wanted = request.find_equals.Render(values, Template::Place::kText);
  const json* items = Lookup(tree, find.items());
  if (!wanted.ok() || wanted->empty() || items == nullptr || !items->is_array()) return nullptr;
  const json* found = nullptr;
  for (const json& item : *items) {
    std::string text;
    const json* at = Lookup(item, find.at());
    if (at == nullptr || !ScalarText(*at, &text) || text != *wanted) continue;
    if (found != nullptr) return nullptr;
    found = &item;
  }
  return found;
}

// Where the key of a slot stands.
pb::Pick SlotPick(const pb::Recipe::Slot& slot) {
  pb::Pick pick;
  pick.set_at(slot.at().empty() ? absl::StrCat("/", slot.id()) : slot.at());
  return pick;
}

// What the recipe says a key looks like.
bool LooksRight(const pb::Recipe::Value& wanted, absl::string_view value) {
  return absl::StartsWith(value, wanted.prefix()) && value.size() >= wanted.min_length() &&
         (wanted.max_length() == 0 || value.size() <= wanted.max_length());
}

base::CredentialValue ValueOf(base::Secret primary, std::vector<base::Field> fields) {
  base::CredentialValue value = base::CredentialValue::Of(std::move(primary));
  for (base::Field& field : fields) value.fields.push_back(std::move(field));
  return value;
}

// False when the item is unusable.
bool ReadItem(const pb::Extract& extract, const json& item, ListPage* page) {
  for (const pb::Match& match : extract.only()) {
    if (!MatchHolds(match, "", &item)) return true;
  }
  ListedKey key;
  key.id = Take(item, extract.id(), kIdLengthMax);
  if (key.id.empty()) return false;
  if (!extract.tag().empty()) {
    // A key without a tag, or with one that is not ours to read, is somebody else's.
    key.tag = Take(item, extract.tag(), kTagLengthMax);
  }
  for (const pb::Match& match : extract.dead()) key.dead |= MatchHolds(match, "", &item);
  if (extract.has_value()) {
    std::string primary = Take(item, extract.value(), kValueLengthMax);
    std::vector<base::Field> fields;
    if (primary.empty() || !TakeFields(item, extract.fields(), &fields)) return false;
    key.value = ValueOf(base::Secret::Take(primary), std::move(fields));
  }
  page->hints.push_back(extract.hint().empty() ? "" : Take(item, extract.hint(), kHintLengthMax));
  page->keys.push_back(std::move(key));
  return true;
}

// False when it cannot be read.
bool ReadNext(const pb::Paging& paging, const json& tree, ListPage* page) {
  const auto says = [&](const std::string& pointer) -> const json* {
    const json* found = Lookup(tree, pointer);
    const bool nothing =
        found == nullptr || found->is_null() || *found == json(false) || *found == json("");
    return nothing ? nullptr : found;
  };
  if (!paging.more().empty()) {
    std::string more;
    const json* found = says(paging.more());
    if (found == nullptr) return true;
    if (!ScalarText(*found, &more) || more != "true") return more == "false";
  }
  if (paging.next().empty()) {
    page->more = page->items > 0;
    return true;
  }
  const json* next = says(paging.next());
  // What is not the last page but names no next one cannot be a whole list.
  if (next == nullptr) return paging.more().empty();
  page->more = true;
  return ScalarText(*next, &page->next) && page->next.size() <= kCursorLengthMax;
}

}  // namespace

std::unique_ptr<json> ParseReply(const RecipeRequest& request, const net::HttpReply& reply) {
  return request.xml ? ParseXml(reply.body.Reveal()) : ParseJson(reply.body.Reveal());
}

bool MatchHolds(const pb::Match& match, absl::string_view body, const json* tree) {
  std::string text;
  bool exists = false;
  bool is_text = false;
  if (match.at().empty() && !body.empty()) {
    text = std::string(body);
    exists = is_text = true;
  } else if (const json* found = tree != nullptr ? Lookup(*tree, match.at()) : nullptr;
             found != nullptr) {
    exists = true;
    is_text = ScalarText(*found, &text);
  }
  bool holds = !match.has_exists() || match.exists() == exists;
  if (!match.equals().empty()) holds &= is_text && text == match.equals();
  if (!match.contains().empty()) holds &= is_text && absl::StrContains(text, match.contains());
  if (!match.starts_with().empty()) {
    holds &= is_text && absl::StartsWith(text, match.starts_with());
  }
  base::Wipe(text);
  return holds;
}

base::CredentialValue NewParts::ForTemplates() const {
  base::CredentialValue all;
  all.primary = "value";
  if (!value.empty()) all.fields.push_back({"value", value, true});
  if (!id.empty()) all.fields.push_back({"id", base::Secret(id), false});
  all.fields.insert(all.fields.end(), fields.begin(), fields.end());
  all.fields.insert(all.fields.end(), kept.begin(), kept.end());
  return all;
}

bool ReadParts(const Recipe& recipe, const RecipeRequest& request, const net::HttpReply& reply,
               const TemplateValues& values, NewParts* parts) {
  const pb::Extract& extract = request.spec.extract();
  const bool by_slot = recipe.spec.class_() == pb::DUAL_SLOT && !request.is_step &&
                       !extract.has_value() && request.then.empty();
  if (!request.spec.has_extract() && !by_slot) return true;
  const std::unique_ptr<json> tree = ParseReply(request, reply);
  if (tree == nullptr) return false;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const json* from = extract.has_find() ? FindItem(*tree, request, values) : tree.get();
  if (from == nullptr) return false;
  if (extract.has_id()) {
    parts->id = Take(*from, extract.id(), kIdLengthMax);
    if (parts->id.empty()) return false;
  }
  pb::Pick value = extract.value();
  if (by_slot) {
    for (const auto& slot : recipe.spec.slots()) {
      if (slot.id() == values.slot) value = SlotPick(slot);
    }
  }
  if (extract.has_value() || by_slot) {
    std::string text = Take(*from, value, kValueLengthMax);
    if (text.empty()) return false;
    parts->value = base::Secret::Take(text);
  }
  if (extract.has_expires_at()) {
    const auto time = TakeTime(*from, extract.expires_at(), values.now);
    // Handed out, a key that is dead already would serve nobody.
    if (!time.has_value() || *time <= values.now) return false;
    if (*time != absl::InfiniteFuture()) parts->expires_at = time;
  }
  return TakeFields(*from, extract.fields(), &parts->fields) &&
         TakeFields(*from, extract.keep(), &parts->kept);
}

std::optional<MintedKey> FinishKey(const Recipe& recipe, NewParts parts, absl::string_view known_id,
                                   const base::Secret& chosen) {
  if (parts.value.empty()) parts.value = chosen;
  if (parts.id.empty()) parts.id = std::string(known_id);
  if (parts.value.empty() || parts.id.empty() ||
      !LooksRight(recipe.spec.value(), parts.value.Reveal())) {
    return std::nullopt;
  }
  MintedKey key;
  key.id = std::move(parts.id);
  key.value = ValueOf(std::move(parts.value), std::move(parts.fields));
  key.expires_at = parts.expires_at;
  return key;
}

std::optional<ListPage> ReadPage(const Recipe& recipe, const net::HttpReply& reply) {
  const std::unique_ptr<json> tree = ParseReply(*recipe.list, reply);
  if (tree == nullptr) return std::nullopt;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const pb::Extract& extract = recipe.spec.list().extract();
  ListPage page;
  if (recipe.spec.class_() == pb::DUAL_SLOT && !extract.has_id()) {
    for (const auto& slot : recipe.spec.slots()) {
      std::string text = Take(*tree, SlotPick(slot), kValueLengthMax);
      if (text.empty()) return std::nullopt;
      ListedKey key;
      key.id = slot.id();
      key.value = base::CredentialValue::Of(base::Secret::Take(text));
      page.keys.push_back(std::move(key));
    }
    page.hints.resize(page.keys.size());
    return page;
  }
  const json* items = Lookup(*tree, extract.items());
  if (items != nullptr && items->is_array()) {
    page.items = items->size();
    if (page.items > kItemsMax) return std::nullopt;
    for (const json& item : *items) {
      if (!ReadItem(extract, item, &page)) return std::nullopt;
    }
  } else if (items != nullptr && items->is_object() && recipe.list->xml) {
    // In XML one item cannot be told from a list of one.
    page.items = 1;
    if (!ReadItem(extract, *items, &page)) return std::nullopt;
  } else if (!extract.items_optional() || !(items == nullptr || items->is_null())) {
    return std::nullopt;
  }
  if (recipe.spec.list().has_paging() && !ReadNext(recipe.spec.list().paging(), *tree, &page)) {
    return std::nullopt;
  }
  return page;
}

std::optional<ManagerToken> ReadManagerToken(const Recipe& recipe, const net::HttpReply& reply,
                                             absl::Time now) {
  const std::unique_ptr<json> tree = ParseReply(*recipe.manager_token, reply);
  if (tree == nullptr) return std::nullopt;
  const absl::Cleanup wipe = [&] { WipeJson(*tree); };
  const pb::Extract& extract = recipe.spec.manager_token().extract();
  ManagerToken token;
  std::string text = Take(*tree, extract.value(), kValueLengthMax);
  if (text.empty()) return std::nullopt;
  token.value = base::Secret::Take(text);
  if (extract.has_expires_at()) {
    token.expires_at = TakeTime(*tree, extract.expires_at(), now);
    if (!token.expires_at.has_value()) return std::nullopt;
  }
  return token;
}

bool HintFits(absl::string_view hint, absl::string_view key, absl::string_view prefix) {
  const auto hides = [](char c) { return c == '.' || c == '*'; };
  size_t begin = 0;
  while (begin + 1 < hint.size() && !(hides(hint[begin]) && hides(hint[begin + 1]))) ++begin;
  if (begin + 1 >= hint.size()) return false;
  size_t end = begin;
  while (end < hint.size() && hides(hint[end])) ++end;
  const absl::string_view head = hint.substr(0, begin);
  const absl::string_view tail = hint.substr(end);
  // All keys begin with the prefix, so it tells none of them from the others.
  const size_t of_head = head.size() - std::min(head.size(), prefix.size());
  return tail.size() >= kHintTailMin && of_head + tail.size() >= kHintKnownMin &&
         head.size() + tail.size() < key.size() && absl::StartsWith(key, head) &&
         absl::EndsWith(key, tail);
}

}  // namespace keyturn::providers
