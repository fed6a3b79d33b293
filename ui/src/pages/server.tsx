// The server, for operators: Fyers as a whole, jobs, cache, invites.
import { useSignal } from "@preact/signals";
import { call } from "../api/client";
import { now } from "../live/clock";
import { meta } from "../live/store";
import { Action, Empty, Loading, Problem } from "../parts/bits";
import { age, count, whenIst, words } from "../parts/format";
import { usePolled } from "../parts/polled";

const CIRCUITS: Record<string, string> = { circuit_open: "Calls to Fyers, for everybody", edge_blocked: "This machine’s address at Fyers’ edge" };
const STANDS: Record<string, string> = { closed: "Calls pass", open: "Calls are held back", half_open: "One call is finding out" };

const read = async () => {
  const [broker, jobs, cache] = await Promise.all([
    call("get", "/api/admin/broker"), call("get", "/api/admin/jobs"), call("get", "/api/token-validation/cache-stats"),
  ]);
  return { broker, jobs: jobs.jobs, cache: cache.stats };
};

export function ServerPage() {
  const { data, problem, again } = usePolled(read);
  if (!data.value) return problem.value ? <Problem text={problem.value} onAgain={again} /> : <Loading rows={8} label="Loading" />;
  const { broker, jobs, cache } = data.value;
  const asked = cache.hits + cache.misses;
  return (
    <div class="page">
      <div class="page-head"><h1>Server</h1><p class="hint num">hullwatch {meta.value?.version}</p></div>
      <section class="panel" aria-labelledby="broker"><h2 id="broker">Fyers</h2>
        <div class="cards">{broker.circuits.map((one) => (
          <div key={one.name} class="card" data-circuit={one.state}><h3>{CIRCUITS[one.name] ?? words(one.name)}</h3>
            <p><i class="dot" aria-hidden="true" /><b>{STANDS[one.state]}</b></p>
            {one.openedAt && <p class="hint num">since {whenIst(one.openedAt, now.value)}; asked again in {Math.ceil(one.retryAfterSeconds)} s</p>}</div>
        ))}
          <div class="card" data-circuit={broker.trouble ? "open" : "closed"}><h3>Sessions refused at once</h3>
            <p><i class="dot" aria-hidden="true" /><b>{broker.trouble ? `Many, since ${whenIst(broker.trouble.beganAt, now.value)}` : "None"}</b></p>
            {broker.trouble && <p class="hint">Verdicts are held back; incident {broker.trouble.incidentId}</p>}</div>
          <div class="card" data-circuit="closed"><h3>Validation cache</h3>
            <p class="num"><b>{count(cache.size)}</b> entries; {count(cache.hits)} of {count(asked)} answered from it{asked ? ` (${Math.round((cache.hits / asked) * 100)} %)` : ""}</p></div>
        </div>
      </section>
      <section class="panel" aria-labelledby="jobs"><h2 id="jobs">Jobs</h2>
        <div class="scroll" tabIndex={0} role="region" aria-label="Jobs table"><table>
          <thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Last success</th><th scope="col" class="n">Restarts</th><th scope="col" class="n">Failures</th><th scope="col" class="n">Missed ticks</th><th scope="col">Last failure</th></tr></thead>
          <tbody>{jobs.map((one) => (
            <tr key={one.name} data-job={one.name}>
              <th scope="row">{one.name}{one.isEssential && <span class="tag">essential</span>}<span class="sub">{one.intervalSeconds ? `every ${count(one.intervalSeconds)} s` : "always"}</span></th>
              <td><span class="state" data-state={one.isHealthy ? "connected" : "disconnected"}><i class="dot" aria-hidden="true" />{words(one.state)}</span></td>
              <td class="num">{one.lastSuccessAt ? `${age(one.lastSuccessAt, now.value)} ago` : "–"}</td>
              <td class="n">{count(one.restarts)}</td><td class="n">{count(one.failures)}</td><td class="n">{count(one.missedTicks)}</td>
              <td class="num">{one.lastFailureAt ? `${age(one.lastFailureAt, now.value)} ago${one.lastError ? `, ${one.lastError}` : ""}` : "–"}</td>
            </tr>
          ))}</tbody>
        </table></div>
      </section>
      <section class="panel" aria-labelledby="cache"><h2 id="cache">Cache entries</h2>
        {cache.entries.length === 0 ? <Empty title="Nothing is cached" /> : <div class="scroll tall" tabIndex={0} role="region" aria-label="Cache table"><table>
          <thead><tr><th scope="col">Account</th><th scope="col">Verdict</th><th scope="col" class="n">Age</th></tr></thead>
          <tbody>{cache.entries.map((one) => <tr key={one.userId}><th scope="row"><code>{one.userId}</code></th><td>{one.isValid ? "valid" : "invalid"}</td><td class="n">{one.ageSeconds.toFixed(0)} s</td></tr>)}</tbody>
        </table></div>}
      </section>
      <Invite />
    </div>
  );
}

function Invite() {
  const made = useSignal<{ url: string; expiresAt: string } | null>(null);
  return (
    <section class="panel" aria-labelledby="invite"><h2 id="invite">Invite somebody</h2>
      <p class="hint">A link that lets one person make an account.</p>
      {made.value
        ? <div class="once" role="status"><p>Good once, until {whenIst(made.value.expiresAt, now.value)}. It is shown only now.</p>
          <p class="copy"><code data-once>{made.value.url}</code><button type="button" class="small" onClick={() => { made.value = null; }}>Done</button></p></div>
        : <div class="buttons"><Action run={async () => { made.value = await call("post", "/api/admin/invites"); }}>Make an invite link</Action></div>}
    </section>
  );
}
