// SPDX-License-Identifier: Apache-2.0
// The built `keyturn` as a child process of a fake agent: exit codes, what stdout and stderr hold,
// what reaches the agent.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/fakes/fake_agent.h"

namespace keyturn {
namespace {

using fakes::DetailedError;
using fakes::FakeAgent;
using fakes::SocketDirectory;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ReadToEnd(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t count = 0;
  while ((count = read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<size_t>(count));
  }
  close(fd);
  return text;
}

struct Result {
  // Minus the signal's number for a program that one has ended.
  int code = -99;
  std::string out;
  std::string err;
  nlohmann::json Json() const { return nlohmann::json::parse(out, nullptr, false); }
};

class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    int in[2];
    int out[2];
    int err[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
      return;
    }
    arguments.insert(arguments.begin(), KEYTURN_BIN_DIR "/keyturn");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(err[1], 2);
      execv(argv[0], argv.data());
      _exit(99);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    in_ = in[1];
    out_ = out[0];
    err_ = err[0];
  }

  int out() const { return out_; }
  void Signal(int number) const { kill(pid_, number); }

  Result Finish(const std::string& input = "") {
    Result result;
    std::thread reader([&] { result.err = ReadToEnd(err_); });
    if (!input.empty() && write(in_, input.data(), input.size()) < 0) result.err = "no stdin";
    close(in_);
    result.out = ReadToEnd(out_);
    reader.join();
    int status = 0;
    waitpid(pid_, &status, 0);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return result;
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
};

class ProgramTest : public ::testing::Test {
 protected:
  Result Run(std::vector<std::string> arguments, const std::string& input = "") {
    arguments.insert(arguments.end(), {"--socket", agent_.socket_path()});
    return Child(std::move(arguments)).Finish(input);
  }

  SocketDirectory directory_;
  FakeAgent agent_{directory_.File("admin.sock")};
};

TEST_F(ProgramTest, GetPrintsTheBareValue) {
  agent_.Set("team/key", 1, "s3cret");
  agent_.Start();
  const Result result = Run({"get", "team/key"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "s3cret");
  EXPECT_EQ(result.err, "");
}

TEST_F(ProgramTest, GetAsJsonHasTheFields) {
  agent_.Set("team/key", 3, "s3cret", absl::FromUnixSeconds(4'000'000'000));
  agent_.Start();
  for (const auto& arguments : {std::vector<std::string>{"get", "team/key", "-o", "json"},
                                std::vector<std::string>{"-o", "json", "get", "team/key"}}) {
    const nlohmann::json json = Run(arguments).Json();
    EXPECT_EQ(json["name"], "team/key");
    EXPECT_EQ(json["version"], 3);
    EXPECT_EQ(json["fields"]["access_token"], "s3cret");
    EXPECT_EQ(json["expires_at"], "2096-10-02T07:06:40Z");
  }
}

TEST_F(ProgramTest, ErrorsOfTheAgentHaveTheirExitCodesAndNextSteps) {
  agent_.Start();
  const Result missing = Run({"get", "team/none"});
  EXPECT_EQ(missing.code, 3);
  EXPECT_EQ(missing.out, "");
  EXPECT_EQ(missing.err,
            "keyturn: cannot get 'team/none': no credential 'team/none' (NO_SUCH_CREDENTIAL)\n"
            "next: keyturn list shows the names there are\n");
  agent_.FailName("team/key", DetailedError(grpc::StatusCode::PERMISSION_DENIED, "no", "DENIED"));
  EXPECT_EQ(Run({"get", "team/key"}).code, 4);
  agent_.FailName("team/key", DetailedError(grpc::StatusCode::FAILED_PRECONDITION,
                                            "consent is needed", "NEEDS_CONSENT"));
  const Result consent = Run({"get", "team/key"});
  EXPECT_EQ(consent.code, 6);
  EXPECT_THAT(consent.err, HasSubstr("next: have a person give consent"));
  agent_.FailName("team/key", DetailedError(grpc::StatusCode::UNAVAILABLE, "down", "PROVIDER_DOWN",
                                            absl::Seconds(90)));
  const Result down = Run({"get", "team/key"});
  EXPECT_EQ(down.code, 1);
  EXPECT_THAT(down.err, HasSubstr("next: try again in 1m 30s"));
}

TEST_F(ProgramTest, WithoutAnAgentTheExitCodeIsFive) {
  const Result result = Run({"status"});
  EXPECT_EQ(result.code, 5);
  EXPECT_THAT(result.err, HasSubstr("cannot reach the agent at " + agent_.socket_path()));
  EXPECT_THAT(result.err, HasSubstr("next: "));
}

TEST_F(ProgramTest, PutReadsTheStandardInput) {
  v1::PutRequest received;
  agent_.admin.put = [&received](const v1::PutRequest& request) {
    received = request;
    return grpc::Status::OK;
  };
  agent_.Start();
  const Result result =
      Run({"put", "team/key", "--field", "password", "--key-id", "k1", "--expires-in", "30d"},
          "hunter2\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "team/key: version 1 stored\n");
  ASSERT_EQ(received.fields_size(), 1);
  EXPECT_EQ(received.fields(0).name(), "password");
  EXPECT_EQ(received.fields(0).value(), "hunter2");
  EXPECT_TRUE(received.fields(0).secret());
  EXPECT_EQ(received.provider_key_id(), "k1");
  const absl::Duration left = absl::FromUnixSeconds(received.expires_at().seconds()) - absl::Now();
  EXPECT_GT(left, absl::Hours(24 * 29));
  EXPECT_LT(left, absl::Hours(24 * 31));
}

TEST_F(ProgramTest, PutReadsFieldsAsJson) {
  v1::PutRequest received;
  agent_.admin.put = [&received](const v1::PutRequest& request) {
    received = request;
    return grpc::Status::OK;
  };
  agent_.Start();
  EXPECT_EQ(Run({"put", "team/key", "--json"}, R"({"id": "a", "secret": "b"})").code, 0);
  ASSERT_EQ(received.fields_size(), 2);
  EXPECT_EQ(received.fields(1).name(), "secret");
  EXPECT_EQ(received.fields(1).value(), "b");
  const Result wrong = Run({"put", "team/key", "--json"}, R"({"secret": 17, "x": "s3cret"})");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("field 'secret' is not a text"));
  EXPECT_THAT(wrong.err, ::testing::Not(HasSubstr("s3cret")));
}

TEST_F(ProgramTest, PutNeverRepeatsAValueGivenInAnArgument) {
  const Result result = Run({"put", "team/key", "--field", "password=hunter2"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("hunter2")));
}

TEST_F(ProgramTest, ApplySendsTheTextAndPrintsTheChanges) {
  v1::ApplyRequest received;
  agent_.admin.apply = [&received](const v1::ApplyRequest& request, v1::ApplyResponse* response) {
    received = request;
    v1::ResourceChange& change = *response->add_changes();
    change.set_type("credential");
    change.set_name("team/key");
    change.set_verb(v1::ResourceChange::CREATE);
    change.set_note("first key will be created at once");
    return grpc::Status::OK;
  };
  agent_.Start();
  const Result result = Run({"apply", "-f", "-"}, "credentials: {}\n");
  EXPECT_EQ(result.code, 0) << result.err;
  ASSERT_EQ(received.files_size(), 1);
  EXPECT_EQ(received.files(0).name(), "<stdin>");
  EXPECT_EQ(received.files(0).yaml(), "credentials: {}\n");
  EXPECT_EQ(result.out,
            "TYPE        NAME      CHANGE  NOTE\n"
            "credential  team/key  create  first key will be created at once\n"
            "1 created, 0 updated, 0 unchanged\n");
  EXPECT_EQ(Run({"plan", "-f", "-", "-o", "json"}, "x").Json()["changes"][0]["verb"], "create");
}

TEST_F(ProgramTest, APlaceInAFileStandsFirst) {
  agent_.admin.apply = [](const v1::ApplyRequest&, v1::ApplyResponse*) {
    return DetailedError(grpc::StatusCode::INVALID_ARGUMENT, "<stdin>:3:5: unknown key 'evry'",
                         "BAD_RESOURCE");
  };
  agent_.Start();
  const Result result = Run({"apply", "-f", "-"}, "x");
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, StartsWith("<stdin>:3:5: unknown key 'evry'\nnext: "));
}

TEST_F(ProgramTest, StatusCheckFailsOnWhatIsBroken) {
  agent_.admin.status.set_version("9.9");
  agent_.admin.list.add_credentials()->set_health(v1::OK);
  agent_.Start();
  EXPECT_EQ(Run({"status", "--check"}).code, 0);
  agent_.Stop();
  agent_.admin.list.add_credentials()->set_health(v1::DEGRADED);
  agent_.Start();
  EXPECT_EQ(Run({"status", "--check"}).code, 3);
  EXPECT_EQ(Run({"status"}).code, 0);
  const nlohmann::json json = Run({"status", "-o", "json"}).Json();
  EXPECT_EQ(json["version"], "9.9");
  EXPECT_EQ(json["health"]["degraded"], 1);
  EXPECT_EQ(json["health"]["broken"], 0);
}

TEST_F(ProgramTest, TestSaysWhatTheAnswerMeans) {
  agent_.admin.trial.set_outcome("rejected");
  agent_.admin.trial.set_http_status(401);
  agent_.admin.trial.set_detail("the service does not accept it");
  agent_.admin.trial.mutable_took()->set_seconds(2);
  agent_.Start();
  const Result result = Run({"test", "team/key"});
  EXPECT_EQ(result.code, 1);
  EXPECT_EQ(result.out, "team/key: rejected (HTTP 401, 2s)\nthe service does not accept it\n");
  EXPECT_EQ(Run({"test", "team/key", "-o", "json"}).Json()["http_status"], 401);
}

TEST_F(ProgramTest, RevokeAsksFirst) {
  agent_.admin.revoked.set_refresh_token("revoked");
  agent_.admin.revoked.set_access_token("unsupported");
  agent_.Start();
  EXPECT_EQ(Run({"revoke", "team/key"}, "y\n").code, 2);
  const Result result = Run({"revoke", "team/key", "--yes"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("refresh token: revoked\naccess token: forgotten here"));
}

TEST_F(ProgramTest, RevokeFailsWhenTheServerDidNotEndTheToken) {
  agent_.admin.revoked.set_refresh_token("failed");
  agent_.admin.revoked.set_access_token("failed");
  agent_.Start();
  const Result result = Run({"revoke", "team/key", "--yes"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.out, HasSubstr("refresh token: the server did not end it; it is kept"));
}

TEST_F(ProgramTest, DeleteSaysWhatBecameOfTokens) {
  agent_.admin.deleted.set_note("its tokens were ended at the server");
  agent_.Start();
  EXPECT_EQ(Run({"delete", "credential", "team/key"}).out,
            "credential team/key deleted; its tokens were ended at the server\n");
}

TEST_F(ProgramTest, PresetsAreListedAndShown) {
  v1::PresetSummary& preset = *agent_.admin.presets.add_presets();
  preset.set_name("keycloak");
  preset.add_grants("authorization_code");
  preset.add_grants("device_code");
  preset.add_params("realm");
  agent_.admin.preset.set_yaml("preset: keycloak\n");
  agent_.Start();
  EXPECT_THAT(Run({"presets", "list"}).out,
              HasSubstr("keycloak  authorization_code,device_code  realm"));
  EXPECT_EQ(Run({"presets", "list", "-o", "json"}).Json()["presets"][0]["params"][0], "realm");
  EXPECT_EQ(Run({"presets", "show", "keycloak"}).out, "preset: keycloak\n");
}

TEST_F(ProgramTest, StatusAndListShowHowLongTokensLast) {
  for (const auto& [name, runway] : {std::pair("team/later", 900), std::pair("team/first", 60)}) {
    v1::CredentialSummary& token = *agent_.admin.list.add_credentials();
    token.set_name(name);
    token.set_kind(v1::OAUTH_TOKEN);
    token.set_health(v1::OK);
    token.mutable_lifetime()->set_seconds(3600);
    token.mutable_runway()->set_seconds(runway);
  }
  agent_.Start();
  const std::string status = Run({"status"}).out;
  EXPECT_THAT(status, ::testing::ContainsRegex("TOKEN .*LIFETIME .*RUNWAY"));
  EXPECT_THAT(status, ::testing::ContainsRegex("team/first .*1h .*1m *\nteam/later .*1h .*15m"));
  EXPECT_THAT(Run({"list"}).out, ::testing::ContainsRegex("LIFETIME"));
}

TEST_F(ProgramTest, RotatePrintsEachStep) {
  for (const char* state : {"creating", "promoted"}) {
    v1::RotateResponse& step = agent_.admin.rotate_steps.emplace_back();
    step.set_state(state);
    step.set_version(2);
  }
  agent_.Start();
  const Result table = Run({"rotate", "team/key"});
  EXPECT_THAT(table.out, ::testing::ContainsRegex("  creating  version 2\n.*  promoted"));
  const Result json = Run({"rotate", "team/key", "-o", "json"});
  EXPECT_EQ(nlohmann::json::parse(json.out.substr(0, json.out.find('\n')))["state"], "creating");
}

TEST_F(ProgramTest, WatchHidesValuesAndEndsWithCtrlC) {
  agent_.Set("team/key", 7, "s3cret");
  agent_.Start();
  Child child({"watch", "team/key", "--socket", agent_.socket_path()});
  std::string first(200, '\0');
  ASSERT_GT(read(child.out(), first.data(), first.size()), 0);
  EXPECT_THAT(first, HasSubstr("team/key  version 7"));
  child.Signal(SIGINT);
  const Result result = child.Finish();
  EXPECT_EQ(result.code, 130);
  EXPECT_THAT(first + result.out, ::testing::Not(HasSubstr("s3cret")));
  EXPECT_EQ(result.err, "");
}

TEST_F(ProgramTest, WatchOfWhatDoesNotExistEnds) {
  agent_.Start();
  EXPECT_EQ(Run({"watch", "team/none"}).code, 3);
}

TEST_F(ProgramTest, WhoAmIAndVersionAsJson) {
  agent_.admin.status.set_version("9.9");
  agent_.Start();
  const nlohmann::json identity = Run({"whoami", "-o", "json"}).Json();
  EXPECT_EQ(identity["user"], "support");
  EXPECT_EQ(identity["grants"][0]["policy"], "support-bot");
  const nlohmann::json version = Run({"version", "-o", "json"}).Json();
  EXPECT_EQ(version["agent"], "9.9");
  EXPECT_EQ(version["client"], KEYTURN_VERSION);
}

TEST_F(ProgramTest, EveryCommandHasHelpWithExamples) {
  for (const char* command : {"apply", "plan", "export", "list", "show", "get", "put", "delete",
                              "rotate", "calendar", "refresh", "test", "revoke", "watch", "history",
                              "presets", "status", "whoami", "version"}) {
    const Result result = Run({command, "--help"});
    EXPECT_EQ(result.code, 0) << command;
    EXPECT_THAT(result.out, HasSubstr("Examples:\n")) << command;
  }
}

TEST_F(ProgramTest, TheNamesOfUnknownCommandsAreGuessed) {
  const Result result = Run({"lsit"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err,
            "keyturn: there is no command 'lsit'\nnext: did you mean `keyturn list`?\n");
}

}  // namespace
}  // namespace keyturn
