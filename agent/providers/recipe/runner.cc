// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/runner.h"

#include <set>
#include <utility>

#include "agent/base/check.h"
#include "agent/providers/recipe/reply.h"
#include "agent/providers/recipe/request_builder.h"

namespace keyturn::providers {

using base::CredentialValue;

namespace {

constexpr int kPagesMax = 100;

// A list in the making, over its pages.
struct Listing {
  CredentialValue manager;
  Provider::ListDone done;
  std::vector<ListedKey> keys;
  std::set<std::string> cursors;
};

CallResult Unreadable(CallResult call, Outcome outcome) {
  call.outcome = outcome;
  call.cause = "unreadable_reply";
  return call;
}

}  // namespace

struct RecipeProvider::Shared : std::enable_shared_from_this<Shared> {
  Shared(Setup s, net::HttpClient& h, const base::Clock& c)
      : setup(std::move(s)), http(h), clock(c) {}

  // Sends and hands over the sorted result together with the reply. A request that cannot be built
  // is sent with an empty method instead, which the client refuses as kNotSent: so the answer comes
  // the way every other comes, from the client's thread, and `build_error` says what it was.
  void Call(const RecipeRequest& request, TemplateValues values, absl::string_view cursor,
            absl::AnyInvocable<void(CallResult, net::HttpReply)> done) const {
    values.params = &setup.params;
    auto http_request = BuildRequest(request, setup.endpoint, values, cursor, setup.timeout);
    const bool built = http_request.ok();
    net::HttpRequest sent;
    if (built) {
      sent = *std::move(http_request);
    } else {
      sent.method.clear();
    }
    http.Send(std::move(sent), [self = shared_from_this(), &request, built,
                                done = std::move(done)](net::HttpResult result) mutable {
      CallResult call = SortReply(request, result, self->clock.WallNow());
      if (!built) {
        // Nothing was sent. A key that could not even be sent says nothing about being alive.
        call = {};
        call.outcome =
            request.call == RecipeCall::kVerify ? Outcome::kTransient : Outcome::kRejected;
        call.cause = "bad_request_value";
      }
      done(std::move(call), std::move(result.reply));
    });
  }

  void NextPage(std::shared_ptr<Listing> listing, const std::string& cursor) const {
    TemplateValues values;
    values.manager = &listing->manager;
    Call(setup.recipe->list, values, cursor,
         [self = shared_from_this(), listing](CallResult call, const net::HttpReply& reply) {
           self->TakePage(listing, std::move(call), reply);
         });
  }

  void TakePage(const std::shared_ptr<Listing>& listing, CallResult call,
                const net::HttpReply& reply) const {
    if (call.outcome != Outcome::kOk) return listing->done(std::move(call), {});
    auto page = ReadPage(*setup.recipe, reply);
    if (!page.has_value()) {
      return listing->done(Unreadable(std::move(call), Outcome::kTransient), {});
    }
    for (ListedKey& key : page->keys) listing->keys.push_back(std::move(key));
    if (page->next.empty()) return listing->done(std::move(call), std::move(listing->keys));
    // A cursor that comes back would go on for ever.
    if (listing->cursors.size() + 1 >= kPagesMax || !listing->cursors.insert(page->next).second) {
      return listing->done(Unreadable(std::move(call), Outcome::kTransient), {});
    }
    NextPage(listing, page->next);
  }

  const Setup setup;
  net::HttpClient& http;
  const base::Clock& clock;
};

RecipeProvider::RecipeProvider(Setup setup, net::HttpClient& http, const base::Clock& clock)
    : shared_(std::make_shared<const Shared>(std::move(setup), http, clock)) {}

const Traits& RecipeProvider::traits() const { return shared_->setup.traits; }

void RecipeProvider::Create(const CredentialValue& manager, const NewKey& key, CreateDone done) {
  TemplateValues values;
  values.manager = &manager;
  values.tag = key.tag;
  shared_->Call(shared_->setup.recipe->create, values, "",
                [shared = shared_, done = std::move(done)](CallResult call,
                                                           const net::HttpReply& reply) mutable {
                  if (call.outcome != Outcome::kOk) return done(std::move(call), std::nullopt);
                  auto minted = ReadMinted(*shared->setup.recipe, reply);
                  if (!minted.has_value()) {
                    // The key may well be there; nobody knows what it is.
                    return done(Unreadable(std::move(call), Outcome::kUnknown), std::nullopt);
                  }
                  done(std::move(call), std::move(minted));
                });
}

void RecipeProvider::List(const CredentialValue& manager, ListDone done) {
  auto listing = std::make_shared<Listing>();
  listing->manager = manager;
  listing->done = std::move(done);
  shared_->NextPage(std::move(listing), "");
}

void RecipeProvider::Verify(const CredentialValue& key, Done done) {
  KEYTURN_CHECK(shared_->setup.recipe->verify.has_value(), "a recipe without verify is asked to");
  TemplateValues values;
  values.key = &key;
  shared_->Call(*shared_->setup.recipe->verify, values, "",
                [done = std::move(done)](CallResult call, const net::HttpReply&) mutable {
                  done(std::move(call));
                });
}

void RecipeProvider::Revoke(const CredentialValue& manager, const std::string& key_id,
                            const CredentialValue&, Done done) {
  TemplateValues values;
  values.manager = &manager;
  values.key_id = key_id;
  shared_->Call(shared_->setup.recipe->revoke, values, "",
                [done = std::move(done)](CallResult call, const net::HttpReply&) mutable {
                  done(std::move(call));
                });
}

}  // namespace keyturn::providers
