// SPDX-License-Identifier: Apache-2.0
// libcurl calls CURLOPT_PREREQFUNCTION when the connection stands (TLS included) and before the
// first byte of the request is written. That call is the line between kNotSent and kUnknown.
#include "agent/net/curl_exchange.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/net/url.h"

namespace keyturn::net {
namespace {

constexpr size_t kHeaderBytesMax = 64 * 1024;
constexpr absl::Duration kConnectTimeoutMax = absl::Seconds(10);

bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("!#$%&'*+-.^_`|~", absl::string_view(&c, 1));
  });
}

bool HasControl(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
}

CurlExchange* Self(void* pointer) { return static_cast<CurlExchange*>(pointer); }

}  // namespace

CurlExchange::CurlExchange(HttpRequest request, HttpClient::Done done, base::Clock& clock)
    : request_(std::move(request)),
      done_(std::move(done)),
      clock_(clock),
      queued_at_(clock.BootNow()),
      sent_at_(queued_at_) {}

CurlExchange::~CurlExchange() {
  if (easy_ != nullptr) curl_easy_cleanup(easy_);
  for (curl_slist* line = header_list_; line != nullptr; line = line->next) {
    explicit_bzero(line->data, strlen(line->data));
  }
  curl_slist_free_all(header_list_);
  base::Wipe(body_);
  base::Wipe(request_.url);
}

std::string CurlExchange::Prepare(const EgressRules& egress, const std::string& ca_file) {
  egress_ = &egress;
  const auto url = ParseUrl(request_.url);
  if (!url.ok() || !IsToken(request_.method)) return "bad_url";
  if (url->scheme == "http" && !egress.AllowsHttp(url->host, url->port)) return "denied_scheme";
  const absl::Duration left = request_.timeout - (clock_.BootNow() - queued_at_);
  if (left < absl::Milliseconds(1)) return "timeout";
  easy_ = curl_easy_init();
  if (easy_ == nullptr) return "overloaded";
  if (!SetHeaders()) return "bad_header";
  SetBody();
  if (!SetCertificate()) return "tls";

  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(easy_, option, value);
  };
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PRIVATE, this);
  set(CURLOPT_PROTOCOLS_STR, "https,http");
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PATH_AS_IS, 1L);
  // An empty proxy keeps libcurl from asking the environment for one.
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, "keyturn/0.1");
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!ca_file.empty()) {
    set(CURLOPT_CAINFO, ca_file.c_str());
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  }
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(left)));
  set(CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(absl::ToInt64Milliseconds(std::min(left, kConnectTimeoutMax))));
  set(CURLOPT_FRESH_CONNECT, request_.fresh_connection ? 1L : 0L);
  set(CURLOPT_FORBID_REUSE, request_.fresh_connection ? 1L : 0L);
  set(CURLOPT_OPENSOCKETFUNCTION, &CurlExchange::OpenSocket);
  set(CURLOPT_OPENSOCKETDATA, this);
  set(CURLOPT_PREREQFUNCTION, &CurlExchange::BeforeRequest);
  set(CURLOPT_PREREQDATA, this);
  set(CURLOPT_HEADERFUNCTION, &CurlExchange::TakeHeader);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &CurlExchange::TakeBody);
  set(CURLOPT_WRITEDATA, this);
  return "";
}

bool CurlExchange::SetHeaders() {
  bool has_content_type = false;
  const auto append = [this](std::string& line) {
    curl_slist* longer = curl_slist_append(header_list_, line.c_str());
    base::Wipe(line);
    if (longer != nullptr) header_list_ = longer;
    return longer != nullptr;
  };
  for (const auto& [name, value] : request_.headers) {
    if (!IsToken(name) || HasControl(value.Reveal())) return false;
    has_content_type |= absl::EqualsIgnoreCase(name, "content-type");
    // libcurl reads `Name:` as an order to leave the header out.
    std::string line =
        value.empty() ? absl::StrCat(name, ";") : absl::StrCat(name, ": ", value.Reveal());
    if (!append(line)) return false;
  }
  std::string no_expect = "Expect:";
  if (!append(no_expect)) return false;
  // libcurl would call every body a form.
  std::string no_type = "Content-Type:";
  if (!has_content_type && !append(no_type)) return false;
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_);
  return true;
}

void CurlExchange::SetBody() {
  if (request_.method == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
    return;
  }
  const bool wants_length =
      request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
  if (wants_length || !request_.body.empty()) {
    // Not copied: the bytes stay in the Secret.
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS,
                     request_.body.empty() ? "" : request_.body.Reveal().data());
  }
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
}

bool CurlExchange::SetCertificate() {
  if (request_.client_certificate.empty() && request_.client_key.empty()) return true;
  // Without one of them the server would be shown nobody.
  if (request_.client_certificate.empty() || request_.client_key.empty()) return false;
  const auto set_blob = [this](CURLoption option, const base::Secret& pem) {
    // Not copied: the bytes stay in the Secret, and never lie in a file.
    curl_blob blob = {};
    blob.data = const_cast<char*>(pem.Reveal().data());
    blob.len = pem.size();
    blob.flags = CURL_BLOB_NOCOPY;
    return curl_easy_setopt(easy_, option, &blob) == CURLE_OK;
  };
  curl_easy_setopt(easy_, CURLOPT_SSLCERTTYPE, "PEM");
  curl_easy_setopt(easy_, CURLOPT_SSLKEYTYPE, "PEM");
  // Without one, OpenSSL would ask the terminal for the password of an encrypted key.
  curl_easy_setopt(easy_, CURLOPT_KEYPASSWD, "");
  return set_blob(CURLOPT_SSLCERT_BLOB, request_.client_certificate) &&
         set_blob(CURLOPT_SSLKEY_BLOB, request_.client_key);
}

curl_socket_t CurlExchange::OpenSocket(void* self, curlsocktype, curl_sockaddr* address) {
  const auto ip = IpAddress::Of(&address->addr);
  if (!ip.has_value() || !Self(self)->egress_->AllowsAddress(*ip)) {
    Self(self)->address_denied_ = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int CurlExchange::BeforeRequest(void* self, char*, char*, int, int) {
  CurlExchange* exchange = Self(self);
  if (!exchange->sending_) exchange->sent_at_ = exchange->clock_.BootNow();
  exchange->sending_ = true;
  return CURL_PREREQFUNC_OK;
}

size_t CurlExchange::TakeHeader(char* data, size_t size, size_t count, void* self) {
  CurlExchange* exchange = Self(self);
  const absl::string_view line(data, size * count);
  exchange->header_bytes_ += line.size();
  if (exchange->header_bytes_ > kHeaderBytesMax) {
    exchange->too_large_ = true;
    return 0;
  }
  if (absl::StartsWith(line, "HTTP/")) {
    // A status line: what came before belonged to an interim reply.
    exchange->reply_.headers.clear();
  } else if (const size_t colon = line.find(':'); colon != absl::string_view::npos) {
    exchange->reply_.headers.emplace_back(
        absl::AsciiStrToLower(line.substr(0, colon)),
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
  }
  return line.size();
}

size_t CurlExchange::TakeBody(char* data, size_t size, size_t count, void* self) {
  CurlExchange* exchange = Self(self);
  const size_t bytes = size * count;
  if (bytes > exchange->request_.max_reply_bytes - exchange->body_.size()) {
    exchange->too_large_ = true;
    return bytes + 1;
  }
  exchange->Append(data, bytes);
  return bytes;
}

void CurlExchange::Append(const char* data, size_t size) {
  if (body_.size() + size > body_.capacity()) {
    // Grown by hand, because a string that grows by itself leaves its old bytes behind.
    std::string larger;
    larger.reserve(std::max(2 * body_.capacity(), body_.size() + size));
    larger.append(body_);
    base::Wipe(body_);
    body_.swap(larger);
  }
  body_.append(data, size);
}

std::string CurlExchange::CauseOf(CURLcode code) const {
  if (too_large_) return "too_large";
  if (address_denied_ && !sending_) return "denied_address";
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "dns";
    case CURLE_COULDNT_CONNECT:
      return "connect";
    case CURLE_OPERATION_TIMEDOUT:
      return "timeout";
    case CURLE_URL_MALFORMAT:
      return "bad_url";
    case CURLE_FILESIZE_EXCEEDED:
      return "too_large";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
      return "tls";
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
      return "reset";
    default:
      return sending_ ? "protocol" : "connect";
  }
}

void CurlExchange::Finish(CURLcode code) {
  if (code != CURLE_OK) {
    Deliver(sending_ ? Delivery::kUnknown : Delivery::kNotSent, CauseOf(code));
    return;
  }
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  reply_.status = static_cast<int>(status);
  reply_.body = base::Secret::Take(body_);
  Deliver(Delivery::kAnswered, "");
}

void CurlExchange::Abandon(const std::string& cause) {
  Deliver(sending_ ? Delivery::kUnknown : Delivery::kNotSent, cause);
}

void CurlExchange::Deliver(Delivery delivery, std::string cause) {
  HttpResult result;
  result.delivery = delivery;
  if (delivery == Delivery::kAnswered) result.reply = std::move(reply_);
  result.cause = std::move(cause);
  result.sent_at = sent_at_;
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace keyturn::net
