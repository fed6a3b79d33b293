// Calls the server. The types of requests and answers are generated from its OpenAPI document.
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type User = Schemas["UserPayload"];
export type Meta = Schemas["DashboardPayload"];
export type Connection = Schemas["ConnectionPayload"];
export type MarketStatus = Schemas["MarketStatusPayload"];
export type MonitoringState = Schemas["StatePayload"];
export type Overview = Schemas["OverviewPayload"];
export type WatchRow = Schemas["WatchOverviewPayload"];
export type Watch = Schemas["WatchPayload"];
export type Quote = Schemas["QuotePayload"];
export type Signal = Schemas["SignalPayload"];
export type Notice = Schemas["NotificationPayload"];
export type Chart = Schemas["ChartPayload"];
export type Instrument = Schemas["InstrumentPayload"];
export type FyersApp = Schemas["AppPayload"];
export type Renewal = Schemas["RenewalPayload"];
export type Token = Schemas["TokenPayload"];
export type Login = Schemas["LoginPayload"];
export type Account = Schemas["AccountPayload"];
export type Health = Schemas["TokenHealthPayload"];
export type Broker = Schemas["BrokerPayload"];
export type Job = Schemas["JobPayload"];
export type CacheStats = Schemas["CacheStatsPayload"];
export type AuditEvent = Schemas["EventPayload"];
export type Readiness = Schemas["ReadinessPayload"];
export type AccountReadiness = Schemas["AccountReadinessPayload"];
export type Channel = Schemas["ChannelPayload"];
export type Channels = Schemas["ChannelsPayload"];
export type NewChannel = Schemas["NewChannelBody"];
export type Delivery = Schemas["DeliveryPayload"];
export type DeadLetter = Schemas["DeadLetterPayload"];
export type TokenStatus = Schemas["TokenStatus"];

type Method = "get" | "post" | "put" | "patch" | "delete";
type PathsWith<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];
type Json<R> = R extends { content: { "application/json": infer T } } ? T : never;
type Answer<O> = O extends { responses: infer R }
  ? 200 extends keyof R ? Json<R[200]> : 201 extends keyof R ? Json<R[201]> : 202 extends keyof R ? Json<R[202]> : undefined
  : never;
type Body<O> = O extends { requestBody?: { content: { "application/json": infer T } } } ? T : undefined;

interface CallOptions<B> {
  path?: Record<string, string>;
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: B;
}

/** A failed call; the message is a sentence for the user. */
export class ApiError extends Error {
  constructor(readonly status: number, readonly kind: string, message: string, readonly fields: Record<string, string> = {}, readonly advice: Schemas["LoginAdvice"] | null = null) {
    super(message);
  }
}

const UNREACHABLE = new ApiError(0, "unreachable", "The server cannot be reached. This page keeps trying.");
let userId = "";
let onSignedOut: () => void = () => undefined;

/** Set the user of this page. The server refuses calls when another user has signed in to this browser. */
export function setCurrentUser(id: string, signedOut: () => void): void {
  userId = id;
  onSignedOut = signedOut;
}

/** Make one call. Throws `ApiError`. */
export async function call<M extends Method, P extends PathsWith<M>>(
  method: M, path: P, options: CallOptions<Body<paths[P][M]>> = {},
): Promise<Answer<paths[P][M]>> {
  let address = String(path);
  for (const [name, value] of Object.entries(options.path ?? {})) {
    address = address.replace(`{${name}}`, encodeURIComponent(value));
  }
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const headers: Record<string, string> = { Accept: "application/json" };
  if (userId) headers["X-Hullwatch-User"] = userId;
  if (options.body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(query.size ? `${address}?${query}` : address, {
      method: method.toUpperCase(), headers, body: options.body === undefined ? null : JSON.stringify(options.body),
    });
  } catch {
    throw UNREACHABLE;
  }
  if (!response.ok) throw await readError(response);
  return (response.status === 204 ? undefined : await response.json()) as Answer<paths[P][M]>;
}

async function readError(response: Response): Promise<ApiError> {
  const problem = await response.json().catch(() => ({})) as Partial<Schemas["Problem"]>;
  const kind = (problem.type ?? "").replace("urn:hullwatch:problem:", "");
  if (response.status === 401 && kind === "not-signed-in" && userId) onSignedOut();
  const fields = Object.fromEntries((problem.errors ?? []).map((one) => [one.field, one.detail]));
  return new ApiError(response.status, kind, problem.detail ?? `The server answered with status ${response.status}. Try again.`, fields, problem.advice ?? null);
}
