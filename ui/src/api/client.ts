// Asks the server. What can be asked, and what comes back, is generated from its OpenAPI document.
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type User = Schemas["UserPayload"];
export type Meta = Schemas["DashboardPayload"];
export type Connection = Schemas["ConnectionPayload"];
export type MarketStatus = Schemas["MarketStatusPayload"];
export type MonitoringState = Schemas["StatePayload"];
export type Overview = Schemas["OverviewPayload"];
export type Line = Schemas["WatchOverviewPayload"];
export type Watch = Schemas["WatchPayload"];
export type Quote = Schemas["QuotePayload"];
export type Signal = Schemas["SignalPayload"];
export type Notice = Schemas["NotificationPayload"];
export type Chart = Schemas["ChartPayload"];
export type Instrument = Schemas["InstrumentPayload"];
export type FyersApp = Schemas["AppPayload"];
export type Renewal = Schemas["RenewalPayload"];
export type Token = Schemas["TokenPayload"];
export type Account = Schemas["AccountPayload"];
export type Health = Schemas["TokenHealthPayload"];
export type Broker = Schemas["BrokerPayload"];
export type Job = Schemas["JobPayload"];
export type CacheStats = Schemas["CacheStatsPayload"];
export type AuditLine = Schemas["EventPayload"];
export type Readiness = Schemas["ReadinessPayload"];
export type AccountReadiness = Schemas["AccountReadinessPayload"];
export type Channel = Schemas["ChannelPayload"];
export type Channels = Schemas["ChannelsPayload"];
export type NewChannel = Schemas["NewChannelBody"];
export type Delivery = Schemas["DeliveryPayload"];
export type SetAside = Schemas["DeadLetterPayload"];
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

interface Ask<B> {
  path?: Record<string, string>;
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: B;
}

/** The server did not do what was asked; the text is a sentence for people. */
export class Refused extends Error {
  constructor(readonly status: number, readonly kind: string, sentence: string, readonly fields: Record<string, string> = {}) {
    super(sentence);
  }
}

const UNREACHABLE = new Refused(0, "unreachable", "The server cannot be reached; this page keeps trying.");
let whose = "";
let onSignedOut: () => void = () => undefined;

/** Say whose page this is: answers meant for anybody else are refused from then on. */
export function belongsTo(userId: string, signedOut: () => void): void {
  whose = userId;
  onSignedOut = signedOut;
}

/** Make one call. Throws `Refused`. */
export async function call<M extends Method, P extends PathsWith<M>>(
  method: M, path: P, ask: Ask<Body<paths[P][M]>> = {},
): Promise<Answer<paths[P][M]>> {
  let address = String(path);
  for (const [name, value] of Object.entries(ask.path ?? {})) {
    address = address.replace(`{${name}}`, encodeURIComponent(value));
  }
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(ask.query ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const headers: Record<string, string> = { Accept: "application/json" };
  if (whose) headers["X-Hullwatch-User"] = whose;
  if (ask.body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(query.size ? `${address}?${query}` : address, {
      method: method.toUpperCase(), headers, body: ask.body === undefined ? null : JSON.stringify(ask.body),
    });
  } catch {
    throw UNREACHABLE;
  }
  if (!response.ok) throw await refusal(response);
  return (response.status === 204 ? undefined : await response.json()) as Answer<paths[P][M]>;
}

async function refusal(response: Response): Promise<Refused> {
  const problem = await response.json().catch(() => ({})) as Partial<Schemas["Problem"]>;
  const kind = (problem.type ?? "").replace("urn:hullwatch:problem:", "");
  if (response.status === 401 && kind === "not-signed-in" && whose) onSignedOut();
  const fields = Object.fromEntries((problem.errors ?? []).map((one) => [one.field, one.detail]));
  return new Refused(response.status, kind, problem.detail ?? `The server answered with ${response.status}.`, fields);
}
