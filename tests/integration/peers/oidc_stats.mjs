// SPDX-License-Identifier: Apache-2.0
//
// Counts what an OAuth token endpoint was asked and how it answered, per grant type and per client.
// The counts only ever rise, so a test takes two snapshots and subtracts. A request is counted when
// its answer is decided; one that never reached a decision is in `in_flight`.

const TOKEN_PATH = '/token';

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

export class TokenStats {
  #total = {};
  #byGrant = {};
  #byClient = {};
  #inFlight = 0;

  /** Koa middleware for the provider; it sees the parsed request once the provider is done. */
  middleware() {
    return async (ctx, next) => {
      if (ctx.path !== TOKEN_PATH || ctx.method !== 'POST') {
        await next();
        return;
      }
      this.#inFlight += 1;
      try {
        await next();
      } finally {
        this.#inFlight -= 1;
        this.#record(ctx);
      }
    };
  }

  snapshot() {
    return {
      total: this.#total.token ?? emptyCount(),
      in_flight: this.#inFlight,
      by_grant: this.#byGrant,
      by_client: this.#byClient,
    };
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
