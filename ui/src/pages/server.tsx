// The server, for admins: calls to Fyers, background jobs, validation cache, invites.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { now } from "../live/clock";
import { meta } from "../live/store";
import { Action, Empty, Loading, Problem } from "../parts/elements";
import { age, codeText, count, whenIst } from "../parts/format";
import { usePolled } from "../parts/polling";

const CIRCUITS: Record<string, string> = { circuit_open: "Calls to Fyers, all accounts", cloudflare_blocked: "This server’s address at Cloudflare" };
const CIRCUIT_STATES: Record<string, string> = { closed: "Allowed", open: "Paused", half_open: "Testing with one call" };

const REGISTRATION: Record<string, string> = {
  open: "Open: anyone at the machine of this server can create an account.",
  invite: "By invitation: an invite link lets one person create an account.",
  closed: "Closed: only hullwatch users add creates accounts.",
};

const DEPENDENCIES: Record<string, string> = { database: "Database", redis: "Redis", clock: "Clock" };

const load = async () => {
  const [broker, dependencies, jobs, cache] = await Promise.all([
    call("get", "/api/admin/broker"), call("get", "/api/admin/dependencies"), call("get", "/api/admin/jobs"),
    call("get", "/api/token-validation/cache-stats"),
  ]);
  return { broker, dependencies: dependencies.dependencies, jobs: jobs.jobs, cache: cache.stats };
};

export function ServerPage() {
  const { data, problem, reload } = usePolled(load);
  if (!data.value) return problem.value ? <Problem text={problem.value} onRetry={reload} /> : <Loading rows={8} label="Loading the server page" />;
  const { broker, dependencies, jobs, cache } = data.value;
  const lookups = cache.hits + cache.misses;
  return (
    <div class="page">
      <div class="page-head"><h1>Server</h1><p class="hint num">hullwatch {meta.value?.version}</p></div>
      <section class="panel" aria-labelledby="broker"><h2 id="broker">Fyers</h2>
        <div class="cards">{broker.circuits.map((one) => (
          <div key={one.name} class="card" data-circuit={one.state}><h3>{CIRCUITS[one.name] ?? codeText(one.name)}</h3>
            <p><i class="dot" aria-hidden="true" /><b>{CIRCUIT_STATES[one.state]}</b></p>
            {one.openedAt && <p class="hint num">Since {whenIst(one.openedAt, now.value)}. Next try in {Math.ceil(one.retryAfterSeconds)} s.</p>}</div>
        ))}
          <div class="card" data-circuit={broker.brokerOutage ? "open" : "closed"}><h3>Mass refusal</h3>
            <p><i class="dot" aria-hidden="true" /><b>{broker.brokerOutage ? `Many sessions refused since ${whenIst(broker.brokerOutage.beganAt, now.value)}` : "None"}</b></p>
            {broker.brokerOutage && <p class="hint">Sessions are kept until Fyers recovers. Incident {broker.brokerOutage.incidentId}</p>}</div>
          <div class="card" data-circuit="closed"><h3>Validation cache</h3>
            <p class="num"><b>{count(cache.size)}</b> {cache.size === 1 ? "entry" : "entries"}. {count(cache.hits)} of {count(lookups)} checks answered from the cache{lookups ? ` (${Math.round((cache.hits / lookups) * 100)} %)` : ""}</p></div>
        </div>
      </section>
      <section class="panel" aria-labelledby="dependencies"><h2 id="dependencies">This server</h2>
        <div class="cards">{dependencies.map((one) => (
          <div key={one.name} class="card" data-dependency={one.name} data-circuit={one.isReady ? "closed" : "open"}><h3>{DEPENDENCIES[one.name] ?? one.name}</h3>
            <p><i class="dot" aria-hidden="true" /><b>{one.isReady ? "Works" : "Does not work"}</b></p>
            {one.detail && <p class="hint">{one.detail}</p>}</div>
        ))}</div>
      </section>
      <section class="panel" aria-labelledby="jobs"><h2 id="jobs">Background jobs</h2>
        <div class="scroll" tabIndex={0} role="region" aria-label="Jobs table"><table>
          <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Last success</th><th scope="col" class="align-right">Restarts</th><th scope="col" class="align-right">Failures</th><th scope="col" class="align-right">Missed runs</th><th scope="col">Last failure</th></tr></thead>
          <tbody>{jobs.map((one) => (
            <tr key={one.name} data-job={one.name}>
              <th scope="row">{one.name}{one.isEssential && <span class="tag">essential</span>}<span class="detail">{one.intervalSeconds ? `every ${count(one.intervalSeconds)} s` : "always running"}</span></th>
              <td><span class="state" data-state={one.isHealthy ? "connected" : "disconnected"}><i class="dot" aria-hidden="true" />{codeText(one.state)}</span></td>
              <td class="num">{one.lastSuccessAt ? `${age(one.lastSuccessAt, now.value)} ago` : "–"}</td>
              <td class="align-right">{count(one.restarts)}</td><td class="align-right">{count(one.failures)}</td><td class="align-right">{count(one.missedTicks)}</td>
              <td class="num">{one.lastFailureAt ? `${age(one.lastFailureAt, now.value)} ago${one.lastError ? `, ${one.lastError}` : ""}` : "–"}</td>
            </tr>
          ))}</tbody>
        </table></div>
      </section>
      <section class="panel" aria-labelledby="cache"><h2 id="cache">Cache entries</h2>
        {cache.entries.length === 0 ? <Empty title="The cache is empty" /> : <div class="scroll tall" tabIndex={0} role="region" aria-label="Cache table"><table>
          <thead><tr><th scope="col">Account</th><th scope="col">Result</th><th scope="col" class="align-right">Age</th></tr></thead>
          <tbody>{cache.entries.map((one) => <tr key={one.userId}><th scope="row"><code>{one.userId}</code></th><td>{one.isValid ? "valid" : "invalid"}</td><td class="align-right">{one.ageSeconds.toFixed(0)} s</td></tr>)}</tbody>
        </table></div>}
      </section>
      <Registration />
    </div>
  );
}

function Registration() {
  const invite = useSignal<{ url: string; expiresAt: string } | null>(null);
  return (
    <section class="panel" aria-labelledby="registration"><h2 id="registration">Registration</h2>
      <p class="hint" data-registration={meta.value?.registration}>{REGISTRATION[meta.value?.registration ?? ""]}</p>
      {invite.value
        ? <div class="shown-once" role="status"><p>Copy the link now. It is shown only once, works once, and expires at {whenIst(invite.value.expiresAt, now.value)}.</p>
          <p class="copy"><code data-shown-once>{invite.value.url}</code><button type="button" class="small" onClick={() => { invite.value = null; }}>Done</button></p></div>
        : meta.value?.registration !== "closed" && <div class="buttons"><Action run={async () => { invite.value = await call("post", "/api/admin/invites"); }}>Create an invite link</Action></div>}
    </section>
  );
}
