// SPDX-License-Identifier: Apache-2.0
//
// Plays the browser in an authorization-code flow against oidc-provider's development login pages:
// authorize, log in, consent, follow the redirects, exchange the code. It gives tests a refresh
// token that the server itself issued for a user. Each call uses its own cookies, so calls may
// overlap.

import crypto from 'node:crypto';

const MAX_REDIRECTS = 12;

class Browser {
  #cookies = new Map();

  async send(url, init = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...init.headers, ...(cookie ? { cookie } : {}) };
    const reply = await fetch(url, { ...init, headers, redirect: 'manual' });
    await reply.arrayBuffer();
    for (const line of reply.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const at = pair.indexOf('=');
      this.#cookies.set(pair.slice(0, at).trim(), pair.slice(at + 1).trim());
    }
    return reply;
  }

  /** Follows redirects from `reply` to a page, or to `stopAt`; returns the last URL. */
  async follow(reply, from, stopAt) {
    let url = from;
    for (let hop = 0; hop < MAX_REDIRECTS; hop += 1) {
      const location = reply.headers.get('location');
      if (reply.status < 300 || reply.status > 399 || !location) {
        if (reply.status !== 200) {
          throw new Error(`login flow stopped with HTTP ${reply.status}`);
        }
        return url;
      }
      url = new URL(location, url).href;
      if (url.startsWith(stopAt)) {
        return url;
      }
      reply = await this.send(url);
    }
    throw new Error('login flow redirects without end');
  }

  submit(url, fields) {
    return this.send(url, { method: 'POST', body: new URLSearchParams(fields) });
  }
}

async function authorize(issuer, client, user, scope, challenge) {
  const redirectUri = client.redirect_uris[0];
  const state = crypto.randomBytes(16).toString('hex');
  const query = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope,
    state,
    // Without a consent prompt the provider drops offline_access, and so the refresh token.
    prompt: 'consent',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  const browser = new Browser();
  const start = `${issuer}/auth?${query}`;
  let page = await browser.follow(await browser.send(start), start, redirectUri);
  for (const form of [{ prompt: 'login', login: user, password: 'any' }, { prompt: 'consent' }]) {
    if (page.startsWith(redirectUri)) {
      break;
    }
    page = await browser.follow(await browser.submit(page, form), page, redirectUri);
  }
  const answer = new URL(page).searchParams;
  if (!page.startsWith(redirectUri) || answer.get('state') !== state || !answer.get('code')) {
    throw new Error(`login flow ended without a code (${answer.get('error') ?? 'no error'})`);
  }
  return answer.get('code');
}

async function exchange(issuer, client, code, verifier) {
  const form = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    redirect_uri: client.redirect_uris[0],
    code_verifier: verifier,
  });
  const headers = {};
  const method = client.token_endpoint_auth_method ?? 'client_secret_basic';
  if (method === 'client_secret_basic') {
    const pair = [client.client_id, client.client_secret].map(encodeURIComponent).join(':');
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  } else if (method === 'client_secret_post' || method === 'none') {
    form.set('client_id', client.client_id);
    if (method === 'client_secret_post') {
      form.set('client_secret', client.client_secret);
    }
  } else {
    throw new Error(`cannot seed a grant for client authentication ${method}`);
  }
  const reply = await fetch(`${issuer}/token`, { method: 'POST', headers, body: form });
  const body = await reply.json();
  if (reply.status !== 200 || !body.refresh_token) {
    const reason = body.error ?? 'no refresh token';
    throw new Error(`code exchange gave HTTP ${reply.status} (${reason})`);
  }
  return body.refresh_token;
}

/** Logs `user` in at `issuer`, consents to `scope` for `client`, returns the refresh token. */
export async function obtainRefreshToken(issuer, client, user, scope) {
  const verifier = crypto.randomBytes(32).toString('base64url');
  const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
  const code = await authorize(issuer, client, user, scope, challenge);
  return exchange(issuer, client, code, verifier);
}
