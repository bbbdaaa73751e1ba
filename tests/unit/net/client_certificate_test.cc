// SPDX-License-Identifier: Apache-2.0
// The client against a TLS server of this test that wants to see a certificate: it is shown, from
// memory, the one of the request and no other.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/clock.h"
#include "agent/net/curl_http_client.h"
#include "tests/fakes/temporary_directory.h"

namespace keyturn::net {
namespace {

// A key and a certificate that signs itself.
class Identity {
 public:
  explicit Identity(const std::string& name)
      : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate_(X509_new(), &X509_free) {
    X509* x = certificate_.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key_.get());
    X509_NAME* subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(x, subject);
    for (const auto& [nid, value] : {std::pair{NID_subject_alt_name, "IP:127.0.0.1"},
                                     std::pair{NID_basic_constraints, "critical,CA:TRUE"}}) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    }
    X509_sign(x, key_.get(), EVP_sha256());
  }
  EVP_PKEY* key() const { return key_.get(); }
  X509* certificate() const { return certificate_.get(); }
  std::string CertificatePem() const {
    return Text([&](BIO* bio) { PEM_write_bio_X509(bio, certificate()); });
  }
  // Encrypted when there is a password.
  std::string KeyPem(const char* password = nullptr) const {
    return Text([&](BIO* bio) {
      PEM_write_bio_PrivateKey(bio, key(), password == nullptr ? nullptr : EVP_aes_128_cbc(),
                               reinterpret_cast<const unsigned char*>(password),
                               password == nullptr ? 0 : static_cast<int>(strlen(password)),
                               nullptr, nullptr);
    });
  }

 private:
  template <class Write>
  static std::string Text(const Write& write) {
    BIO* bio = BIO_new(BIO_s_mem());
    write(bio);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
  }
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

// Answers every request with the name on the certificate it was shown. Speaks with no one else.
class NamingServer {
 public:
  NamingServer(const Identity& own, const std::vector<Identity>& known)
      : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_use_certificate(context_, own.certificate());
    SSL_CTX_use_PrivateKey(context_, own.key());
    for (const Identity& identity : known) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), identity.certificate());
    }
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    // Sessions would stand in for certificates.
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context_, 0);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 16), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { Accept(); });
  }
  // The clients have gone by then.
  ~NamingServer() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    for (std::thread& thread : serving_) thread.join();
    ::close(listener_);
    SSL_CTX_free(context_);
  }
  std::string Url() const { return absl::StrCat("https://127.0.0.1:", port_, "/"); }

 private:
  void Accept() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      serving_.emplace_back([this, fd] { Serve(fd); });
    }
  }
  void Serve(int fd) {
    SSL* ssl = SSL_new(context_);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
      X509* peer = SSL_get1_peer_certificate(ssl);
      char name[64] = "";
      X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, sizeof name);
      X509_free(peer);
      const std::string reply =
          absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", strlen(name), "\r\n\r\n", name);
      std::string request;
      char buffer[4096];
      int n = 0;
      while ((n = SSL_read(ssl, buffer, sizeof buffer)) > 0) {
        request.append(buffer, static_cast<size_t>(n));
        if (request.find("\r\n\r\n") == std::string::npos) continue;
        request.clear();
        SSL_write(ssl, reply.data(), static_cast<int>(reply.size()));
      }
    }
    SSL_free(ssl);
    ::close(fd);
  }

  SSL_CTX* context_;
  int listener_ = -1;
  int port_ = 0;
  std::vector<std::thread> serving_;  // the accepting thread's until it has ended
  std::thread accepting_;
};

class ClientCertificateTest : public testing::Test {
 protected:
  ClientCertificateTest() {
    std::ofstream(directory_.File("ca.pem")) << server_identity_.CertificatePem();
    CurlHttpClient::Options options;
    options.egress = EgressRules::Create({"127.0.0.1"}, {}).value();
    options.ca_file = directory_.File("ca.pem");
    client_ = CurlHttpClient::Create(std::move(options), base::SystemClock()).value();
  }
  HttpResult Fetch(const std::string& certificate, const std::string& key, bool fresh = true) {
    HttpRequest request;
    request.url = server_.Url();
    request.timeout = absl::Seconds(20);
    request.client_certificate = base::Secret(certificate);
    request.client_key = base::Secret(key);
    request.fresh_connection = fresh;
    std::promise<HttpResult> promise;
    client_->Send(std::move(request),
                  [&promise](HttpResult result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }

  const Identity server_identity_{"server"};
  const Identity one_{"client-one"};
  const Identity two_{"client-two"};
  fakes::TemporaryDirectory directory_;
  NamingServer server_{server_identity_, {one_, two_}};
  std::unique_ptr<CurlHttpClient> client_;  // goes before the server
};

TEST_F(ClientCertificateTest, IsShown) {
  const HttpResult result = Fetch(one_.CertificatePem(), one_.KeyPem());
  ASSERT_EQ(result.delivery, Delivery::kAnswered) << result.cause;
  EXPECT_EQ(result.reply.body.Reveal(), "client-one");
}

TEST_F(ClientCertificateTest, MayBeFollowedByItsChain) {
  const HttpResult result =
      Fetch(one_.CertificatePem() + server_identity_.CertificatePem(), one_.KeyPem());
  ASSERT_EQ(result.delivery, Delivery::kAnswered) << result.cause;
  EXPECT_EQ(result.reply.body.Reveal(), "client-one");
}

TEST_F(ClientCertificateTest, WithoutOneTheServerDoesNotAnswer) {
  EXPECT_NE(Fetch("", "").delivery, Delivery::kAnswered);
  const Identity stranger("stranger");
  EXPECT_NE(Fetch(stranger.CertificatePem(), stranger.KeyPem()).delivery, Delivery::kAnswered);
}

TEST_F(ClientCertificateTest, AKeptConnectionIsNotSharedBetweenIdentities) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Fetch(one_.CertificatePem(), one_.KeyPem(), false).reply.body.Reveal(), "client-one");
    EXPECT_EQ(Fetch(two_.CertificatePem(), two_.KeyPem(), false).reply.body.Reveal(), "client-two");
    EXPECT_NE(Fetch("", "", false).delivery, Delivery::kAnswered);
  }
}

TEST_F(ClientCertificateTest, WhatIsNoCertificateWithItsKeyIsNotSent) {
  const std::pair<std::string, std::string> cases[] = {
      {one_.CertificatePem(), ""},
      {"", one_.KeyPem()},
      {one_.CertificatePem(), two_.KeyPem()},
      {"nothing", one_.KeyPem()},
      {one_.CertificatePem(), "nothing"},
      // No terminal is asked for the password.
      {one_.CertificatePem(), one_.KeyPem("password")},
  };
  for (const auto& [certificate, key] : cases) {
    const HttpResult result = Fetch(certificate, key);
    EXPECT_EQ(result.delivery, Delivery::kNotSent) << certificate.size() << " " << key.size();
    EXPECT_EQ(result.cause, "tls");
  }
}

}  // namespace
}  // namespace keyturn::net
