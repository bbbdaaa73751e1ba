// SPDX-License-Identifier: Apache-2.0
// Each call is a small chain of exchanges whose state lives in a shared object of its own: a
// Listing over pages, a Chain over the requests of create or revoke.
#include "agent/providers/recipe/runner.h"

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/base/check.h"
#include "agent/base/duration_text.h"
#include "agent/providers/recipe/extract.h"
#include "agent/providers/recipe/manager_tokens.h"
#include "agent/providers/recipe/reply.h"
#include "agent/providers/recipe/request_builder.h"
#include "agent/providers/signing/digest.h"

namespace keyturn::providers {

using base::CredentialValue;

namespace {

constexpr size_t kPagesMax = 100;

// What the placeholders of one call stand for, owned, because exchanges outlive their callers.
struct CallValues {
  CredentialValue manager;
  CredentialValue key;
  base::Secret secret;
  base::Secret manager_token;
  std::string key_id;
  std::string slot;
  std::string tag;
};

// A list in the making, over its pages.
struct Listing {
  std::shared_ptr<CallValues> values;
  absl::AnyInvocable<void(CallResult, ListPage)> done;
  ListPage all;
  std::set<std::string> cursors;
  std::set<std::string> ids;
};

// A create or revoke in the making, over its requests.
struct Chain {
  std::vector<const RecipeRequest*> requests;
  size_t at = 0;
  std::shared_ptr<CallValues> values;
  NewParts parts;
  std::optional<base::BootTime> repeat_until;
  // What the last reply holds is of no interest: a slot regenerated to end its key.
  bool forgets = false;
  absl::AnyInvocable<void(CallResult, NewParts)> done;
};

std::vector<const RecipeRequest*> RequestsOf(const RecipeRequest& request) {
  std::vector<const RecipeRequest*> all = {&request};
  for (const RecipeRequest& step : request.then) all.push_back(&step);
  return all;
}

CallResult With(CallResult call, Outcome outcome, const char* cause) {
  call.outcome = outcome;
  call.cause = cause;
  return call;
}

}  // namespace

struct RecipeProvider::Shared : std::enable_shared_from_this<Shared> {
  using Answered = absl::AnyInvocable<void(CallResult, net::HttpReply)>;

  Shared(Setup s, net::HttpClient& h, const base::Clock& c)
      : setup(std::move(s)), http(h), clock(c), tokens(std::make_shared<ManagerTokens>(c)) {
    const std::string& name = setup.recipe->spec.lifetime();
    const auto given = setup.params.find(name);
    if (name.empty() || given == setup.params.end() || given->second.empty()) return;
    // The registry has checked it.
    lifetime = base::ParseDuration(given->second).value_or(absl::ZeroDuration());
  }

  const Recipe& recipe() const { return *setup.recipe; }

  TemplateValues View(const CallValues& values) const {
    TemplateValues view;
    view.params = &setup.params;
    view.manager = &values.manager;
    view.key = &values.key;
    view.secret = &values.secret;
    view.manager_token = &values.manager_token;
    view.key_id = values.key_id;
    view.slot = values.slot;
    view.tag = values.tag;
    view.now = clock.WallNow();
    view.lifetime = lifetime;
    return view;
  }

  // An answer without an exchange. A request with an empty method is refused by the client as
  // kNotSent: so the answer comes the way every other comes, from the client's thread.
  void AnswerWithout(CallResult call, Answered done) const {
    net::HttpRequest nothing;
    nothing.method.clear();
    http.Send(std::move(nothing),
              [call = std::move(call), done = std::move(done)](const net::HttpResult&) mutable {
                done(std::move(call), {});
              });
  }

  // Sends and hands over the sorted result together with the reply.
  void Exchange(const RecipeRequest& request, const TemplateValues& values,
                absl::string_view cursor, Answered done) const {
    auto built = BuildRequest(request, setup.endpoint, values, cursor, setup.timeout);
    if (!built.ok()) {
      // Nothing was sent. A key that could not even be sent says nothing about being alive.
      const Outcome outcome =
          request.call == RecipeCall::kVerify ? Outcome::kTransient : Outcome::kRejected;
      return AnswerWithout(With({}, outcome, "bad_request_value"), std::move(done));
    }
    http.Send(*std::move(built), [self = shared_from_this(), &request,
                                  done = std::move(done)](net::HttpResult result) mutable {
      CallResult call = SortReply(request, result, self->clock.WallNow());
      done(std::move(call), std::move(result.reply));
    });
  }

  // The same, with the manager's token first where the request names it. `new_key` is looked at
  // until this returns or the token is there.
  void Call(const RecipeRequest& request, std::shared_ptr<CallValues> values,
            std::shared_ptr<const CredentialValue> new_key, const std::string& cursor,
            Answered done) const {
    const auto exchange = [self = shared_from_this(), &request, values, new_key,
                           cursor](Answered answered) {
      TemplateValues view = self->View(*values);
      view.new_key = new_key.get();
      self->Exchange(request, view, cursor, std::move(answered));
    };
    if (!request.uses_manager_token) return exchange(std::move(done));
    auto token_exchange = std::make_shared<const ManagerTokens::Exchange>(
        [self = shared_from_this()](const CredentialValue& manager, ManagerTokens::Done got) {
          self->AskToken(manager, std::move(got));
        });
    tokens->Get(values->manager, std::move(token_exchange),
                [self = shared_from_this(), values, exchange, done = std::move(done)](
                    CallResult call, base::Secret token) mutable {
                  if (call.outcome != Outcome::kOk) {
                    return self->AnswerWithout(std::move(call), std::move(done));
                  }
                  values->manager_token = std::move(token);
                  exchange([self, values, done = std::move(done)](CallResult result,
                                                                  net::HttpReply reply) mutable {
                    if (reply.status == 401) self->tokens->Forget(values->manager_token);
                    done(std::move(result), std::move(reply));
                  });
                });
  }

  // A token gives nobody a key: what fails here has had no effect.
  void AskToken(const CredentialValue& manager, ManagerTokens::Done done) const {
    auto values = std::make_shared<CallValues>();
    values->manager = manager;
    Exchange(*recipe().manager_token, View(*values), "",
             [self = shared_from_this(), values, done = std::move(done)](
                 CallResult call, const net::HttpReply& reply) mutable {
               if (call.outcome == Outcome::kRejected) {
                 if (call.http_status != 0) call.cause = "manager_token_refused";
                 return done(std::move(call), std::nullopt);
               }
               if (call.outcome != Outcome::kOk) {
                 call.outcome = Outcome::kTransient;
                 return done(std::move(call), std::nullopt);
               }
               auto token = ReadManagerToken(self->recipe(), reply, self->clock.WallNow());
               if (!token.has_value()) {
                 return done(With(std::move(call), Outcome::kTransient, "unreadable_reply"),
                             std::nullopt);
               }
               done(std::move(call), std::move(token));
             });
  }

  // --- lists

  void NextPage(std::shared_ptr<Listing> listing, const std::string& cursor) const {
    Call(*recipe().list, listing->values, nullptr, cursor,
         [self = shared_from_this(), listing](CallResult call, const net::HttpReply& reply) {
           self->TakePage(listing, std::move(call), reply);
         });
  }

  // The cursor of the page after those read; empty when this was the last one.
  std::string NextCursor(const Listing& listing, const ListPage& page) const {
    const auto& paging = recipe().spec.list().paging();
    if (!page.more) return "";
    if (paging.offset()) return absl::StrCat(listing.all.items);
    if (paging.has_first_page()) {
      return absl::StrCat(paging.first_page() + listing.cursors.size() + 1);
    }
    return page.next;
  }

  void TakePage(const std::shared_ptr<Listing>& listing, CallResult call,
                const net::HttpReply& reply) const {
    if (call.outcome != Outcome::kOk) return listing->done(std::move(call), {});
    auto page = ReadPage(recipe(), reply);
    size_t fresh = 0;
    if (page.has_value()) {
      listing->all.items += page->items;
      for (size_t i = 0; i < page->keys.size(); ++i) {
        // An entry that moved to a later page meanwhile comes twice.
        if (!listing->ids.insert(page->keys[i].id).second) continue;
        ++fresh;
        listing->all.hints.push_back(std::move(page->hints[i]));
        listing->all.keys.push_back(std::move(page->keys[i]));
      }
    }
    const std::string next = page.has_value() ? NextCursor(*listing, *page) : "";
    if (page.has_value() && next.empty()) {
      return listing->done(std::move(call), std::move(listing->all));
    }
    // A cursor that comes back would go on for ever, and so would a service that does not know the
    // parameter and shows the same page again.
    const bool repeats = page.has_value() && !page->keys.empty() && fresh == 0;
    if (!page.has_value() || repeats || listing->cursors.size() + 1 >= kPagesMax ||
        !listing->cursors.insert(next).second) {
      return listing->done(With(std::move(call), Outcome::kTransient, "unreadable_reply"), {});
    }
    NextPage(listing, next);
  }

  void StartList(std::shared_ptr<CallValues> values,
                 absl::AnyInvocable<void(CallResult, ListPage)> done) const {
    auto listing = std::make_shared<Listing>();
    listing->values = std::move(values);
    listing->done = std::move(done);
    const auto& paging = recipe().spec.list().paging();
    NextPage(std::move(listing), paging.has_first_page() ? absl::StrCat(paging.first_page())
                                 : paging.offset()       ? "0"
                                                         : "");
  }

  // --- create and revoke

  void NextRequest(std::shared_ptr<Chain> chain) const {
    const RecipeRequest& request = *chain->requests[chain->at];
    auto known = std::make_shared<const CredentialValue>(chain->parts.ForTemplates());
    Call(request, chain->values, std::move(known), "",
         [self = shared_from_this(), chain](CallResult call, const net::HttpReply& reply) {
           self->TakeReply(chain, std::move(call), reply);
         });
  }

  void TakeReply(const std::shared_ptr<Chain>& chain, CallResult call,
                 const net::HttpReply& reply) const {
    const RecipeRequest& request = *chain->requests[chain->at];
    if (call.outcome == Outcome::kTransient && Repeat(chain, request)) return;
    if (call.outcome == Outcome::kOk) {
      const CredentialValue known = chain->parts.ForTemplates();
      TemplateValues view = View(*chain->values);
      view.new_key = &known;
      const bool last = chain->at + 1 == chain->requests.size();
      if (!ReadParts(recipe(), request, reply, view, &chain->parts) && !(last && chain->forgets)) {
        // Whatever the request was to do may well be done.
        return chain->done(With(std::move(call), Outcome::kUnknown, "unreadable_reply"), {});
      }
      ++chain->at;
      chain->repeat_until.reset();
      if (last) {
        return chain->done(std::move(call), std::move(chain->parts));
      }
      return NextRequest(chain);
    }
    // The first request had its effect, so the whole cannot be said to have had none.
    if (chain->at > 0) call.outcome = Outcome::kUnknown;
    chain->done(std::move(call), {});
  }

  // True if the request is sent again after its pause.
  bool Repeat(const std::shared_ptr<Chain>& chain, const RecipeRequest& request) const {
    if (!request.spec.has_repeat() || setup.executor == nullptr) return false;
    const base::BootTime now = clock.BootNow();
    const absl::Duration up_to = base::ToDuration(request.spec.repeat().up_to());
    if (!chain->repeat_until.has_value()) chain->repeat_until = now + up_to;
    if (now >= *chain->repeat_until) return false;
    setup.executor->After(base::ToDuration(request.spec.repeat().every()),
                          [self = shared_from_this(), chain] { self->NextRequest(chain); });
    return true;
  }

  void StartChain(const RecipeRequest& request, std::shared_ptr<CallValues> values, bool forgets,
                  absl::AnyInvocable<void(CallResult, NewParts)> done) const {
    auto chain = std::make_shared<Chain>();
    chain->forgets = forgets;
    chain->requests = RequestsOf(request);
    chain->values = std::move(values);
    chain->done = std::move(done);
    NextRequest(std::move(chain));
  }

  // The id that a new key has when the reply says none.
  std::string KnownId(const CallValues& values, const NewParts& parts) const {
    if (!values.slot.empty()) return values.slot;
    if (!values.key_id.empty()) return values.key_id;
    // Says nothing about a secret of this length, and is the same each time.
    const base::Secret& value = parts.value.empty() ? values.secret : parts.value;
    return absl::StrCat("sha256-", Sha256Hex(value.Reveal()).substr(0, 16));
  }

  // Class manual: the key's id is read off the list, by what it shows of each key.
  void RevokeByHint(std::shared_ptr<CallValues> values, Provider::Done done) const {
    StartList(values, [self = shared_from_this(), values, done = std::move(done)](
                          CallResult call, const ListPage& page) mutable {
      if (call.outcome != Outcome::kOk) {
        // Nothing was changed.
        if (call.outcome == Outcome::kUnknown) call.outcome = Outcome::kTransient;
        return done(std::move(call));
      }
      const base::Secret* key = values->key.Primary();
      std::vector<const ListedKey*> alive;
      size_t fitting = 0;
      for (size_t i = 0; i < page.keys.size(); ++i) {
        const std::string& prefix = self->recipe().spec.value().prefix();
        if (key == nullptr || !HintFits(page.hints[i], key->Reveal(), prefix)) continue;
        ++fitting;
        if (!page.keys[i].dead) alive.push_back(&page.keys[i]);
      }
      if (fitting > 0 && alive.empty()) return done(std::move(call));
      // Beside a dead one that fits, the living one may be another key.
      if (fitting != 1) {
        return done(With(std::move(call), Outcome::kRejected,
                         fitting == 0 ? "key_not_listed" : "key_ambiguous"));
      }
      values->key_id = alive.front()->id;
      self->StartChain(*self->recipe().revoke, values, true,
                       [done = std::move(done)](CallResult result, const NewParts&) mutable {
                         done(std::move(result));
                       });
    });
  }

  const Setup setup;
  net::HttpClient& http;
  const base::Clock& clock;
  const std::shared_ptr<ManagerTokens> tokens;
  absl::Duration lifetime = absl::ZeroDuration();
};

RecipeProvider::RecipeProvider(Setup setup, net::HttpClient& http, const base::Clock& clock)
    : shared_(std::make_shared<const Shared>(std::move(setup), http, clock)) {}

const Traits& RecipeProvider::traits() const { return shared_->setup.traits; }

void RecipeProvider::Create(const CredentialValue& manager, const NewKey& key, CreateDone done) {
  const Recipe& recipe = shared_->recipe();
  KEYTURN_CHECK(recipe.create.has_value(), "a recipe without create is asked to");
  auto values = std::make_shared<CallValues>();
  values->manager = manager;
  values->key = key.current;
  values->secret = key.secret;
  values->tag = key.tag;
  const auto recipe_class = shared_->setup.traits.provider_class;
  if (recipe_class == ProviderClass::kDualSlot) {
    values->slot = key.target;
  } else if (recipe_class == ProviderClass::kChosen && !shared_->setup.traits.slots.empty()) {
    const auto& slots = shared_->setup.traits.slots;
    values->slot = slots[0] == key.target ? slots[1] : slots[0];
  } else if (recipe_class == ProviderClass::kRoll) {
    TemplateValues view = shared_->View(*values);
    values->key_id = key.target.empty()
                         ? recipe.first_id.Render(view, Template::Place::kText).value_or("")
                         : key.target;
  }
  shared_->StartChain(
      *recipe.create, values, false,
      [shared = shared_, values, done = std::move(done)](CallResult call, NewParts parts) mutable {
        if (call.outcome != Outcome::kOk) {
          return done(std::move(call), std::nullopt);
        }
        const std::string id = shared->KnownId(*values, parts);
        auto minted = FinishKey(shared->recipe(), std::move(parts), id, values->secret);
        if (!minted.has_value()) {
          // The key may well be there; nobody knows what it is.
          return done(With(std::move(call), Outcome::kUnknown, "unreadable_reply"), std::nullopt);
        }
        done(std::move(call), std::move(minted));
      });
}

void RecipeProvider::List(const CredentialValue& manager, ListDone done) {
  if (!shared_->recipe().list.has_value()) {
    return shared_->AnswerWithout(
        With({}, Outcome::kRejected, "not_supported"),
        [done = std::move(done)](CallResult call, const net::HttpReply&) mutable {
          done(std::move(call), {});
        });
  }
  auto values = std::make_shared<CallValues>();
  values->manager = manager;
  shared_->StartList(std::move(values),
                     [done = std::move(done)](CallResult call, ListPage page) mutable {
                       done(std::move(call), std::move(page.keys));
                     });
}

void RecipeProvider::Verify(const CredentialValue& key, Done done) {
  KEYTURN_CHECK(shared_->recipe().verify.has_value(), "a recipe without verify is asked to");
  auto values = std::make_shared<CallValues>();
  values->key = key;
  shared_->Call(*shared_->recipe().verify, std::move(values), nullptr, "",
                [done = std::move(done)](CallResult call, const net::HttpReply&) mutable {
                  done(std::move(call));
                });
}

void RecipeProvider::Revoke(const CredentialValue& manager, const std::string& key_id,
                            const CredentialValue& value, Done done) {
  const Recipe& recipe = shared_->recipe();
  const bool by_slot = recipe.spec.class_() == internal::v1::DUAL_SLOT;
  KEYTURN_CHECK(recipe.revoke.has_value() || by_slot, "a recipe without revoke is asked to");
  auto values = std::make_shared<CallValues>();
  values->manager = manager;
  values->key = value;
  values->key_id = key_id;
  if (!shared_->setup.traits.slots.empty()) values->slot = key_id;
  if (recipe.finds_by_hint && key_id.empty()) {
    return shared_->RevokeByHint(std::move(values), std::move(done));
  }
  shared_->StartChain(recipe.revoke.has_value() ? *recipe.revoke : *recipe.create,
                      std::move(values), true,
                      [done = std::move(done)](CallResult call, const NewParts&) mutable {
                        done(std::move(call));
                      });
}

}  // namespace keyturn::providers
