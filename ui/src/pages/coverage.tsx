// Coverage: how much of a day was watched, each gap with its reason, the last days, and for admins all accounts.
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Signal, call } from "../api/client";
import { now } from "../live/clock";
import { user } from "../live/store";
import { Empty, Icon, Loading, Problem } from "../parts/elements";
import { NONE, codeText, count, dayName, shortSymbol, span, when } from "../parts/format";
import { Timeline } from "../parts/timeline";

const DAY_MS = 86_400_000;
const IST_MS = 19_800_000;
const LISTED_DAYS = 30;
const EVERY_MS = 60_000;

/** The day in India at this time, for example `2026-11-23`. */
const dayAt = (moment: number): string => new Date(moment + IST_MS).toISOString().slice(0, 10);

const share = (percent: number | null): string => (percent === null ? NONE : `${percent.toFixed(2).replace(/\.?0+$/, "")} %`);

export function CoveragePage() {
  const chosen = useSignal("");
  const latest = useSignal("");
  const today = dayAt(now.value);
  const choose = (day: string) => { chosen.value = day; scrollTo(0, 0); };
  return (
    <div class="page">
      <div class="page-head"><h1>Coverage</h1>
        <div class="filters">
          <label class="inline">Day <input type="date" value={chosen.value || latest.value} max={today}
            onChange={(event) => { chosen.value = event.currentTarget.value; }} /></label>
          <button type="button" class="small" disabled={!chosen.value} onClick={() => choose("")}>Latest</button>
        </div>
      </div>
      <OneDay day={chosen.value} onLatest={(day) => { latest.value = day; }} />
      <LastDays chosen={chosen.value} onChoose={choose} />
      {user.value?.role === "admin" && <AllAccounts day={chosen.value} />}
    </div>
  );
}

/** Load data for a key and reload it every minute. Data of another key is never shown. */
function useLoaded<T>(load: () => Promise<T>, key: string) {
  const found = useSignal<{ key: string; data: T } | null>(null);
  const problem = useSignal("");
  const reloads = useSignal(0);
  const minute = Math.floor(now.value / EVERY_MS);
  useEffect(() => {
    let isCancelled = false;
    load().then(
      (data) => { if (!isCancelled) { found.value = { key, data }; problem.value = ""; } },
      (error: unknown) => { if (!isCancelled) problem.value = error instanceof Error ? error.message : "The data could not be loaded. Try again."; },
    );
    return () => { isCancelled = true; };
  }, [key, minute, reloads.value]);
  const data = found.value?.key === key ? found.value.data : null;
  return { data, problem: problem.value, reload: () => { reloads.value += 1; } };
}

function OneDay({ day, onLatest }: { day: string; onLatest: (day: string) => void }) {
  const { data, problem, reload } = useLoaded(() => call("get", "/api/monitoring/coverage", { query: { day } }), day);
  useEffect(() => { if (data && !day) onLatest(data.day); }, [data, day]);
  if (!data) return <section class="panel" aria-label="One day">{problem ? <Problem text={problem} onRetry={reload} /> : <Loading label="Loading the day" />}</section>;
  const late = data.lateSignals ? `, ${count(data.lateSignals)} late` : "";
  const withdrawn = data.withdrawnSignals ? `, ${count(data.withdrawnSignals)} withdrawn` : "";
  return (
    <section class="panel" aria-labelledby="one-day">
      <h2 id="one-day">{dayName(data.day)}</h2>
      {data.sessions.length === 0 ? <Empty title="The market was closed on this day" /> : (
        <>
          <p class="day-summary num">{data.percent === null ? "Monitoring was off"
            : <>Watched <b>{span(data.watchedMinutes)}</b> of {span(data.wantedMinutes)} ({share(data.percent)}), blind <b>{span(data.blindMinutes)}</b></>}.
            {" "}Signals: {count(data.freshSignals)} on time{late}{withdrawn}.</p>
          <Timeline sessions={data.sessions} watched={data.watched} blind={data.stretches} />
          <ul class="legend"><li><i data-part="watched" />watched</li><li><i data-part="blind" />blind</li><li><i data-part="neither" />monitoring off, not known, or still to come</li></ul>
          {data.stretches.length === 0 ? <Empty title="No gaps">{data.percent !== null && (data.symbols.length ? "The symbols below had gaps of their own." : "Your watchlist was watched the whole time.")}</Empty> : (
            <div class="scroll" tabIndex={0} role="region" aria-label="Gaps table"><table class="gaps">
              <thead><tr><th scope="col">From, IST</th><th scope="col">To, IST</th><th scope="col" class="align-right">Length</th><th scope="col">Reason</th><th scope="col">Late signals</th></tr></thead>
              <tbody>{data.stretches.map((one) => (
                <tr key={`${one.beganAt} ${one.reason}`} data-reason={one.reason}>
                  <th scope="row" class="num">{when(one.beganAt, now.value, true)}</th>
                  <td class="num">{when(one.endedAt, now.value, true)}</td>
                  <td class="align-right">{span(one.minutes)}</td>
                  <td>{one.sentence}</td>
                  <td class={one.lateSignals.length ? undefined : "empty-cell"}>{one.lateSignals.length === 0 ? NONE : <LateSignals all={one.lateSignals} />}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
          {data.symbols.length > 0 && (
            <div class="scroll" tabIndex={0} role="region" aria-label="Symbols table"><table class="gaps symbols">
              <thead><tr><th scope="col">Symbol</th><th scope="col">From, IST</th><th scope="col">To, IST</th><th scope="col" class="align-right">Length</th><th scope="col">Reason</th></tr></thead>
              <tbody>{data.symbols.map((one) => (
                <tr key={`${one.symbol} ${one.beganAt}`} data-reason={one.reason}>
                  <th scope="row">{one.symbol ? shortSymbol(one.symbol) : "All symbols"}</th>
                  <td class="num">{when(one.beganAt, now.value, true)}</td>
                  <td class="num">{when(one.endedAt, now.value, true)}</td>
                  <td class="align-right">{span(one.minutes)}</td>
                  <td>{one.sentence}</td>
                </tr>
              ))}</tbody>
            </table></div>
          )}
          {data.clockSteps.map((step) => <p key={step.at} class="hint" data-clock-step>{step.sentence}</p>)}
          {data.lateElsewhere.length > 0 && <p class="hint" data-late-outside>Late signals outside gaps: <LateSignals all={data.lateElsewhere} /></p>}
        </>
      )}
    </section>
  );
}

function LateSignals({ all }: { all: Signal[] }) {
  return <>{all.map((late) => (
    <span key={`${late.watchId} ${late.rule} ${late.resolution} ${late.candleOpenedAt}`} class="signal" data-tone={late.direction}>
      <Icon name={late.direction} />{shortSymbol(late.symbol)} {late.direction} <span class="num detail">{when(late.candleClosedAt, now.value)}</span><span class="tag">late</span></span>
  ))}</>;
}

function LastDays({ chosen, onChoose }: { chosen: string; onChoose: (day: string) => void }) {
  const query = { from: dayAt(now.value - LISTED_DAYS * DAY_MS), to: dayAt(now.value) };
  const { data, problem, reload } = useLoaded(() => call("get", "/api/monitoring/coverage/days", { query }), query.to);
  return (
    <section class="panel" aria-labelledby="last-days">
      <h2 id="last-days">Last days</h2>
      {!data ? (problem ? <Problem text={problem} onRetry={reload} /> : <Loading label="Loading the last days" />) : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="Last days table"><table class="days">
          <thead><tr><th scope="col">Day</th><th scope="col" class="align-right">Watched</th><th scope="col" class="align-right">Blind</th><th scope="col" class="align-right">Share</th><th scope="col">Reasons</th></tr></thead>
          <tbody>{data.days.map((one) => (
            <tr key={one.day} aria-current={one.day === chosen ? "true" : undefined}>
              <th scope="row"><button type="button" class="link symbol" onClick={() => onChoose(one.day)}>{dayName(one.day)}</button></th>
              <Totals of={one} />
              <td class={one.reasons.length ? undefined : "empty-cell"}>{reasonList(one.reasons)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}

function AllAccounts({ day }: { day: string }) {
  const { data, problem, reload } = useLoaded(() => call("get", "/api/admin/coverage", { query: { day } }), day);
  return (
    <section class="panel" aria-labelledby="all-accounts">
      <h2 id="all-accounts">All accounts{data && `, ${dayName(data.day)}`}</h2>
      {!data ? (problem ? <Problem text={problem} onRetry={reload} /> : <Loading label="Loading all accounts" />) : (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="All accounts table"><table class="days">
          <thead><tr><th scope="col">Account</th><th scope="col" class="align-right">Watched</th><th scope="col" class="align-right">Blind</th><th scope="col" class="align-right">Share</th><th scope="col">Reasons</th></tr></thead>
          <tbody>{data.accounts.map((one) => (
            <tr key={one.userId} data-account={one.email}>
              <th scope="row">{one.fullName}<span class="detail">{one.email}</span></th>
              <Totals of={one} />
              <td class={one.reasons.length ? undefined : "empty-cell"}>{reasonList(one.reasons)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
    </section>
  );
}

const Totals = ({ of: one }: { of: { watchedMinutes: number; blindMinutes: number; percent: number | null } }) => (
  <>
    <td class="align-right">{one.percent === null ? NONE : span(one.watchedMinutes)}</td><td class="align-right">{one.percent === null ? NONE : span(one.blindMinutes)}</td>
    <td class="align-right">{share(one.percent)}</td>
  </>
);

const reasonList = (reasons: { reason: string; minutes: number }[]): string =>
  reasons.map((one) => `${codeText(one.reason)} ${span(one.minutes)}`).join(", ") || NONE;
