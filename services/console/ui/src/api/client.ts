// How pages ask the console: one origin, the session's cookie, its CSRF token on every change, and
// refusals in the server's own words.

import { Refused, reasonIn } from "./errors";
import type { components } from "./schema";

export type Schemas = components["schemas"];
export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

const UNAUTHENTICATED = 401;
const NO_CONTENT = 204;
const CSRF_HEADER = "x-csrf-token";
let csrf = "";
let onSignedOut: () => void = () => {};

export function setCsrf(token: string): void {
  csrf = token;
}

export function whenSignedOut(then: () => void): void {
  onSignedOut = then;
}

/** Reads; what is undefined or empty in the query is left out. */
export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return ask<T>(path + queryOf(query), { method: "GET", ...(signal && { signal }) });
}

/** Asks for a change: "POST", "PUT", "PATCH" or "DELETE". */
export async function send<T = unknown>(
  method: string,
  path: string,
  payload?: unknown,
): Promise<T> {
  const isFile = payload instanceof Blob;
  const headers: Record<string, string> = { [CSRF_HEADER]: csrf };
  if (payload !== undefined && !isFile) headers["content-type"] = "application/json";
  const body = payload === undefined ? null : isFile ? payload : JSON.stringify(payload);
  return ask<T>(path, { method, headers, body });
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  const response = await fetch(path, { credentials: "same-origin", ...init });
  if (response.status === NO_CONTENT) return undefined as T;
  const said: unknown = await response.json().catch(() => null);
  if (response.ok) return said as T;
  if (response.status === UNAUTHENTICATED) onSignedOut();
  throw new Refused(response.status, reasonIn(said, response.status));
}

function queryOf(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === "") continue;
    if (typeof value === "object") for (const one of value) parameters.append(name, one);
    else parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text && `?${text}`;
}

export const imageUrl = (asset: string): string => `/api/assets/${asset}`;
export const thumbnailUrl = (asset: string, size: number): string =>
  `/api/assets/${asset}/thumbnail?size=${size}`;
