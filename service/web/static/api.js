// Requests to the service.

import { at, here } from "./root.js";

/** An answer of the service that is an error, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(status, title, detail, faults = []) {
    super(detail);
    Object.assign(this, { status, title, faults });
  }
}

/** Get the JSON at `path`. Raises ApiError; without a valid login the browser goes to the login page. */
export const get = (path, parameters = {}) => send("GET", withQuery(path, parameters));

export async function send(method, path, body) {
  const response = await answer(method, path, body);
  return response.status === 204 ? null : JSON.parse(await response.text(), exactly);
}

// A seed has up to 63 bits, which a JavaScript number cannot hold exactly.
function exactly(_key, value, context) {
  if (typeof value !== "number" || !Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  return context?.source ?? `about ${value}`;
}

export async function getText(path, parameters = {}) {
  return (await answer("GET", withQuery(path, parameters))).text();
}

async function answer(method, path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-cache" });
  } catch (error) {
    throw new ApiError(0, "No answer", "The service does not answer; it may be restarting.");
  }
  if (response.ok) return response;
  if (response.status === 401) {
    location.assign(at(`login?next=${encodeURIComponent(here())}`));
  }
  const problem = await response.json().catch(() => null);
  throw new ApiError(
    response.status, problem?.title ?? response.statusText,
    problem?.detail ?? `The service answered ${response.status}.`, problem?.faults ?? [],
  );
}

function withQuery(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== null && each !== undefined && each !== "") query.append(name, each);
  }
  return query.size ? `${path}?${query}` : path;
}
