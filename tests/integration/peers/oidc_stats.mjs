// SPDX-License-Identifier: Apache-2.0
//
// Counts what an OAuth token endpoint was asked and how it answered, per grant type and per client,
// which replies nobody took, and which grants were ended because a refresh token was used twice.
// The counts only ever rise, so a test takes two snapshots and subtracts. A request is counted when
// its answer is decided; one that never reached a decision is in `in_flight`. It can delay the
// endpoint, so that a client that dies in the middle of a request is no rare chance.

const TOKEN_PATH = '/token';
// Of a burned grant, the use of the token that came first is told if it is among the last so many.
const MAX_USES = 1000;

function emptyCount() {
  return { requests: 0, succeeded: 0, failed: 0, errors: {} };
}

function add(counts, name, status, error) {
  counts[name] ??= emptyCount();
  const count = counts[name];
  count.requests += 1;
  if (status < 400) {
    count.succeeded += 1;
    return;
  }
  count.failed += 1;
  count.errors[error] = (count.errors[error] ?? 0) + 1;
}

function seconds() {
  return Date.now() / 1000;
}

function pause(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}

export class TokenStats {
  #total = {};
  #byGrant = {};
  #byClient = {};
  #arrived = 0;
  #inFlight = 0;
  #halfDelay;
  #cut = { before: 0, after: 0 };
  #uses = new Map();
  #burned = [];

  /** `delayMs`: how long each token request takes, half of it before its effect and half after. */
  constructor(delayMs = 0) {
    this.#halfDelay = delayMs / 2;
  }

  /** Koa middleware for the provider; it sees the parsed request once the provider is done. */
  middleware() {
    return async (ctx, next) => {
      if (ctx.path !== TOKEN_PATH || ctx.method !== 'POST') {
        await next();
        return;
      }
      this.#arrived += 1;
      this.#inFlight += 1;
      try {
        await this.#handle(ctx, next);
      } finally {
        this.#inFlight -= 1;
      }
    };
  }

  /** Listens for ends of grants; any other cause than the second use of a token is no burn. */
  watch(provider) {
    provider.on('grant.revoked', (ctx) => {
      const token = ctx.oidc?.entities?.RefreshToken;
      if (ctx.path !== TOKEN_PATH || !token) {
        return;
      }
      this.#burned.push({
        at: seconds(),
        client_id: ctx.oidc.client?.clientId,
        first_use: this.#uses.get(token.jti) ?? null,
      });
    });
  }

  snapshot() {
    return {
      total: this.#total.token ?? emptyCount(),
      arrived: this.#arrived,
      in_flight: this.#inFlight,
      by_grant: this.#byGrant,
      by_client: this.#byClient,
      cut: this.#cut,
      burned: this.#burned,
    };
  }

  async #handle(ctx, next) {
    const use = { arrived_at: seconds(), answered_at: null, cut: false };
    const gone = () => ctx.req.socket.destroyed;
    if (this.#halfDelay > 0) {
      await pause(this.#halfDelay);
      if (gone()) {
        // As a request that was lost on its way.
        this.#cut.before += 1;
        return;
      }
    }
    try {
      await next();
    } finally {
      this.#record(ctx);
      this.#remember(ctx, use);
    }
    await pause(this.#halfDelay);
    use.answered_at = seconds();
    use.cut = gone();
    this.#cut.after += use.cut ? 1 : 0;
  }

  #remember(ctx, use) {
    const spent = ctx.oidc?.entities?.RotatedRefreshToken;
    if (!spent) {
      return;
    }
    this.#uses.set(spent.jti, use);
    if (this.#uses.size > MAX_USES) {
      this.#uses.delete(this.#uses.keys().next().value);
    }
  }

  #record(ctx) {
    const grant = ctx.oidc?.params?.grant_type ?? 'unknown';
    const client = ctx.oidc?.client?.clientId ?? 'unknown';
    const error = ctx.body?.error ?? `http_${ctx.status}`;
    add(this.#total, 'token', ctx.status, error);
    add(this.#byGrant, grant, ctx.status, error);
    this.#byClient[client] ??= {};
    add(this.#byClient[client], grant, ctx.status, error);
  }
}
