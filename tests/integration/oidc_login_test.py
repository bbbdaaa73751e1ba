# SPDX-License-Identifier: Apache-2.0
"""keyturn login against npm's oidc-provider: its own login and consent pages, by their forms, by a
headless Chromium, by hand and on another device; and what happens when something is not right."""

import re
import urllib.parse

import grpc_calls
import resources
from harness import *
from login_pages import ManualLogin, Visitor

_ADDRESS = re.compile(r"^  (http\S+)$")
_USER_CODE = re.compile(r"^  ([A-Z0-9-]{8,12})$")


class _LoginTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.provider = self.start(OidcProvider(access_token_ttl=30))
        self.agent = self.start_agent()
        self.cli = self.agent.cli()

    def apply(self, grant="authorization_code", **more):
        oauth = {"issuer": self.provider.url, "grant": grant, "client_id": self.provider.NATIVE,
                 "client_auth": "none", "scopes": ["openid", "offline_access", "api:read"],
                 "refresh_token": "rotates", **more}
        if grant == "authorization_code":
            oauth.setdefault("authorization_params", {"prompt": "consent"})
        self.cli.apply({
            "credentials": {"crm/token": {"oauth": oauth}},
            "policies": {"services": resources.reader("crm/token")},
        }, self.directory).expect(0)

    def begin(self, *arguments, pattern=_ADDRESS):
        """A login that goes on, and what it says first in a line of its own."""
        login = self.cli.start("login", "crm/token", "--no-browser", *arguments)
        self.addCleanup(lambda: login.running and login.kill())
        return login, self.said(login, pattern)

    @staticmethod
    def said(login, pattern):
        found = login.stderr.wait_for(pattern.match, 20, 0, "an address or a code")
        return found.group(1)

    def token(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            return client.value("crm/token")

    def check_logged_in(self):
        """The token works, and so does the next one."""
        first = self.token()
        self.assertTrue(self.provider.is_alive(first))
        self.cli.ok("refresh", "crm/token")
        second = self.token()
        self.assertNotEqual(first, second)
        self.assertTrue(self.provider.is_alive(second))
        self.assertNotIn("NEEDS_CONSENT", self.cli.ok("status"))

    def check_nothing_secret_was_said(self, login, redirected):
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(redirected).query)["code"][0]
        for text in (*login.stderr.lines(), *login.stdout.lines(), *self.agent.stderr.lines()):
            self.assertNotIn(code, text)


class LoginTest(_LoginTest):
    def test_a_browser_logs_in_and_comes_back(self):
        self.apply()
        login, address = self.begin()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)
        self.assertEqual(["S256"], query["code_challenge_method"])
        visitor = Visitor(stop_at="http://127.0.0.1:" + urllib.parse.urlsplit(
            query["redirect_uri"][0]).netloc.partition(":")[2])
        visitor.open(address)
        redirected = visitor.log_in_and_consent()
        page = http_calls.request("GET", redirected).expect(200)
        self.assertIn(b"You are logged in", page.body)
        self.assertIn("default-src 'none'", page.headers["Content-Security-Policy"])
        self.assertEqual(0, login.wait(20))
        self.assertRegex("\n".join(login.stdout.lines()), r"crm/token: logged in; version \d+")
        self.check_nothing_secret_was_said(login, redirected)
        self.check_logged_in()
        self.assertIn("login", self.cli.ok("history", "crm/token"))
        self.agent.kill()
        self.agent.start()
        self.check_logged_in()

    def test_a_strangers_redirect_does_not_end_the_login(self):
        self.apply()
        login, address = self.begin()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)
        redirect_uri = query["redirect_uri"][0]
        page = http_calls.request("GET", f"{redirect_uri}?code=mine&state=guessed").expect(400)
        self.assertIn(b"does not belong to the login", page.body)
        self.assertTrue(login.running)
        wrong_issuer = {"code": "mine", "state": query["state"][0], "iss": "https://evil.example"}
        page = http_calls.request(
            "GET", f"{redirect_uri}?{urllib.parse.urlencode(wrong_issuer)}").expect(200)
        self.assertIn(b"did not work", page.body)
        self.assertEqual(1, login.wait(20))
        said = "\n".join(login.stderr.lines())
        self.assertIn("LOGIN_MISMATCH", said)
        self.assertNotIn("evil", said)
        self.assertEqual(0, self.provider.token_requests("authorization_code")["requests"])

    def test_denied_consent_is_said(self):
        self.apply()
        login, address = self.begin()
        visitor = Visitor()
        visitor.open(address)
        visitor.follow_link("/abort")
        self.assertIn("did not work", visitor.text)
        self.assertEqual(4, login.wait(20))
        said = "\n".join(login.stderr.lines())
        self.assertIn("denied consent", said)
        self.assertIn("(LOGIN_DENIED)\nnext: begin the login again: keyturn login crm/token", said)

    def test_a_login_that_nobody_finishes_runs_out(self):
        self.apply()
        result = self.cli.run("--timeout", "1s", "login", "crm/token", "--no-browser").expect(1)
        self.assertIn("nobody came back from the browser in time", result.stderr)

    def by_hand(self, change=lambda address: address):
        login = ManualLogin(self.cli, "crm/token", "-o", "json")
        self.addCleanup(login.end)
        return login.finish(change(login.consent()))

    def test_by_hand_the_address_comes_from_the_standard_input(self):
        self.apply()
        code, out, err = self.by_hand()
        self.assertEqual(0, code, err)
        self.assertNotIn("keyturn:", err)
        self.assertRegex(out, r'"has_refresh_token": true')
        self.check_logged_in()

    def test_another_logins_address_is_refused(self):
        self.apply()
        code, out, err = self.by_hand(lambda address: re.sub("state=[^&]+", "state=other", address))
        self.assertEqual((1, ""), (code, out))
        self.assertIn("does not belong to this login", err)
        self.assertIn("LOGIN_MISMATCH", err)
        self.assertRegex(self.cli.ok("history", "crm/token"), r"login +failed .*LOGIN_MISMATCH: ")
        self.assertEqual(0, self.provider.token_requests("authorization_code")["requests"])

    def test_an_address_that_does_not_name_the_server_is_refused(self):
        """This server's metadata promises `iss` (RFC 9207)."""
        self.apply()
        code, out, err = self.by_hand(lambda address: re.sub("&iss=[^&]+", "", address))
        self.assertEqual((1, ""), (code, out))
        self.assertIn("names no issuer", err)
        self.assertIn("LOGIN_MISMATCH", err)
        self.assertEqual(0, self.provider.token_requests("authorization_code")["requests"])
        self.agent.wait_for_log(event="audit", method="FinishLogin", name="crm/token",
                                result="INVALID_ARGUMENT")

    def test_a_token_bound_to_a_key_is_got_and_refreshed(self):
        self.apply(dpop=True)
        self.assertEqual(0, self.by_hand()[0])
        self.check_logged_in()

    def on_device(self, consents):
        self.apply("device_code")
        login, code = self.begin(pattern=_USER_CODE)
        visitor = Visitor()
        visitor.open(self.said(login, _ADDRESS))
        visitor.submit(user_code=code)
        if consents:
            visitor.submit(confirm="yes")
            visitor.log_in_and_consent()
        else:
            visitor.submit(abort="yes")
        return login

    def test_a_device_is_logged_in_with_its_code(self):
        login = self.on_device(consents=True)
        self.assertEqual(0, login.wait(30))
        self.check_logged_in()

    def test_a_device_that_is_denied_says_so(self):
        login = self.on_device(consents=False)
        self.assertEqual(4, login.wait(30))
        self.assertIn("LOGIN_DENIED", "\n".join(login.stderr.lines()))

    def test_a_restart_of_the_agent_forgets_a_login(self):
        self.apply("device_code")
        login, _ = self.begin(pattern=_USER_CODE)
        self.agent.kill()
        self.assertNotEqual(0, login.wait(30))
        self.agent.start()
        self.assertIn("NEEDS_CONSENT", self.cli.run("get", "crm/token").stderr)


class ChromiumTest(_LoginTest):
    """The same in a real browser: what a person sees and clicks."""

    def browser(self):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu",
                         "--disable-dev-shm-usage", "--no-proxy-server",
                         f"--user-data-dir={self.subdirectory('chromium')}"):
            options.add_argument(argument)
        options.binary_location = "/usr/bin/chromium"
        browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.addCleanup(browser.quit)
        browser.set_page_load_timeout(60)
        return browser

    def log_in(self, browser, address):
        from selenium.webdriver.common.by import By
        browser.get(address)
        browser.find_element(By.NAME, "login").send_keys("alice")
        browser.find_element(By.NAME, "password").send_keys("any")
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, "input[value=consent]"), 30,
                   "the consent page")

    def test_a_person_clicks_through_login_and_consent(self):
        from selenium.webdriver.common.by import By
        self.apply()
        login, address = self.begin()
        browser = self.browser()
        self.log_in(browser, address)
        browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
        wait_until(lambda: browser.title == "Keyturn: You are logged in", 30, "the end page")
        self.assertEqual("You are logged in", browser.find_element(By.TAG_NAME, "h1").text)
        self.assertIn("You can close this window", browser.page_source)
        self.assertEqual(0, login.wait(20))
        self.check_logged_in()

    def test_a_person_cancels(self):
        from selenium.webdriver.common.by import By
        self.apply()
        login, address = self.begin()
        browser = self.browser()
        self.log_in(browser, address)
        browser.find_element(By.CSS_SELECTOR, "a[href$='/abort']").click()
        wait_until(lambda: browser.title == "Keyturn: The login did not work", 30, "the end page")
        self.assertEqual(4, login.wait(20))
        self.assertIn("LOGIN_DENIED", "\n".join(login.stderr.lines()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
