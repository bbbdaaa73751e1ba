// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/dpop_proof.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/oauth/client_authentication.h"
#include "agent/providers/signing/digest.h"
#include "agent/providers/signing/jwk.h"
#include "agent/providers/signing/jwt.h"

namespace keyturn::providers {

absl::StatusOr<base::Secret> MakeDpopProof(const base::Secret& key, const ProofFor& what,
                                           absl::Time now, base::Random& random) {
  const auto jwk = PublicJwk(key);
  if (!jwk.ok()) return jwk.status();
  nlohmann::json claims = {{"jti", NewJti(random)},
                           {"htm", what.method},
                           {"htu", what.url.substr(0, what.url.find_first_of("?#"))},
                           {"iat", absl::ToUnixSeconds(now)}};
  if (!what.nonce.empty()) claims["nonce"] = what.nonce;
  if (what.access_token != nullptr) {
    claims["ath"] =
        absl::WebSafeBase64Escape(absl::HexStringToBytes(Sha256Hex(what.access_token->Reveal())));
  }
  const std::string header =
      absl::StrCat(R"({"alg":"ES256","jwk":)", *jwk, R"(,"typ":"dpop+jwt"})");
  try {
    return SignJws(JwtSignature::kEs256, key, header, claims.dump());
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError("the URL of the request is not UTF-8");
  }
}

}  // namespace keyturn::providers
