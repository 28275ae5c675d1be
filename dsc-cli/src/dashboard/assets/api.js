// What the monitor answers, and its problems as errors with words for people.

const PATIENCE_MS = 15_000;

/** A refused or failed request; `status` is 0 if nobody answered. */
export class ApiError extends Error {
  constructor(status, code, message, hint) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/** Gets a document. */
export async function get(path, signal) {
  const late = AbortSignal.timeout(PATIENCE_MS);
  const signals = signal ? AbortSignal.any([signal, late]) : late;
  let response;
  try {
    response = await fetch(path, { signal: signals, headers: { accept: "application/json" } });
    return await read(response);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) {
      throw error;
    }
    const what = late.aborted ? "the monitor did not answer in time" : "the monitor does not answer";
    throw new ApiError(0, "cannot-connect", what);
  }
}

async function read(response) {
  if (response.ok) {
    return response.json();
  }
  const problem = await response.json().catch(() => ({}));
  const told = problem.detail ?? problem.title ?? `the monitor answered status ${response.status}`;
  throw new ApiError(response.status, problem.code ?? "error", String(told), problem.hint);
}

const part = encodeURIComponent;

export const links = {
  block: (which) => `/block/${part(which)}`,
  transaction: (id) => `/transaction/${part(id)}`,
  address: (address) => `/address/${part(address)}`,
};

export const paths = {
  history: () => "/v1/history",
  events: (after) => `/v1/events?after=${part(after)}`,
  block: (which) => `/v1/blocks/${part(which)}`,
  blocks: (before, limit) =>
    `/v1/blocks?limit=${part(limit)}${before === null ? "" : `&before=${part(before)}`}`,
  transaction: (id) => `/v1/transactions/${part(id)}`,
  account: (address) => `/v1/accounts/${part(address)}`,
  activity: (address, query) => `/v1/accounts/${part(address)}/transactions?${query}`,
  search: (text) => `/v1/search?q=${part(text)}`,
};
