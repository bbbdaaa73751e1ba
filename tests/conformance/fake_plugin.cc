// SPDX-License-Identifier: Apache-2.0
// A plugin for tests: keeps keys of every class in memory, and misbehaves as --mode says. The file
// --control, when it holds a word, says what befalls the next call: `lose` its reply after the
// effect, or `refuse` it.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "keyturn/plugin/v1/provider.grpc.pb.h"

namespace keyturn::plugin::v1 {
namespace {

struct Flags {
  std::string socket;
  std::string mode;
  std::string control;
};

[[noreturn]] void WaitForEver() {
  for (;;) pause();
}

class Service final : public Provider::Service {
 public:
  explicit Service(Flags flags) : flags_(std::move(flags)) {}

  grpc::Status Describe(grpc::ServerContext*, const DescribeRequest* request,
                        DescribeResponse* response) override {
    const auto& params = request->config().params();
    const auto kind = params.find("class");
    ProviderClass provider_class = PROVIDER_CLASS_UNSPECIFIED;
    if (kind != params.end() && !ProviderClass_Parse(kind->second, &provider_class)) {
      auto* problem = response->add_problems();
      problem->set_field("params.class");
      problem->set_message("is no class\nat all");
      return grpc::Status::OK;
    }
    response->set_needs_manager(true);
    Traits* traits = response->mutable_traits();
    traits->set_provider_class(provider_class);
    traits->set_can_list(flags_.mode != "no_list");
    traits->set_can_verify(true);
    traits->set_can_revoke(true);
    traits->set_key_limit(Limit(request->config()));
    return grpc::Status::OK;
  }

  grpc::Status Create(grpc::ServerContext*, const CreateRequest* request,
                      CreateResponse* response) override {
    const std::string fault = NextFault();
    if (flags_.mode == "hang") WaitForEver();
    if (!Admitted(request->manager(), fault, response->mutable_result())) return grpc::Status::OK;
    absl::MutexLock lock(&mu_);
    const uint32_t limit = Limit(request->config());
    if (limit != 0 && keys_.size() >= limit) {
      response->mutable_result()->set_outcome(LIMITED);
      return grpc::Status::OK;
    }
    // Another process is another service, whose keys are others.
    const std::string number = absl::StrCat(getpid(), "-", ++made_);
    const std::string secret =
        request->secret().empty() ? absl::StrCat("made-secret-", number) : request->secret();
    keys_.push_back({absl::StrCat("key-", number), request->tag(), secret});
    if (flags_.mode == "crash_in_create") abort();
    response->mutable_result()->set_outcome(OK);
    Key* key = response->mutable_key();
    key->set_id(flags_.mode == "bad_id" ? "two words" : keys_.back().id);
    Fill(keys_.back(), key->mutable_value());
    return Reply(fault);
  }

  grpc::Status List(grpc::ServerContext*, const ListRequest* request,
                    ListResponse* response) override {
    const std::string fault = NextFault();
    if (flags_.mode == "crash_in_list") abort();
    if (flags_.mode == "hang") WaitForEver();
    if (!Admitted(request->manager(), fault, response->mutable_result())) return grpc::Status::OK;
    const auto kind = request->config().params().find("class");
    absl::MutexLock lock(&mu_);
    response->mutable_result()->set_outcome(OK);
    for (const Held& held : keys_) {
      ListedKey* key = response->add_keys();
      key->set_id(held.id);
      key->set_tag(held.tag);
      if (kind != request->config().params().end() && kind->second == "LISTED") {
        Fill(held, key->mutable_value());
      }
    }
    if (flags_.mode == "huge") {
      for (int i = 0; i < 100'000; ++i) response->add_keys()->set_id(std::string(100, 'x'));
    }
    return Reply(fault);
  }

  grpc::Status Verify(grpc::ServerContext*, const VerifyRequest* request,
                      VerifyResponse* response) override {
    const std::string fault = NextFault();
    const std::string secret = Primary(request->key());
    absl::MutexLock lock(&mu_);
    const bool alive = std::any_of(keys_.begin(), keys_.end(),
                                   [&](const Held& held) { return held.secret == secret; });
    Result* result = response->mutable_result();
    result->set_outcome(fault == "refuse" ? TRANSIENT : alive ? OK : REJECTED);
    return Reply(fault);
  }

  grpc::Status Revoke(grpc::ServerContext*, const RevokeRequest* request,
                      RevokeResponse* response) override {
    const std::string fault = NextFault();
    if (!Admitted(request->manager(), fault, response->mutable_result())) return grpc::Status::OK;
    absl::MutexLock lock(&mu_);
    std::erase_if(keys_, [&](const Held& held) { return held.id == request->key_id(); });
    response->mutable_result()->set_outcome(OK);
    return Reply(fault);
  }

 private:
  struct Held {
    std::string id;
    std::string tag;
    std::string secret;
  };

  static uint32_t Limit(const ProviderConfig& config) {
    const auto found = config.params().find("limit");
    return found == config.params().end()
               ? 0
               : static_cast<uint32_t>(std::strtoul(found->second.c_str(), nullptr, 10));
  }
  static std::string Primary(const Value& value) {
    for (const auto& field : value.fields()) {
      if (field.name() == value.primary()) return field.value();
    }
    return "";
  }
  static void Fill(const Held& held, Value* value) {
    auto* field = value->add_fields();
    field->set_name("value");
    field->set_value(held.secret);
    value->set_primary("value");
  }
  static bool Admitted(const Value& manager, const std::string& fault, Result* result) {
    if (fault == "refuse") {
      result->set_outcome(TRANSIENT);
      result->set_cause("not_now");
    } else if (Primary(manager) != "admin") {
      result->set_outcome(REJECTED);
      result->set_cause("Some <text> of the service");
    } else {
      return true;
    }
    return false;
  }
  static grpc::Status Reply(const std::string& fault) {
    return fault == "lose" ? grpc::Status(grpc::StatusCode::ABORTED, "lost") : grpc::Status::OK;
  }
  std::string NextFault() {
    absl::MutexLock lock(&mu_);
    std::string word;
    if (!flags_.control.empty()) {
      std::ifstream(flags_.control) >> word;
      std::filesystem::remove(flags_.control);
    }
    return word;
  }

  const Flags flags_;
  absl::Mutex mu_;
  std::vector<Held> keys_;
  int made_ = 0;
};

// What a process inherits, for the test that looks for what it must not.
void ReportSelf(int argc, char** argv) {
  for (int i = 0; i < argc; ++i) std::printf("argument %s\n", argv[i]);
  for (char** entry = environ; *entry != nullptr; ++entry) std::printf("variable %s\n", *entry);
  for (int fd = 3; fd < 1024; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) std::printf("descriptor %d\n", fd);
  }
  sigset_t blocked;
  sigprocmask(SIG_SETMASK, nullptr, &blocked);
  for (int number = 1; number < 32; ++number) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (sigismember(&blocked, number) == 1) std::printf("blocked %d\n", number);
    if (action.sa_handler == SIG_IGN) std::printf("ignored %d\n", number);
  }
  std::printf("directory %s\n", std::filesystem::current_path().c_str());
  std::printf("session %d\n", getsid(0) == getpid() ? 1 : 0);
  std::fflush(stdout);
}

void Chatter() {
  std::fprintf(stderr, "%s\n", std::string(5000, 'y').c_str());
  std::fprintf(stderr, "two\x01kinds\xff\n");
  for (int i = 0; i < 1000; ++i) std::fprintf(stderr, "line %d\n", i);
}

// Something listens, and speaks another language.
[[noreturn]] void ServeGarbage(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) _exit(9);
  listen(fd, 5);
  for (;;) {
    const int peer = accept(fd, nullptr, nullptr);
    const std::string garbage(10'000, '!');
    if (write(peer, garbage.data(), garbage.size()) < 0) close(peer);
  }
}

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--socket") flags.socket = argv[i + 1];
    if (name == "--mode") flags.mode = argv[i + 1];
    if (name == "--control") flags.control = argv[i + 1];
  }
  if (flags.mode == "exit") return 3;
  if (flags.mode == "deaf") WaitForEver();
  if (flags.mode == "report") ReportSelf(argc, argv);
  if (flags.mode == "chatter") Chatter();
  if (flags.mode == "garbage") ServeGarbage(flags.socket);
  // The process that was started waits while another one serves.
  if (flags.mode == "stand_in" && fork() != 0) WaitForEver();
  Service service(flags);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", flags.socket), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 4;
  WaitForEver();
}

}  // namespace
}  // namespace keyturn::plugin::v1

int main(int argc, char** argv) { return keyturn::plugin::v1::Main(argc, argv); }
