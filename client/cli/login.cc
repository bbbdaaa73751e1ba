// SPDX-License-Identifier: Apache-2.0
// `keyturn login`: a person consents, in a browser of this host, in one elsewhere, or on another
// device. The agent holds all that is secret; this program carries the address that the browser
// comes back to.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "client/cli/browser.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/message_json.h"
#include "client/cli/progress.h"
#include "client/cli/redirect_listener.h"
#include "client/cli/secret_input.h"
#include "client/cli/summary.h"
#include "client/cli/table.h"
#include "keyturn/errors.h"

namespace keyturn::cli {
namespace {

struct Options {
  std::string name;
  bool device = false;
  bool manual = false;
  bool no_browser = false;
  uint16_t port = 0;
  std::string redirect_uri;
};

using Started = absl::StatusOr<v1::StartLoginResponse>;
using Finished = absl::StatusOr<v1::FinishLoginResponse>;

// What a login by hand comes back to when nothing else is registered: nobody listens there, and the
// browser shows the address all the same.
constexpr char kNobody[] = "http://127.0.0.1:49152/callback";
constexpr absl::Duration kExchange = absl::Minutes(2);

// To stderr: stdout is for the result.
void Say(const std::string& text) {
  fputs(text.c_str(), stderr);
  fflush(stderr);
}

class Login {
 public:
  Login(const Options& options, Session& session, client::AdminClient& admin)
      : options_(options), session_(session), admin_(admin) {}

  Finished Run() {
    if (options_.device) return OnDevice();
    if (options_.manual) return ByHand();
    Finished finished = InBrowser();
    if (ReasonOf(finished.status()) == "LOGIN_BY_DEVICE") return OnDevice();
    return finished;
  }

 private:
  Started Start(const std::string& redirect_uri) {
    v1::StartLoginRequest request;
    request.set_name(options_.name);
    request.set_redirect_uri(redirect_uri);
    const Progress progress("asking the agent");
    return admin_.StartLogin(request, session_.TimeoutOr(absl::Minutes(1)));
  }

  Finished Finish(const Started& started, absl::string_view redirected_to, absl::Duration timeout) {
    v1::FinishLoginRequest request;
    request.set_name(options_.name);
    request.set_login_id(started->login_id());
    request.set_redirected_to(std::string(redirected_to));
    Finished finished = admin_.FinishLogin(request, timeout);
    WipeString(*request.mutable_redirected_to());
    return finished;
  }

  absl::Time Deadline(const Started& started) const {
    const absl::Time over = absl::FromUnixSeconds(started->expires_at().seconds());
    return session_.options.timeout_given ? std::min(over, absl::Now() + session_.options.timeout)
                                          : over;
  }

  Finished InBrowser() {
    const auto listener = RedirectListener::Start(options_.port);
    if (!listener.ok()) return listener.status();
    const Started started = Start((*listener)->redirect_uri());
    if (!started.ok()) return started.status();
    (*listener)->Expect(started->authorization_url());
    const std::string url = Printable(started->authorization_url());
    const bool opened = !options_.no_browser && OpenBrowser(started->authorization_url());
    Say(absl::StrCat(opened ? "Consent in the browser that opens. If none does, open"
                            : "Open this address in a browser on this host and consent",
                     ":\n\n  ", url, "\n\n"));
    absl::StatusOr<SecretString> address = [&] {
      const Progress progress("waiting for the browser");
      return (*listener)->Await(Deadline(started));
    }();
    if (!address.ok()) return address.status();
    const Progress progress("getting the tokens");
    Finished finished = Finish(started, address->Reveal(), kExchange);
    (*listener)->Show(finished.ok());
    return finished;
  }

  Finished ByHand() {
    const Started started =
        Start(!options_.redirect_uri.empty() ? options_.redirect_uri
              : options_.port != 0 ? absl::StrCat("http://127.0.0.1:", options_.port, "/callback")
                                   : kNobody);
    if (!started.ok()) return started.status();
    Say(absl::StrCat(
        "Open this address in any browser and consent:\n\n  ",
        Printable(started->authorization_url()),
        "\n\nThe browser then goes to an address that it may fail to load. Copy that address.\n"));
    const auto address =
        isatty(STDIN_FILENO) == 1 ? AskHidden("address (not shown): ") : ReadValue(STDIN_FILENO);
    if (!address.ok()) return address.status();
    const Progress progress("getting the tokens");
    return Finish(started, address->Reveal(), session_.TimeoutOr(kExchange));
  }

  Finished OnDevice() {
    const Started started = Start("");
    if (!started.ok()) return started.status();
    std::string text =
        absl::StrCat("On any device, open\n\n  ", Printable(started->verification_uri()),
                     "\n\nand enter the code\n\n  ", Printable(started->user_code()), "\n\n");
    if (!started->verification_uri_complete().empty()) {
      absl::StrAppend(
          &text, "With the code in it: ", Printable(started->verification_uri_complete()), "\n\n");
    }
    Say(text);
    const Progress progress("waiting for consent");
    const absl::Duration left = Deadline(started) - absl::Now();
    // Time for the agent to say itself that the code ran out.
    return Finish(started, "", session_.options.timeout_given ? left : left + absl::Minutes(1));
  }

  const Options& options_;
  Session& session_;
  client::AdminClient& admin_;
};

std::string Explain(const std::string& name, const v1::FinishLoginResponse& response) {
  std::string text =
      absl::StrCat(name, ": logged in; version ", response.version(), " expires ",
                   TimeWord(response.has_expires_at(), response.expires_at(), absl::Now()), "\n");
  if (!response.has_refresh_token()) {
    absl::StrAppend(
        &text,
        "the server gave no refresh token: the next login is due when this one expires. "
        "Many servers give one only for a scope such as offline_access, or for "
        "`authorization_params: { access_type: offline, prompt: consent }`\n");
  }
  if (!response.granted_scopes().empty()) {
    absl::StrAppend(&text, "granted scopes, other than those asked for: ",
                    Printable(absl::StrJoin(response.granted_scopes(), " ")), "\n");
  }
  return text;
}

void Run(const Options& options, Session& session) {
  const ErrorContext context = {.what = absl::StrCat("cannot log in '", options.name, "'"),
                                .name = options.name};
  const auto admin = session.Admin();
  if (!admin.ok()) return session.Fail(context, admin.status());
  const Finished finished = Login(options, session, **admin).Run();
  if (!finished.ok()) {
    session.Fail(context, finished.status());
    if (absl::IsCancelled(finished.status())) session.set_exit_code(kExitInterrupted);
    return;
  }
  if (session.json()) return session.Print(absl::StrCat(ToJson(*finished).dump(2), "\n"));
  session.Print(Explain(options.name, *finished));
}

}  // namespace

void AddLoginCommand(CLI::App& program, Session& session) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.add_subcommand("login", "Consent to an OAuth token, in a browser or on a device");
  command->add_option("name", options->name, "The credential's name")
      ->required()
      ->type_name("NAME");
  CLI::Option* device =
      command->add_flag("--device", options->device, "With a code to enter on another device");
  CLI::Option* manual = command->add_flag(
      "--manual", options->manual, "With a browser elsewhere: its last address is asked for");
  CLI::Option* no_browser = command->add_flag("--no-browser", options->no_browser,
                                              "Only print the address, do not open it");
  CLI::Option* port = command
                          ->add_option("--port", options->port,
                                       "The port of 127.0.0.1 that the browser comes back to "
                                       "[any]")
                          ->type_name("PORT");
  CLI::Option* redirect =
      command
          ->add_option("--redirect-uri", options->redirect_uri,
                       "With --manual: the address that is registered at the server")
          ->type_name("URL");
  device->excludes(manual)->excludes(no_browser)->excludes(port);
  manual->excludes(no_browser);
  redirect->needs(manual)->excludes(port);
  command->footer(
      "The browser is sent to the server's own pages, and comes back to http://127.0.0.1:PORT/\n"
      "callback, where this command waits for it; the agent turns what it brings into tokens and\n"
      "stores them. A login takes at most 10 minutes; an earlier one of the same credential ends.\n"
      "Without --device, a credential with grant device_code is logged in by device all the same.\n"
      "The exit code is 4 when consent was denied or the server refused, 1 when the time ran out "
      "or\n"
      "the address was not this login's.\n"
      "\n"
      "Examples:\n"
      "  keyturn login crm/token\n"
      "  keyturn login crm/token --device                 enter a code on your phone\n"
      "  keyturn login crm/token --manual                 over ssh\n"
      "  keyturn login crm/token --port 8400              when the port is registered");
  command->callback([options, &session] { Run(*options, session); });
}

}  // namespace keyturn::cli
